"""What the comparison of a bill keeps in memory, and what it comes to: lines, findings, counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from payd.core.changes import new_discrepancy
from payd.core.trade_bill import TradeRow
from payd.models.discrepancy import Discrepancy, DiscrepancyKind
from payd.models.ids import BEIJING

#: A fee may differ from amount times rate by rounding, in fen.
FEE_TOLERANCE_FEN: Final = 1


@dataclass(slots=True)
class PaymentLine:
    """What is kept of a payment row. ``known``: the books have this order. ``seen``: it was compared."""

    transaction_id: str
    appid: str
    currency: str
    total_fen: int
    fee_fen: int
    fee_wrong: bool
    known: bool = False
    seen: bool = False


@dataclass(slots=True)
class RefundLine:
    """What is kept of a refund row."""

    out_trade_no: str
    transaction_id: str
    refund_id: str
    appid: str
    refund_fen: int
    status_word: str
    fee_fen: int
    fee_wrong: bool
    known: bool = False
    seen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction. ``bill`` and ``books`` are what each side says (fen, a number, a word), None for nothing."""

    kind: DiscrepancyKind
    reason: str
    out_trade_no: str | None
    out_refund_no: str | None = None
    transaction_id: str | None = None
    bill: Any = None
    books: Any = None

    def discrepancy(self, bill_date: date, now: datetime) -> Discrepancy:
        """Make the record; a second run over the same bill makes the same one."""
        detail = {
            "source": "bill",
            "bill_date": bill_date.isoformat(),
            "reason": self.reason,
            "bill": self.bill,
            "books": self.books,
        }
        return new_discrepancy(
            self.kind,
            out_trade_no=self.out_trade_no,
            out_refund_no=self.out_refund_no,
            transaction_id=self.transaction_id,
            detail=detail,
            now=now,
        )


@dataclass(slots=True)
class Counts:
    """What one share came to; shares add up. ``*_fen`` are sums in fen.

    ``paid_fen``, ``refunded_fen``, ``fee_fen``: of the bill's rows that the books know. ``books_*``: what the books
    hold of that day. ``healed_*``: numbers that WeChat was asked about, and then both sides agreed; ``unasked``:
    numbers where WeChat's answer was not clear.
    """

    payments: int = 0
    refunds: int = 0
    foreign: int = 0
    matched_payments: int = 0
    matched_refunds: int = 0
    paid_fen: int = 0
    refunded_fen: int = 0
    fee_fen: int = 0
    books_orders: int = 0
    books_paid_fen: int = 0
    books_refunds: int = 0
    healed_payments: int = 0
    healed_refunds: int = 0
    unasked: int = 0


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Say when a Beijing day begins and when the next one does."""
    start = datetime(day.year, day.month, day.day, tzinfo=BEIJING)
    return start, start + timedelta(days=1)


def fee_is_wrong(row: TradeRow) -> bool:
    """Tell whether a fee does not follow from the row's own amount and rate.

    A payment's fee is amount times rate, rounded. A refund gives back at most that, and may give back nothing.
    """
    if row.rate_percent is None:
        return False
    if row.refund is None:
        expected = row.settlement_fen * row.rate_percent / 100
        return abs(row.fee * 100 - expected) > FEE_TOLERANCE_FEN
    most = row.refund.settled_fen * row.rate_percent / 100 + FEE_TOLERANCE_FEN
    return not -most <= row.fee * 100 <= Decimal(0)


@dataclass(slots=True)
class Tally:
    """The summary of a whole bill, filled share by share."""

    counts: dict[str, int] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)

    def take(self, counts: Counts, findings: Iterable[Finding]) -> None:
        """Add one finished share."""
        for name in Counts.__slots__:
            self.counts[name] = self.counts.get(name, 0) + getattr(counts, name)
        for finding in findings:
            self.differences[finding.kind.value] = self.differences.get(finding.kind.value, 0) + 1

    def summary(self) -> dict[str, Any]:
        """Write it as plain JSON values: counts, sums in fen, differences by kind."""
        return {**self.counts, "differences": dict(sorted(self.differences.items()))}
