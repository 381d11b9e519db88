"""``payd bill``: a day's bills from WeChat, compared with the books."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from payd.commands import output
from payd.commands.exits import FOUND
from payd.commands.options import config_option, json_option, read_config

if TYPE_CHECKING:
    from payd.config import Config
    from payd.storage import SqliteReads
    from payd.workers.bill_report import BillReport

HEAD: Final = ("DISCREPANCY", "KIND", "STATUS", "ORDER", "REFUND", "BILL", "BOOKS")
#: Outcome -> what it means, for a person.
MEANINGS: Final = {
    "compared": "compared with the books",
    "no_statement": "WeChat has no statement: nothing happened that day",
    "damaged": "the file is damaged; try again",
    "creating": "WeChat is still making the file; try again in half an hour",
    "unavailable": "WeChat did not give the bill; try again",
    "not_fetched": "not fetched yet",
}


@click.group()
def bill() -> None:
    """WeChat's daily bills, compared with the books."""


@bill.command()
@click.argument("date")
@config_option
@json_option
def fetch(date: str, config_path: Path, as_json: bool) -> None:
    """Fetch the bills of the Beijing day DATE (2026-11-22) and compare them, now.

    What differs becomes a discrepancy. Works beside a running daemon and without one.

    \b
    Exits 0 when both sides agree or WeChat has no statement, 1 on differences,
    75 when the bill is damaged or not ready.
    """
    from payd.commands.execution import perform

    done = perform(read_config(config_path), "bill_fetch", date=date)
    output.say_json(done) if as_json else _say(done)
    sys.exit(done["exit_code"])


@bill.command()
@click.argument("date")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the day's rows with payd's findings to this file.",
)
@config_option
@json_option
def show(date: str, csv_path: Path | None, config_path: Path, as_json: bool) -> None:
    """Show how the bills of the Beijing day DATE stand. Asks nobody; works beside a running daemon.

    Exits 1 when the stored file is no longer the one WeChat sent.
    """
    from payd.commands.execution import read_books

    config = read_config(config_path)

    async def read(books: SqliteReads) -> tuple[BillReport, int | None]:
        return await _read(books, config, date, csv_path)

    report, rows = read_books(config, read)
    output.say_json(report.view()) if as_json else _say(report.view())
    if rows is not None:
        click.echo(f"{csv_path}: {rows} rows", err=True)
    if report.intact is False:
        click.echo(f"payd: {report.path} was changed since it was compared", err=True)
        sys.exit(FOUND)


async def _read(books: SqliteReads, config: Config, date: str, target: Path | None) -> tuple[BillReport, int | None]:
    from payd.operations import bill_date
    from payd.workers.bill_report import export_bill, report_bill

    folder, day = config.storage.path.parent / "bills", bill_date(date)
    rows = None if target is None else await export_bill(books, folder, day, target)
    return await report_bill(books, folder, day), rows


def _say(report: dict[str, Any]) -> None:
    reason = f" ({output.printable(report['reason'])})" if report["reason"] else ""
    output.say(f"{report['bill_date']}: {MEANINGS[report['outcome']]}{reason}")
    for name, kind in (("trade", "trade bill"), ("fund_flow", "fund flow")):
        run = report[name]
        if run is not None:
            sums = ", ".join(_sum(*item) for item in run["summary"].items() if isinstance(item[1], int) and item[1])
            output.say(f"{kind:10}  {output.coloured(run['status'])}, {run['rows']} rows{f': {sums}' if sums else ''}")
    found = report["discrepancies"]
    if not found:
        output.say(f"{report['differences']} differences")
        return
    rows = [
        (item["id"], item["kind"], item["status"], item["out_trade_no"], item["out_refund_no"],
         item["detail"].get("bill"), item["detail"].get("books"))
        for item in found
    ]  # fmt: skip
    output.say(["", *output.table(HEAD, rows)])


def _sum(name: str, value: int) -> str:
    if name.endswith("_fen"):
        return f"{name.removesuffix('_fen').replace('_', ' ')} {output.yuan(value)} yuan"
    return f"{name.replace('_', ' ')} {value}"
