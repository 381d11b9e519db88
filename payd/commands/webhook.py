"""``payd webhook``: what the merchant's endpoints were told, and telling them again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payd.commands import output
from payd.commands.exits import FOUND
from payd.commands.options import config_option, json_option, read_config

if TYPE_CHECKING:
    from payd.storage import SqliteReads

HEAD = ("ID", "TYPE", "STATUS", "TRIES", "LAST", "NEXT", "ORDER", "URL")
STATUSES = ("all", "pending", "delivered", "dead", "disabled")


@click.group()
def webhook() -> None:
    """Webhooks to the merchant's own endpoints."""


@webhook.command("list")
@click.option("--status", type=click.Choice(STATUSES), default="all", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Newest of them.")
@config_option
@json_option
def list_deliveries(status: str, limit: int, config_path: Path, as_json: bool) -> None:
    """Show endpoints and deliveries, newest first. Works beside a running daemon."""
    from payd.commands.execution import read_books
    from payd.models.webhook import DeliveryStatus
    from payd.web.views import delivery_view
    from payd.webhook.disabled import META_PREFIX

    config = read_config(config_path)
    which = None if status == "all" else DeliveryStatus(status)

    async def read(books: SqliteReads) -> tuple[set[str], list[dict[str, Any]]]:
        off = {e.url for e in config.webhooks if await books.load_meta(META_PREFIX + e.url)}
        rows = await books.list_deliveries(which, limit=limit, after=None)
        return off, [delivery_view(delivery, attempts) for delivery, attempts in rows]

    off, found = read_books(config, read)
    endpoints = [
        {"url": e.url, "events": list(e.events), "status": "disabled" if e.url in off else "on"}
        for e in config.webhooks
    ]
    if as_json:
        output.say_json({"endpoints": endpoints, "deliveries": found})
        return
    _say_endpoints(endpoints)
    output.say(output.table(HEAD, [_row(item) for item in found]) if found else "no deliveries")


def _say_endpoints(endpoints: list[dict[str, Any]]) -> None:
    if not endpoints:
        output.say("no endpoints are configured")
        return
    rows = [(item["url"], item["status"], " ".join(item["events"])) for item in endpoints]
    output.say([*output.table(("ENDPOINT", "STATUS", "EVENTS"), rows), ""])


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    attempts = item["attempts"]
    last = (attempts[-1]["status"] or attempts[-1]["error"]) if attempts else None
    number = item["out_refund_no"] or item["out_trade_no"]
    return item["id"], item["type"], item["status"], len(attempts), last, item["next_at"], number, item["url"]


@webhook.command()
@click.argument("id")
@config_option
@json_option
def resend(id: str, config_path: Path, as_json: bool) -> None:
    """Send the delivery ID again, under the same webhook-id.

    The daemon sends it at once. Without a daemon it is sent from here, with everything else that is due.
    """
    from payd.commands.execution import perform

    done = perform(read_config(config_path), "webhook_resend", id=id)
    if as_json:
        output.say_json(done)
    else:
        output.say(f"{done['id']} {output.coloured(done['status'])} {done['webhook_id']} to {done['url']}")


@webhook.command()
@click.argument("url")
@config_option
@json_option
def enable(url: str, config_path: Path, as_json: bool) -> None:
    """Use the endpoint URL again after it said 410 (gone)."""
    from payd.commands.execution import perform

    done = perform(read_config(config_path), "webhook_enable", url=url)
    output.say_json(done) if as_json else output.say(f"{done['url']} is {output.coloured('on')}")


@webhook.command("test")
@click.argument("url")
@config_option
@json_option
def send_test(url: str, config_path: Path, as_json: bool) -> None:
    """Post a signed event of type "test" to the configured endpoint URL and show its answer.

    Exits 1 when the endpoint did not answer 2xx. Needs no daemon; nothing is written.
    """
    from payd.commands.execution import run
    from payd.errors import Complaint, RequestError
    from payd.system import SystemClock, SystemEntropy
    from payd.webhook.trial import send_test_event

    config = read_config(config_path)
    urls = [endpoint.url for endpoint in config.webhooks]
    if url not in urls:
        listed = f"there are {', '.join(urls)}" if urls else "there are none"
        raise RequestError("not_found", complaints=[Complaint("URL", f"{url} is not under webhooks; {listed}")])
    answer = run(send_test_event(url, config.webhooks, clock=SystemClock(), entropy=SystemEntropy()))
    good = answer.error is None
    if as_json:
        output.say_json({"ok": good, "status": answer.status, "error": answer.error, "duration_ms": answer.duration_ms})
    else:
        said = f"answered {answer.status}" if good else str(answer.error)
        output.say(f"{output.coloured('ok' if good else 'problem')}: {said} ({answer.duration_ms} ms)")
    if not good:
        sys.exit(FOUND)
