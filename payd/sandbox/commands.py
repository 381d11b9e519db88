"""``payd sandbox``: run the simulator, and act as the payer, the bank and the bad luck of a running one.

Exit codes: 0 done, 1 the simulator refused, 2 usage, 75 it cannot be reached or cannot listen, 78 its
directory cannot be used.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from payd.sandbox.control_client import DEFAULT_PORT, ControlClient, SimulatorUnreachable, simulator_url
from payd.sandbox.errors import ControlRefused, DirectoryRefused, ListenRefused, SandboxError

EXIT_REFUSED, EXIT_USAGE, EXIT_TEMPORARY, EXIT_CONFIG = 1, 2, 75, 78
_EXITS: tuple[tuple[type[SandboxError], int], ...] = (
    (ControlRefused, EXIT_REFUSED),
    (SimulatorUnreachable, EXIT_TEMPORARY),
    (ListenRefused, EXIT_TEMPORARY),
    (DirectoryRefused, EXIT_CONFIG),
    (SandboxError, EXIT_USAGE),
)
_STATE_COLOURS = {
    "SUCCESS": "green",
    "delivered": "green",
    "REFUND": "cyan",
    "NOTPAY": "yellow",
    "PROCESSING": "yellow",
    "waiting": "yellow",
    "CLOSED": "red",
    "ABNORMAL": "red",
    "given_up": "red",
    "PAYERROR": "red",
}


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sandbox"),
    show_default=True,
    help="The simulated merchant's folder; filled when it is empty.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--backup-port", type=click.IntRange(0, 65535), help="Also listen here as WeChat's backup host.")
@click.option("--seed", type=int, help="Make identifiers and nuisances the same in every run.")
@click.option(
    "--nuisance",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of requests and callbacks that go wrong at random.",
)
@click.option("--no-persist", is_flag=True, help="Keep the book in memory only.")
@click.option("--no-rate-limits", is_flag=True, help="Do not enforce WeChat's published rate limits.")
@click.pass_context
def sandbox(ctx: click.Context, /, **options: Any) -> None:
    """Run the WeChat Pay v3 simulator, or control a running one.

    Without a command it runs the simulator alone until SIGTERM or Ctrl-C. It makes throw-away keys and a ready
    config.json in --dir when that folder is empty.
    """
    if ctx.invoked_subcommand is None:
        _guarded(lambda: _run(options))


def _run(options: dict[str, Any]) -> None:
    """Serve until a signal comes; prints one line when it listens."""
    from payd.sandbox.alone import run_alone

    switches = {"nuisance_rate": options["nuisance"]}
    if options["no_rate_limits"]:
        switches["rate_limits"] = False
    run_alone(
        options["directory"],
        host=options["host"],
        port=options["port"],
        backup_port=options["backup_port"],
        seed=options["seed"],
        persist=not options["no_persist"],
        switches=switches,
        announce=_line,
    )


def _line(text: str) -> None:
    """One line at once, also into a pipe."""
    click.echo(text)
    sys.stdout.flush()


def _connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where the simulator is."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")(command)
    command = click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=Path("config.json"),
        show_default=True,
        help="Configuration that tells where the simulator is.",
    )(command)
    return click.option("--url", help="The simulator, e.g. http://127.0.0.1:8081.")(command)


@sandbox.command()
@click.argument("out_trade_no")
@click.option("--openid", help="Who pays.")
@click.option("--payer-total", type=int, help="Fen really paid; the rest is a coupon.")
@click.option("--no-notify", is_flag=True, help="WeChat sends no notification (as if all were lost).")
@click.option("--force", is_flag=True, help="Pay a closed or expired order: late money.")
@_connected
def pay(
    out_trade_no: str, openid: str | None, payer_total: int | None, no_notify: bool, force: bool, **where: Any
) -> None:
    """Pay an order as its payer would."""
    body: dict[str, Any] = {"out_trade_no": out_trade_no, "notify": not no_notify, "force": force}
    body |= {name: value for name, value in (("openid", openid), ("payer_total", payer_total)) if value is not None}
    _call(
        where,
        "POST",
        "pay",
        body,
        lambda order: [
            f"{out_trade_no} {_state(order['trade_state'])} {order['transaction_id']} "
            f"{order['amount']['payer_total']} fen"
        ],
    )


@sandbox.command()
@click.argument("out_trade_no")
@click.option(
    "--trade-state",
    type=click.Choice(["NOTPAY", "PAYERROR", "REVOKED"]),
    default="NOTPAY",
    show_default=True,
    help="What the order becomes.",
)
@_connected
def fail(out_trade_no: str, trade_state: str, **where: Any) -> None:
    """Let a payment attempt fail; the order stays unpaid."""
    body = {"out_trade_no": out_trade_no, "trade_state": trade_state}
    _call(
        where,
        "POST",
        "fail",
        body,
        lambda order: [
            f"{out_trade_no} {_state(order['trade_state'])} after {order['failed_attempts']} failed attempts"
        ],
    )


@sandbox.command()
@click.argument("out_refund_no")
@click.argument("status", type=click.Choice(["SUCCESS", "CLOSED", "ABNORMAL", "PROCESSING"]), default="SUCCESS")
@_connected
def refund(out_refund_no: str, status: str, **where: Any) -> None:
    """End a refund as STATUS now; PROCESSING holds it until you end it."""
    _call(
        where,
        "POST",
        f"refunds/{out_refund_no}",
        {"status": status},
        lambda record: [
            f"{out_refund_no} {_state(record['status'])} {record['refund_id']} {record['amount']['refund']} fen"
        ],
    )


@sandbox.command()
@click.argument("target", required=False)
@click.argument("kind", required=False)
@click.option("--times", type=click.IntRange(1), help="How often it hits.  [default: 1]")
@click.option("--always", is_flag=True, help="Until it is cleared.")
@click.option("--match", help="Only this out_trade_no, out_refund_no or bill date.")
@click.option("--seconds", type=float, help="How long or how far, where the kind has a measure.")
@click.option("--clear", is_flag=True, help="Forget every fault.")
@_connected
def fault(
    target: str | None,
    kind: str | None,
    times: int | None,
    always: bool,
    match: str | None,
    seconds: float | None,
    clear: bool,
    **where: Any,
) -> None:
    """Let something go wrong: `fault prepay hang_after`. Without arguments list faults and kinds."""
    if clear:
        _call(where, "DELETE", "faults", None, lambda answer: [f"{answer['cleared']} faults cleared"])
        return
    if target is None:
        _call(where, "GET", "faults", None, _fault_lines)
        return
    if kind is None:
        raise click.UsageError("name a kind too; `payd sandbox fault` lists them")
    body: dict[str, Any] = {"target": target, "kind": kind, "times": None if always else times or 1}
    body |= {name: value for name, value in (("match", match), ("seconds", seconds)) if value is not None}
    _call(where, "POST", "faults", body, lambda rule: [_fault_line(rule)])


def _fault_lines(answer: dict[str, Any]) -> list[str]:
    rules = [_fault_line(rule) for rule in answer["faults"]] or ["no faults"]
    return [*rules, "", "kinds:", *(f"  {name:22} {meaning}" for name, meaning in answer["kinds"].items())]


def _fault_line(rule: dict[str, Any]) -> str:
    times = "until cleared" if rule["times"] is None else f"{rule['times']} times"
    match = f" for {rule['match']}" if rule["match"] else ""
    return f"#{rule['id']} {rule['target']} {rule['kind']}, {times}{match}: {rule['meaning']}"


@sandbox.command()
@click.argument("advance_seconds", type=click.FloatRange(0), required=False)
@_connected
def clock(advance_seconds: float | None, **where: Any) -> None:
    """Move the book's clock forward, firing everything due on the way; without a number show it."""
    if advance_seconds is None:
        _call(where, "GET", "clock", None, lambda answer: [answer["now"]])
        return
    _call(
        where,
        "POST",
        "clock",
        {"advance_seconds": advance_seconds},
        lambda answer: [f"{answer['now']} ({answer['fired']} things happened on the way)"],
    )


@sandbox.command()
@click.option("--mode", type=click.Choice(["public_key", "certificate", "both"]), help="Which keys sign.")
@click.option(
    "--rotate",
    is_flag=False,
    flag_value="now",
    type=click.Choice(["now", "publish", "switch", "retire"]),
    help="Rotate the platform certificate: at once, or step by step.",
)
@_connected
def keys(mode: str | None, rotate: str | None, **where: Any) -> None:
    """Show or change the platform keys."""
    body: dict[str, Any] = {}
    if mode is not None:
        body["mode"] = mode
    if rotate is not None:
        body["rotate"] = True if rotate == "now" else rotate
    _call(
        where,
        "POST" if body else "GET",
        "keys",
        body or None,
        lambda answer: [
            f"mode {answer['mode']}",
            f"public key {answer['public_key_id']}",
            *(
                f"certificate {item['serial_no']} until {item['expire_time']}"
                + (" (signs)" if item["serial_no"] == answer["signing_certificate"] else "")
                for item in answer["certificates"]
            ),
        ],
    )


@sandbox.command()
@click.argument("out_trade_no", required=False)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="Newest of each kind.")
@_connected
def book(out_trade_no: str | None, limit: int, **where: Any) -> None:
    """Show orders, refunds and notifications as WeChat knows them."""
    path = f"book?limit={limit}" + (f"&out_trade_no={out_trade_no}" if out_trade_no else "")
    _call(where, "GET", path, None, _book_lines)


def _book_lines(answer: dict[str, Any]) -> list[str]:
    lines = [
        f"order   {order['out_trade_no']:32} {_state(order['trade_state'])} {order['amount']['total']} fen "
        f"{order['created_at']}"
        for order in answer["orders"]
    ]
    lines += [
        f"refund  {record['out_refund_no']:32} {_state(record['status'])} {record['amount']['refund']} fen "
        f"{record['create_time']}"
        for record in answer["refunds"]
    ]
    for note in answer["notifications"]:
        heard = [str(attempt["status"] or attempt["error"]) for attempt in note["attempts"]]
        lines.append(f"notice  {note['id']} {note['event_type']} {_state(note['state'])} [{', '.join(heard)}]")
    totals = answer["totals"]
    return [
        *lines,
        f"{totals['orders']} orders, {totals['refunds']} refunds, {totals['notifications']} "
        f"notifications; {totals['paid_fen']} fen paid, {totals['refunded_fen']} fen refunded",
    ]


@sandbox.command()
@click.argument("notification_id")
@click.option("--duplicate", type=click.IntRange(1, 20), default=1, show_default=True, help="So many at once.")
@click.option("--probe", is_flag=True, help="With a WECHATPAY/SIGNTEST/ signature.")
@click.option("--wrong-serial", is_flag=True, help="Under an unknown serial.")
@click.option("--wrong-signature", is_flag=True, help="With a signature of nobody.")
@click.option("--stale", type=int, default=0, help="Signed so many seconds ago.")
@click.option("--tamper", multiple=True, metavar="NAME=JSON", help="Change the plaintext, e.g. amount.total=1.")
@_connected
def resend(
    notification_id: str,
    duplicate: int,
    probe: bool,
    wrong_serial: bool,
    wrong_signature: bool,
    stale: int,
    tamper: tuple[str, ...],
    **where: Any,
) -> None:
    """Send a notification again, as it was or tampered with."""
    body = {
        "duplicate": duplicate,
        "probe": probe,
        "wrong_serial": wrong_serial,
        "wrong_signature": wrong_signature,
        "stale_seconds": stale,
        "tamper": dict(map(_assignment, tamper)),
    }
    _call(
        where,
        "POST",
        f"notifications/{notification_id}/resend",
        body,
        lambda answer: [
            f"answered {item['status'] or item['error']} in {item['duration_ms']} ms" for item in answer["answers"]
        ],
    )


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--tamper {text}: NAME=JSON is wanted")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _call(
    where: dict[str, Any],
    method: str,
    path: str,
    body: dict[str, Any] | None,
    lines: Callable[[dict[str, Any]], list[str]],
) -> None:
    """Make one control call and print its answer, for people or as JSON."""

    def call() -> None:
        answer = ControlClient(simulator_url(where["url"], where["config"])).call(method, path, body)
        shown = [json.dumps(answer, ensure_ascii=False, indent=2)] if where["as_json"] else lines(answer)
        for line in shown:
            click.echo(line, color=False if "NO_COLOR" in os.environ else None)

    _guarded(call)


def _state(text: str) -> str:
    return click.style(text, fg=_STATE_COLOURS.get(text))


def _guarded(action: Callable[[], None]) -> None:
    """Turn what the simulator says into one line on stderr and an exit code."""
    try:
        action()
    except SandboxError as exc:
        _fail(exc)


def _fail(exc: SandboxError) -> NoReturn:
    code = next(code for kind, code in _EXITS if isinstance(exc, kind))
    name = f"{exc.code}: " if isinstance(exc, ControlRefused) else ""
    click.echo(f"payd sandbox: {name}{exc}", err=True)
    if isinstance(exc, SimulatorUnreachable):
        click.echo("Start one with `payd sandbox --dir D`, or say --url or --config.", err=True)
    sys.exit(code)
