"""scripts/demo: payd with its simulator inside; an order is created, paid, announced and refunded before your eyes.

Everything lives in the folder ``demo/`` (books, throw-away keys, configuration) and is used again by the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import segno

HOME = Path(__file__).resolve().parent.parent / "demo"
GOODS = ["红茶 Black tea", "包子 Steamed bun x2", "豆浆 Soy milk", "咖啡 Coffee", "牛肉面 Beef noodles"]
STATE_COLOURS = {"PAID": "green", "SUCCESS": "green", "REFUND_SUCCESS": "cyan", "FAILED": "red", "CLOSED": "yellow"}
WAIT_SECONDS = 30


class Shop:
    """A merchant's program: speaks to payd over HTTP like any other."""

    def __init__(self, url: str, key: str, simulator: str) -> None:
        self.url, self.key, self.simulator = url, key, simulator

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, keyed: bool = False) -> Any:
        """Make one call with the API key; returns the JSON answer."""
        headers = {"X-Api-Key": self.key}
        if keyed:
            headers["Idempotency-Key"] = secrets.token_hex(8)
        return _json(method, self.url + path, body, headers)

    def act(self, path: str, body: dict[str, Any]) -> Any:
        """Do what the payer, the bank or WeChat would do, through the simulator's control API."""
        return _json("POST", self.simulator + "/_sandbox/" + path, body, {})


def _json(method: str, url: str, body: dict[str, Any] | None, headers: dict[str, str]) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise click.ClickException(f"{method} {url} answered {error.code}: {error.read().decode()[:500]}") from error


def wait_until(what: str, look: Callable[[], Any]) -> Any:
    """Look until there is something to see; gives up with a message."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.1)
    raise click.ClickException(f"{what} did not happen within {WAIT_SECONDS} s; see {HOME / 'payd.log'}")


def free_port(wanted: int) -> int:
    """Take the wanted port, or any free one when somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise click.ClickException("no free port on 127.0.0.1")


def require_free_books() -> None:
    """See that nobody has the demo's books, before a file in its folder is changed."""
    from payd.errors import StorageUnavailable
    from payd.storage.sqlite.connection import WriterLock

    HOME.mkdir(mode=0o700, exist_ok=True)
    try:
        WriterLock(HOME / "payd.db").release()
    except StorageUnavailable as error:
        pid = (HOME / "payd.db.lock").read_text().strip()
        where = ""
        with contextlib.suppress(OSError, ValueError, LookupError):
            where = f" at http://127.0.0.1:{json.loads((HOME / 'config.json').read_text())['server']['port']}"
        raise click.ClickException(
            f"{error}: a demo, or a payd on its folder, runs already{where}.\n"
            f"Go on with that one, or end it: q in its dashboard, Ctrl-C in its terminal, or: kill {pid}"
        ) from error


def key_of(path: Path) -> str:
    """Read the API key of an earlier run."""
    try:
        return str(json.loads(path.read_text())["pay"]["api_keys"][0])
    except (ValueError, LookupError, TypeError) as error:
        raise click.ClickException(
            f"{path} is not as an earlier demo wrote it: {error}.\nRemove it, and the demo makes another key."
        ) from error


def write_config() -> dict[str, Any]:
    """Write demo/config.json; the API key of an earlier run is kept."""
    path = HOME / "config.json"
    key = key_of(path) if path.exists() else f"demo-{secrets.token_hex(16)}"
    config = {
        "mode": "sandbox",
        "server": {"host": "127.0.0.1", "port": free_port(8080)},
        "storage": {"path": "payd.db"},
        "sandbox": {"port": free_port(8081), "dir": "sandbox"},
        "pay": {"api_keys": [key]},
    }
    path.write_text(json.dumps(config, indent=2) + "\n")
    path.chmod(0o600)
    key_file = HOME / "api.key"
    key_file.write_text(key + "\n")
    key_file.chmod(0o600)
    return config


def start(config: dict[str, Any]) -> tuple[subprocess.Popen[str], Shop]:
    """Start payd and wait for its one line."""
    log = (HOME / "payd.log").open("w")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "payd", "serve", "--config", str(HOME / "config.json")],
        stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    try:
        line = daemon.stdout.readline().strip()
    except BaseException:  # Ctrl-C so early must not leave a daemon behind that holds the books
        daemon.terminate()
        daemon.wait(30)
        raise
    if not line:
        daemon.wait(30)
        raise click.ClickException(f"payd did not start:\n{(HOME / 'payd.log').read_text()[-2000:]}")
    click.echo(f"  {line}")
    url = f"http://127.0.0.1:{config['server']['port']}"
    return daemon, Shop(url, config["pay"]["api_keys"][0], f"http://127.0.0.1:{config['sandbox']['port']}")


def title(text: str) -> None:
    """Begin a step."""
    click.echo()
    click.secho(f"■ {text}", bold=True)


def show_timeline(shop: Shop, out_trade_no: str, seen: int) -> int:
    """Print the lines of the order's history that were not printed yet."""
    events = shop.call("GET", f"/pay/orders/{out_trade_no}/events")["events"]
    for event in events[seen:]:
        if event["to"] is None:
            continue
        before, after = event["from"] or "·", event["to"]
        arrow = f"{before} -> {click.style(after, fg=STATE_COLOURS.get(after, 'blue'), bold=True)}"
        click.echo(f"  {event['at']}  {event['subject']:<8} {arrow}   on the word of: {event['source']}")
    return len(events)


def one_payment(shop: Shop) -> None:
    """Create, pay, refund: the main job."""
    title("A merchant's program creates an order (POST /pay/create)")
    order = shop.call("POST", "/pay/create", {"description": "红茶 Black tea", "amount": {"total": 1200}}, keyed=True)
    number = order["out_trade_no"]
    click.echo(f"  {number}  ¥12.00  {order['status']}  {order['code_url']}")
    seen = show_timeline(shop, number, 0)
    title("The payer scans this with WeChat")
    segno.make(order["code_url"], error="l").terminal(compact=True, border=2)
    title("... and pays (here the simulator plays the payer)")
    transaction = shop.act("pay", {"out_trade_no": number})
    click.echo(f"  WeChat's transaction_id {transaction.get('transaction_id')}; its notification is on the way")
    wait_until("the payment", lambda: shop.call("GET", f"/pay/query?out_trade_no={number}")["status"] == "PAID")
    seen = show_timeline(shop, number, seen)
    title("The merchant gives ¥5.00 back (POST /pay/refund)")
    body = {"out_trade_no": number, "amount": {"refund": 500}, "reason": "少了一杯 one cup short"}
    refund = shop.call("POST", "/pay/refund", body, keyed=True)["out_refund_no"]
    path = f"/pay/refund/query?out_refund_no={refund}"
    wait_until("the refund", lambda: shop.call("GET", path)["status"] == "REFUND_SUCCESS")
    show_timeline(shop, number, seen)
    after = shop.call("GET", f"/pay/query?out_trade_no={number}")
    title("The books")
    amount = after["amount"]
    click.echo(
        f"  {number}  {after['status']}  paid {amount['total'] / 100:.2f}  refunded {amount['refunded'] / 100:.2f}"
        f"  net {(amount['total'] - amount['refunded']) / 100:.2f} yuan"
    )


def how_to_go_on(shop: Shop) -> None:
    """Print commands that work as they stand."""
    title("Go on yourself")
    number = f"tea-{time.strftime('%H%M%S')}"  # one of its own: the books of an earlier demo are kept
    click.echo(f"""  export KEY={shop.key}
  curl -s -H "X-Api-Key: $KEY" -H 'Content-Type: application/json' {shop.url}/pay/create \\
       -d '{{"description": "Tea", "amount": {{"total": 100}}, "out_trade_no": "{number}"}}'; echo
  .venv/bin/payd sandbox pay {number} --url {shop.simulator}
  curl -s -H "X-Api-Key: $KEY" '{shop.url}/pay/orders?limit=5'; echo
  .venv/bin/payd-dashboard --url {shop.url} --key-file {os.path.relpath(HOME / "api.key")}
  .venv/bin/payd verify --config {os.path.relpath(HOME / "config.json")}
  in a browser: {shop.url}/docs""")


def trade(shop: Shop, closing_time: threading.Event) -> None:
    """Keep a small shop trading: most payers pay, some do not, some want their money back."""
    chance = random.Random()
    with (HOME / "traffic.log").open("a") as log:
        while not closing_time.wait(chance.uniform(0.3, 2.0)):
            try:
                _trade_once(shop, chance)
            except (click.ClickException, OSError) as error:
                log.write(f"{error}\n")
                log.flush()


def _trade_once(shop: Shop, chance: random.Random) -> None:
    fen = chance.randrange(100, 8_000)
    order = shop.call("POST", "/pay/create", {"description": chance.choice(GOODS), "amount": {"total": fen}})
    fate = chance.random()
    if fate < 0.75:
        shop.act("pay", {"out_trade_no": order["out_trade_no"]})
    elif fate < 0.85:
        shop.call("POST", "/pay/close", {"out_trade_no": order["out_trade_no"]})
    if fate < 0.12:
        number = order["out_trade_no"]
        wait_until("a payment", lambda: shop.call("GET", f"/pay/query?out_trade_no={number}")["status"] == "PAID")
        body = {"out_trade_no": number, "amount": {"refund": max(1, fen // 2)}}
        shop.call("POST", "/pay/refund", body)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="End after the first payment, exit 0.")
@click.option("--traffic", is_flag=True, help="Keep a small shop trading against the simulator.")
@click.option("--no-dashboard", is_flag=True, help="Stay at the log instead of opening the dashboard.")
def main(once: bool, traffic: bool, no_dashboard: bool) -> None:
    """Take and refund a payment before your eyes, with payd and its WeChat Pay simulator on this machine.

    No merchant account, no network, no money. Without --once the daemon stays up; in a terminal the dashboard opens,
    and closing it (q) ends the demo.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):  # however the demo ends, payd ends with it
        signal.signal(ending, _interrupted)
    title("payd starts, with its simulator inside (mode sandbox)")
    require_free_books()
    daemon, shop = start(write_config())
    closing_time = threading.Event()
    trader = threading.Thread(target=trade, args=(shop, closing_time), daemon=True)
    try:
        one_payment(shop)
        if once:
            click.echo("\npayd ends with this demo; `scripts/demo` leaves it up and shows how to go on.")
            return
        how_to_go_on(shop)
        if traffic:
            trader.start()
        stay(shop, daemon, dashboard=sys.stdout.isatty() and not no_dashboard)
    except KeyboardInterrupt:
        click.echo()
    finally:
        closing_time.set()
        if trader.is_alive():
            trader.join(20)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def stay(shop: Shop, daemon: subprocess.Popen[str], *, dashboard: bool) -> None:
    """Open the dashboard, or wait until somebody ends the demo."""
    if dashboard:
        click.echo()
        click.echo("Press a key for the dashboard (q leaves it and ends the demo) ...", nl=False)
        click.getchar()  # click.pause would take Ctrl-C for a key
        click.echo()
        command = [sys.executable, "-m", "dashboard", "--url", shop.url, "--key-file", str(HOME / "api.key")]
        subprocess.run(command, check=False)
        return
    click.echo("\npayd stays up; Ctrl-C ends it.")
    daemon.wait()


if __name__ == "__main__":
    main(prog_name="scripts/demo")
