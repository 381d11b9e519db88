"""The frame that all of WeChat's daily bills share: a table of columns by NAME, and a summary that must agree.

A file is UTF-8, with or without BOM; lines end with CRLF or LF. Line 1 holds the column names; every record follows on
its own line, each field behind a backtick; then the names of the totals and one line of totals. Columns are found by
their names, because merchants on the old format lack the right-hand ones and spell some differently.

This module reads and checks; it opens no file and must never guess: what does not fit raises `BillDamaged` with the
line and the column. Source: doc 4013071218 (trade bill), 4013071246 (fund flow), and the published sample bills.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from payd import limits
from payd.errors import PaydError
from payd.models.ids import BEIJING
from payd.models.money import fen_from_yuan

Row = TypeVar("Row")

BOM: Final = b"\xef\xbb\xbf"
_NUMBER: Final = re.compile(r"-?[0-9]{1,13}(?:\.[0-9]{1,10})?", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)

#: What a backslash makes of the character behind it, in the columns a merchant fills. ``140`` is the backtick of
#: refund rows, written as its octal code; on payment rows it cannot occur, for a backslash itself is doubled there.
ESCAPES: Final[dict[str, str]] = {
    "\\": "\\", "'": "'", '"': '"', "`": "`", "140": "`", " ": ",", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip
_ESCAPED: Final = re.compile(r"\\(140|[\\'\"` nrt])")


class BillDamaged(PaydError):
    """A bill is not what it says: cut, altered, or in a form payd does not know. Apply and download again.

    ``line`` counts from 1; ``column`` is WeChat's column name, empty when the whole line is wrong.
    """

    retryable = True

    def __init__(self, line: int, column: str, reason: str) -> None:
        super().__init__(f"bill line {line}{f', column {column}' if column else ''}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its value goes, WeChat's names for it (newest first), and how its text is read.

    ``read`` raises ValueError for a text it cannot read; None takes the text as it is. ``need`` False: a bill without
    this column reads ``missing``.
    """

    field: str
    names: tuple[str, ...]
    read: Callable[[str], Any] | None = None
    need: bool = True
    missing: Any = None


@dataclass(frozen=True, slots=True)
class Total(Generic[Row]):
    """One number of the summary line and what it must be: the sum of ``of`` over all rows, by the rule ``same``.

    It is checked when both the summary names it and the bill has the column ``field`` ("" for a plain count).
    """

    key: str
    names: tuple[str, ...]
    field: str
    of: Callable[[Row], int | Decimal]
    same: Callable[[int | Decimal, Decimal], bool]
    need: bool = False


@dataclass(frozen=True, slots=True)
class Layout(Generic[Row]):
    """One kind of bill: its columns, its totals, and how the values of a line become a row.

    ``make`` gets the line number and the values by field; it raises BillDamaged for values that exclude each other.
    """

    columns: tuple[Column, ...]
    totals: tuple[Total[Row], ...]
    make: Callable[[int, Mapping[str, Any]], Row]


def same_count(total: int | Decimal, said: Decimal) -> bool:
    """Compare a number of rows; WeChat also writes ``45.0``."""
    return said == total


def same_fen(total: int | Decimal, said: Decimal) -> bool:
    """Compare a sum in fen with a total in yuan, exactly."""
    return said * 100 == total


def same_yuan(total: int | Decimal, said: Decimal) -> bool:
    """Compare an exact sum in yuan with a total that may carry fewer decimals (fees: five in rows, two in the sum)."""
    return said == Decimal(total).quantize(Decimal((0, (1,), said.as_tuple().exponent)), ROUND_HALF_UP)  # type: ignore[arg-type]


def required_text(text: str) -> str:
    """Read a number or word that must not be empty."""
    if not text:
        raise ValueError("is empty")
    return text


def merchant_text(text: str) -> str:
    """Read a column that the merchant filled: undo WeChat's escapes. An unknown escape stays as it is."""
    return _ESCAPED.sub(lambda match: ESCAPES[match[1]], text) if "\\" in text else text


@lru_cache(maxsize=4_096)  # a bill repeats its amounts and rates; the texts are short, the functions pure
def decimal_number(text: str) -> Decimal:
    """Read a plain decimal number: digits, an optional sign and point, nothing else (no exponent, no blanks)."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"no decimal number: {text[:32]!r}")
    return Decimal(text)


@lru_cache(maxsize=4_096)
def amount_fen(text: str) -> int:
    """Read an amount in yuan as fen, not negative."""
    fen = fen_from_yuan(str(decimal_number(text)))
    if fen < 0:
        raise ValueError(f"negative amount: {text[:32]!r}")
    return fen


def optional_fen(text: str) -> int:
    """Read an amount in yuan as fen; empty means none."""
    return amount_fen(text) if text else 0


def beijing_time(text: str) -> datetime:
    """Read ``yyyy-MM-dd HH:mm:ss``, Beijing time, as an aware time in UTC."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"no time: {text[:32]!r}")
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING).astimezone(UTC)


def optional_time(text: str) -> datetime | None:
    """Read a time that may be missing."""
    return beijing_time(text) if text else None


class BillReader(Generic[Row]):
    """Reads one bill, a row at a time, in memory that does not grow with the file.

    Iterate once, to the end: only then the totals have been compared, and before that nothing may be concluded from
    the rows. ``lines`` are the file's lines with their ends, each at most ``BILL_LINE_BYTES_MAX`` bytes.
    ``rows`` and ``sums`` (by ``Total.key``) count what was read so far.
    """

    def __init__(self, lines: Iterable[bytes], layout: Layout[Row]) -> None:
        self._lines = enumerate(lines, start=1)
        self._layout = layout
        self._line = 0
        self.rows = 0
        self.sums: dict[str, int | Decimal] = {total.key: 0 for total in layout.totals}
        self.complete = False

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the file's order. Raises BillDamaged."""
        header = self._names(self._next("the file is empty"))
        self._find_columns(header)
        text = self._next("the file ends before its totals")
        while text.startswith("`"):
            row = self._row(self._cells(text, header))
            self.rows += 1
            for total in self._layout.totals:
                self.sums[total.key] += total.of(row)
            yield row
            text = self._next("the file ends before its totals")
        self._compare(self._names(text))
        self.complete = True

    def _next(self, ended: str) -> str:
        self._line, line = next(self._lines, (self._line + 1, None))
        if line is None:
            raise self._damaged("", ended)
        if self._line == 1:
            line = line.removeprefix(BOM)
        if len(line) > limits.BILL_LINE_BYTES_MAX:
            raise self._damaged("", f"longer than {limits.BILL_LINE_BYTES_MAX} bytes")
        try:
            return line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as exc:
            raise self._damaged("", "no UTF-8") from exc

    def _names(self, text: str) -> list[str]:
        names = text.split(",")
        if text.startswith("`") or len(set(names)) != len(names) or not all(names):
            raise self._damaged("", "column names expected, each of them once")
        return names

    def _cells(self, text: str, names: Sequence[str]) -> list[str]:
        cells = text.removeprefix("`").split(",`")
        if len(cells) != len(names):
            column = names[len(cells)] if len(cells) < len(names) else ""
            raise self._damaged(column, f"{len(cells)} fields under {len(names)} columns")
        return cells

    def _find_columns(self, header: Sequence[str]) -> None:
        """Find each column's place in this file, and what stands for those that it may and does lack."""
        self._found: list[tuple[Column, int]] = []
        self._missing: dict[str, Any] = {}
        for column in self._layout.columns:
            name = next((name for name in column.names if name in header), None)
            if name is not None:
                self._found.append((column, header.index(name)))
            elif column.need:
                raise self._damaged(column.names[0], "column is missing")
            else:
                self._missing[column.field] = column.missing

    def _row(self, cells: Sequence[str]) -> Row:
        values = dict(self._missing)
        for column, place in self._found:
            read = column.read
            if read is None:
                values[column.field] = cells[place]
                continue
            try:
                values[column.field] = read(cells[place])
            except ValueError as exc:
                raise self._damaged(column.names[0], str(exc)) from exc
        return self._layout.make(self._line, values)

    def _compare(self, names: Sequence[str]) -> None:
        """Hold the summary against what was read; then there must be nothing more."""
        said = dict(zip(names, self._cells(self._summary_line(), names), strict=True))
        for total in self._layout.totals:
            name = next((name for name in total.names if name in said), None)
            if name is None:
                if total.need:
                    raise self._damaged(total.names[0], "total is missing")
                continue
            if total.field in self._missing:
                continue
            try:
                agrees = total.same(self.sums[total.key], decimal_number(said[name]))
            except ValueError as exc:
                raise self._damaged(name, str(exc)) from exc
            if not agrees:
                raise self._damaged(name, f"says {said[name][:32]}, the rows give {self.sums[total.key]}")
        for number, line in self._lines:
            if line.strip():
                raise BillDamaged(number, "", "something follows the totals")

    def _summary_line(self) -> str:
        text = self._next("the file ends before its totals")
        if not text.startswith("`"):
            raise self._damaged("", "totals expected")
        return text

    def _damaged(self, column: str, reason: str) -> BillDamaged:
        return BillDamaged(self._line, column, reason)
