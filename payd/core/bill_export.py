"""A trade bill as a CSV file for people: readable columns, and no cell that a spreadsheet would run as a formula.

Merchants' and payers' texts stand in these cells, so a cell that begins like a formula gets an apostrophe in front
(OWASP, CSV injection). payd's own amounts may begin with a minus; they are plain numbers and stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import Final

from payd.core.trade_bill import TradeRow
from payd.models.ids import BEIJING
from payd.models.money import yuan_from_fen

#: What a spreadsheet takes for the beginning of a formula, full-width forms included.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)

#: Column -> its text. Times are Beijing time, as on the bill; money is yuan.
COLUMNS: Final[tuple[tuple[str, Callable[[TradeRow], str]], ...]] = (
    ("kind", lambda row: "payment" if row.refund is None else "refund"),
    ("time_beijing", lambda row: f"{row.at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"),
    ("out_trade_no", lambda row: row.out_trade_no),
    ("transaction_id", lambda row: row.transaction_id),
    ("out_refund_no", lambda row: row.refund.out_refund_no if row.refund else ""),
    ("refund_id", lambda row: row.refund.refund_id if row.refund else ""),
    ("trade_type", lambda row: row.trade_type),
    ("trade_state", lambda row: row.trade_state),
    ("refund_status", lambda row: row.refund.refund_status if row.refund else ""),
    ("currency", lambda row: row.currency),
    ("total_yuan", lambda row: yuan_from_fen(row.total_fen)),
    ("settlement_yuan", lambda row: yuan_from_fen(row.settlement_fen)),
    ("coupon_yuan", lambda row: yuan_from_fen(row.coupon_fen)),
    ("refund_yuan", lambda row: yuan_from_fen(row.refund.refund_fen) if row.refund else "0.00"),
    ("fee_yuan", lambda row: f"{row.fee:f}"),
    ("rate_percent", lambda row: "" if row.rate_percent is None else f"{row.rate_percent:f}"),
    ("bank_type", lambda row: row.bank_type),
    ("appid", lambda row: row.appid),
    ("description", lambda row: row.description),
    ("attach", lambda row: row.attach),
)


def safe_cell(text: str) -> str:
    """Disarm a cell that a spreadsheet would run: an apostrophe in front makes it text."""
    if text.startswith(FORMULA_STARTS) and not _PLAIN_NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def csv_line(cells: Iterable[str]) -> str:
    """Write one line by RFC 4180, ended by CRLF, every cell disarmed."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([safe_cell(cell) for cell in cells])
    return buffer.getvalue()


def header_line() -> str:
    """Write the column names; the last column is payd's own."""
    return csv_line([*(name for name, _ in COLUMNS), "differences"])


def row_line(row: TradeRow, differences: Iterable[str]) -> str:
    """Write one row of the bill, and what payd found about it (kinds of discrepancies, empty when both agree)."""
    return csv_line([*(text(row) for _, text in COLUMNS), " ".join(differences)])
