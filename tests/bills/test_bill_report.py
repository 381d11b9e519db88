"""What is told about a day afterwards, and the CSV for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd.core.bill_export import COLUMNS, FORMULA_STARTS, csv_line, safe_cell
from payd.core.bill_format import BillDamaged
from payd.errors import RequestError

from . import writer
from .books import DAY, payment_row, refund_of, refund_row, snapshot


@given(st.text(max_size=30))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    """Whatever a merchant or payer wrote, a spreadsheet takes it for text; a plain number stays a number."""
    cell = safe_cell(text)

    assert cell in (text, f"'{text}")
    assert not cell.startswith(FORMULA_STARTS) or cell.removeprefix("-").replace(".", "", 1).isdigit()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("+86", "'+86"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"),
        ("-1+1|cmd", "'-1+1|cmd"), ("-", "'-"), ("-0.06", "-0.06"), ("tea", "tea"), ("＝1", "'＝1"),
    ],
)  # fmt: skip
def test_formulas_are_disarmed(text: str, cell: str) -> None:
    """The six ASCII beginnings and their full-width twins get an apostrophe; a negative amount does not."""
    assert cell == safe_cell(text)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=2, max_size=5))
def test_a_line_reads_back_by_the_csv_rules(cells: list[str]) -> None:
    """Quotes, commas and line ends inside a cell survive."""
    [line] = csv.reader(io.StringIO(csv_line(cells), newline=""))

    assert [safe_cell(cell) for cell in cells] == line


async def test_the_export_shows_bill_and_findings(house: Any, tmp_path: Path) -> None:
    """One line per row, with what payd found beside it, for the owner's eyes only."""
    await house.enter(snapshot("ORDER-1", total_fen=999, refunds=(refund_of("ORDER-1", "R1"),)))
    text = writer.escape('=HYPERLINK(1),"x"', refund=False)
    house.wechat.serve_trade([payment_row("ORDER-1", 商品名称=text), refund_row("ORDER-1", "R1")])
    await house.bills.fetch(DAY)
    target = tmp_path / "bill.csv"

    rows = await house.bills.export_csv(DAY, target)

    content = target.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    lines = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert (rows, len(lines), target.stat().st_mode & 0o777) == (2, 2, 0o600)
    assert [*(name for name, _ in COLUMNS), "differences"] == list(lines[0])
    assert (lines[0]["description"], lines[0]["differences"]) == ('\'=HYPERLINK(1),"x"', "bill_amount")
    assert (
        lines[1]["fee_yuan"], lines[1]["refund_yuan"], lines[1]["time_beijing"],
    ) == ("-0.02000", "4.00", "2026-11-22 09:08:07")  # fmt: skip


async def test_without_a_stored_bill_there_is_no_export(house: Any, tmp_path: Path) -> None:
    """Nothing is written, and the way to get the bill is told."""
    with pytest.raises(RequestError) as caught:
        await house.bills.export_csv(DAY, tmp_path / "bill.csv")

    assert "payd bill fetch" in caught.value.complaints[0].issue
    assert not (tmp_path / "bill.csv").exists()


async def test_a_stored_bill_that_was_changed_is_noticed(house: Any, tmp_path: Path) -> None:
    """show compares the SHA-1 with WeChat's; the export refuses a file whose totals no longer agree."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    await house.bills.fetch(DAY)
    before = await house.bills.show(DAY)
    before.path.write_bytes(before.path.read_bytes().replace(b"`10.00", b"`99.00", 1))

    after = await house.bills.show(DAY)

    assert (before.intact, after.intact) == (True, False)
    with pytest.raises(BillDamaged):
        await house.bills.export_csv(DAY, tmp_path / "bill.csv")
    assert [path.name for path in tmp_path.iterdir() if "bill.csv" in path.name] == []


async def test_a_day_that_was_never_fetched_is_told_as_such(house: Any) -> None:
    """show asks nobody."""
    report = await house.bills.show(DAY)

    assert (report.outcome.value, report.trade, report.path, report.exit_code) == ("not_fetched", None, None, 0)
    assert house.wechat.applied == []


async def test_the_view_is_plain_json(house: Any) -> None:
    """Everything a command prints is there, as JSON values."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("NOBODY-1")])

    view = (await house.bills.fetch(DAY)).view()

    assert view == json.loads(json.dumps(view))
    assert {"bill_missing_here", "bill_missing_there"} == {found["kind"] for found in view["discrepancies"]}
    assert (
        view["bill_date"], view["outcome"], view["differences"], view["intact"],
    ) == ("2026-11-22", "compared", 2, True)  # fmt: skip
