"""``payd discrepancy``: what WeChat and the books say differently, and what a person decided about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payd.commands import output
from payd.commands.options import config_option, json_option, read_config

if TYPE_CHECKING:
    from payd.storage import SqliteReads

HEAD = ("ID", "KIND", "STATUS", "ORDER", "REFUND", "OPENED", "DETAIL")


@click.group()
def discrepancy() -> None:
    """Contradictions between WeChat and the books."""


@discrepancy.command("list")
@click.option("--status", type=click.Choice(["open", "resolved", "all"]), default="open", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Newest of them.")
@config_option
@json_option
def list_discrepancies(status: str, limit: int, config_path: Path, as_json: bool) -> None:
    """Show discrepancies, newest first. Works beside a running daemon."""
    from payd.commands.execution import read_books
    from payd.models.discrepancy import DiscrepancyStatus
    from payd.web.views import discrepancy_view

    which = None if status == "all" else DiscrepancyStatus(status)

    async def read(books: SqliteReads) -> list[dict[str, Any]]:
        return [discrepancy_view(row) for row in await books.list_discrepancies(which, limit=limit, after=None)]

    found = read_books(read_config(config_path), read)
    if as_json:
        output.say_json({"discrepancies": found})
    elif not found:
        output.say(f"no {'' if status == 'all' else status + ' '}discrepancies")
    else:
        output.say(output.table(HEAD, [_row(item) for item in found]))


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    detail = ", ".join(f"{name}={value}" for name, value in item["detail"].items() if value is not None)
    if item["note"]:
        detail += f" | {item['note']}"
    return (
        item["id"], item["kind"], item["status"], item["out_trade_no"], item["out_refund_no"], item["opened_at"], detail
    )  # fmt: skip


@discrepancy.command()
@click.argument("id")
@click.option("--note", required=True, help="What was found and done; it goes into the order's journal.")
@config_option
@json_option
def resolve(id: str, note: str, config_path: Path, as_json: bool) -> None:
    """Close the discrepancy ID with a note. Works beside a running daemon and without one."""
    from payd.commands.execution import perform

    done = perform(read_config(config_path), "discrepancy_resolve", id=id, note=note)
    if as_json:
        output.say_json(done)
        return
    status, shown = output.coloured(done["status"]), output.printable(done["note"])
    output.say(f"{done['id']} {status} {done['resolved_at']}: {shown}")
    if done["note"] != note.strip():
        click.echo("It was resolved before; its note stays as it was.", err=True)
