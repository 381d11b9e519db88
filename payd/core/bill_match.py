"""A trade bill against the books, both ways: what WeChat says and we do not, what we say and WeChat does not.

Order of use, for one bill or one share of a long one: `BillMatch.add` every row; `see_order` and `see_refund` what the
books hold of that day; `look_payment` and `look_refund` for each number that is still `unseen_*`; then ask WeChat about
``ask_payments`` and ``ask_refunds``, and look at those a second time. ``findings`` are the contradictions left.

Which rows count: those of our mchid. A row of an unknown out_trade_no under another appid belongs to another program of
the same merchant: counted as foreign, no contradiction. Under our own appid it is money that payd does not know.
Pure: no clock, no storage, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import chain, islice
from sys import intern
from typing import Any, Final
from zlib import crc32

from payd import limits
from payd.core.bill_lines import Counts, Finding, PaymentLine, RefundLine, day_bounds, fee_is_wrong
from payd.core.postings import fee_charged
from payd.core.trade_bill import TradeRow
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import DiscrepancyKind
from payd.models.ledger import LedgerEntry
from payd.models.order import Order
from payd.models.refund import Refund
from payd.models.states import OrderState, RefundState

_ANY: Final = frozenset(RefundState)
_R = RefundState

#: 退款状态 -> the states of ours that agree at once, and those that agree after WeChat was asked. A bill is a snapshot:
#: PROCESSING may have ended since; CHANGE (the payer's account failed) may have been paid out by other means.
REFUND_WORDS: Final[dict[str, tuple[frozenset[RefundState], frozenset[RefundState]]]] = {
    "SUCCESS": (frozenset({_R.REFUND_SUCCESS}), frozenset({_R.REFUND_SUCCESS})),
    "PROCESSING": (_ANY - {_R.REFUND_INIT}, _ANY - {_R.REFUND_INIT}),
    "FAIL": (frozenset({_R.REFUND_FAIL}), frozenset({_R.REFUND_FAIL, _R.REFUNDING})),
    "CHANGE": (frozenset({_R.REFUND_SUCCESS, _R.REFUND_FAIL}), _ANY - {_R.REFUND_INIT}),
    "": (_ANY, _ANY),  # the old format has no such column
}
#: A word that is not there is never guessed: WeChat is asked, then a person must look.
_UNKNOWN_WORD: Final[tuple[frozenset[RefundState], frozenset[RefundState]]] = (frozenset(), frozenset())

#: What must agree on a payment: member of the line, member of the order, kind of discrepancy.
PAYMENT_COMPARED: Final[tuple[tuple[str, DiscrepancyKind], ...]] = (
    ("total_fen", DiscrepancyKind.BILL_AMOUNT),
    ("currency", DiscrepancyKind.BILL_AMOUNT),
    ("appid", DiscrepancyKind.APP_MISMATCH),
)
#: What must agree on a refund.
REFUND_COMPARED: Final = ("refund_fen", "out_trade_no", "transaction_id", "refund_id")


class BillMatch:
    """One share of a trade bill, compared with the books. Memory: about 400 bytes a row.

    ``share`` of ``shares``: rows and records are dealt out by their numbers, so that a bill of any length can be
    compared in several passes. ``ask_payments`` and ``ask_refunds`` are the numbers where WeChat knows more than we.
    """

    def __init__(self, day: date, *, mchid: str, appid: str, share: int = 0, shares: int = 1) -> None:
        self._start, self._end = day_bounds(day)
        self._day = day
        self._mchid = mchid
        self._appid = appid
        self._share = share
        self._shares = shares
        self._payments: dict[str, PaymentLine] = {}
        self._refunds: dict[str, RefundLine] = {}
        self.counts = Counts()
        self.findings: list[Finding] = []
        self.ask_payments: list[str] = []
        self.ask_refunds: list[str] = []
        self.missing_refunds: list[str] = []

    # -- the bill -------------------------------------------------------------------------------------------------

    def add(self, row: TradeRow) -> None:
        """Take in one row of the bill."""
        number = row.out_trade_no if row.refund is None else row.refund.out_refund_no
        if not self._deals(number):
            return
        if row.mchid != self._mchid:
            self.counts.foreign += 1
        elif row.refund is None:
            self._add_payment(row)
        else:
            self._add_refund(row, number)

    def _deals(self, number: str) -> bool:
        return self._shares == 1 or crc32(number.encode()) % self._shares == self._share

    def _add_payment(self, row: TradeRow) -> None:
        again = row.out_trade_no in self._payments
        if again or row.trade_state != "SUCCESS":
            if row.appid != self._appid:
                self.counts.foreign += 1
                return
            self._find(
                DiscrepancyKind.BILL_MISSING_HERE, "second_row" if again else "trade_state", row.out_trade_no,
                transaction_id=row.transaction_id, bill=row.trade_state,
            )  # fmt: skip
            return
        self._payments[row.out_trade_no] = PaymentLine(
            transaction_id=row.transaction_id,
            appid=intern(row.appid),
            currency=intern(row.currency),
            total_fen=row.total_fen,
            fee_fen=row.fee_fen,
            fee_wrong=fee_is_wrong(row),
        )
        self.counts.payments += 1

    def _add_refund(self, row: TradeRow, number: str) -> None:
        assert row.refund is not None, "a refund row"
        if number in self._refunds:
            self._find(
                DiscrepancyKind.BILL_REFUND, "second_row", row.out_trade_no, out_refund_no=number,
                transaction_id=row.transaction_id, bill=row.refund.refund_id,
            )  # fmt: skip
            return
        self._refunds[number] = RefundLine(
            out_trade_no=row.out_trade_no,
            transaction_id=row.transaction_id,
            refund_id=row.refund.refund_id,
            appid=intern(row.appid),
            refund_fen=row.refund.refund_fen,
            status_word=intern(row.refund.refund_status),
            fee_fen=row.fee_fen,
            fee_wrong=fee_is_wrong(row),
        )
        self.counts.refunds += 1

    # -- the books ------------------------------------------------------------------------------------------------

    def see_order(self, snapshot: OrderSnapshot) -> None:
        """Take in an order that our books say was paid on this day."""
        order = snapshot.order
        if order.mchid != self._mchid or not self._deals(order.out_trade_no):
            return
        self.counts.books_orders += 1
        self.counts.books_paid_fen += order.total_fen
        if order.out_trade_no in self._payments:
            self.look_payment(order.out_trade_no, snapshot, asked=False)
            return
        self._find(
            DiscrepancyKind.BILL_MISSING_THERE, "no_row", order.out_trade_no,
            transaction_id=order.transaction_id, books=order.total_fen,
        )  # fmt: skip

    def see_refund(self, refund: Refund) -> None:
        """Take in a refund that was made on this day. One that the bill should have and has not: `missing_refunds`."""
        if not self._deals(refund.out_refund_no):
            return
        self.counts.books_refunds += 1
        line = self._refunds.get(refund.out_refund_no)
        if line is not None:
            self._compare_refund(refund, line, asked=False)
        elif refund.refund_id is not None and refund.status in (_R.REFUNDING, _R.REFUND_SUCCESS):
            self.missing_refunds.append(refund.out_refund_no)

    def look_missing_refund(self, refund: Refund, order: Order) -> None:
        """Judge a refund of this day that has no row: a contradiction only if it was surely accepted on this day."""
        ended_today = refund.succeeded_at is not None and refund.succeeded_at < self._end
        clear = self._end - timedelta(seconds=limits.BILL_MIDNIGHT_SECONDS)
        sent_once = refund.submissions == 1 and not order.late and refund.created_at < clear
        if order.mchid != self._mchid or not (ended_today or sent_once):
            return
        self._find(
            DiscrepancyKind.BILL_REFUND, "no_row", refund.out_trade_no, out_refund_no=refund.out_refund_no,
            transaction_id=refund.transaction_id, books=refund.refund_fen,
        )  # fmt: skip

    def unseen_payments(self) -> Iterator[str]:
        """Yield the out_trade_nos of the bill that `see_order` did not bring."""
        return (number for number, line in self._payments.items() if not line.seen)

    def unseen_refunds(self) -> Iterator[tuple[str, str]]:
        """Yield (out_refund_no, out_trade_no) of the bill that `see_refund` did not bring."""
        return ((number, line.out_trade_no) for number, line in self._refunds.items() if not line.seen)

    # -- comparing ------------------------------------------------------------------------------------------------

    def look_payment(self, out_trade_no: str, snapshot: OrderSnapshot | None, *, asked: bool) -> None:
        """Compare a payment row with its order, None when the books have none. ``asked``: the second look."""
        line = self._payments[out_trade_no]
        line.seen = True
        if snapshot is None or snapshot.order.mchid != self._mchid:
            self._unknown_payment(out_trade_no, line)
            return
        line.known = True
        order = snapshot.order
        arrived = order.status is OrderState.PAID or order.late
        if not arrived and not asked:
            self.ask_payments.append(out_trade_no)
            return
        before = len(self.findings)
        if not arrived:
            self._find(
                DiscrepancyKind.BILL_MISSING_HERE, "not_paid", out_trade_no, transaction_id=line.transaction_id,
                bill=line.total_fen, books=order.status.value,
            )  # fmt: skip
        self._compare_payment(out_trade_no, line, order)
        self.counts.matched_payments += len(self.findings) == before
        self.counts.paid_fen += line.total_fen
        self.counts.fee_fen += line.fee_fen

    def _unknown_payment(self, out_trade_no: str, line: PaymentLine) -> None:
        if line.appid != self._appid:
            self.counts.foreign += 1
            return
        self._find(
            DiscrepancyKind.BILL_MISSING_HERE, "unknown", out_trade_no, transaction_id=line.transaction_id,
            bill=line.total_fen,
        )  # fmt: skip

    def _compare_payment(self, out_trade_no: str, line: PaymentLine, order: Order) -> None:
        for member, kind in PAYMENT_COMPARED:
            said, known = getattr(line, member), getattr(order, member)
            if said != known:
                self._find(kind, member, out_trade_no, transaction_id=line.transaction_id, bill=said, books=known)
        if order.transaction_id not in (None, line.transaction_id):
            self._find(
                DiscrepancyKind.TRANSACTION_MISMATCH, "transaction_id", out_trade_no,
                transaction_id=line.transaction_id, bill=line.transaction_id, books=order.transaction_id,
            )  # fmt: skip
        if line.fee_wrong:
            self._find(
                DiscrepancyKind.BILL_FEE, "fee", out_trade_no, transaction_id=line.transaction_id, bill=line.fee_fen
            )

    def look_refund(
        self, out_refund_no: str, snapshot: OrderSnapshot | None, *, order_known: bool = False, asked: bool
    ) -> None:
        """Compare a refund row with our refund. ``snapshot`` is its order, None when the books have no such refund;
        ``order_known``: the books have the order that the row names.
        """
        line = self._refunds[out_refund_no]
        refund = snapshot.refund(out_refund_no) if snapshot is not None else None
        if refund is not None and snapshot is not None and snapshot.order.mchid == self._mchid:
            self._compare_refund(refund, line, asked=asked)
            return
        line.seen = True
        if not order_known and line.appid != self._appid:
            self.counts.foreign += 1
            return
        self._find(
            DiscrepancyKind.BILL_REFUND, "unknown", line.out_trade_no, out_refund_no=out_refund_no,
            transaction_id=line.transaction_id, bill=line.refund_fen,
        )  # fmt: skip

    def _compare_refund(self, refund: Refund, line: RefundLine, *, asked: bool) -> None:
        line.known = line.seen = True
        number = refund.out_refund_no
        at_once, after_asking = REFUND_WORDS.get(line.status_word, _UNKNOWN_WORD)
        if not asked and (refund.status not in at_once or refund.refund_id is None):
            self.ask_refunds.append(number)
            return
        before = len(self.findings)
        if refund.status not in (after_asking if asked else at_once):
            self._find_refund(number, line, "status", line.status_word, refund.status.value)
        for member in REFUND_COMPARED:
            said, known = getattr(line, member), getattr(refund, member)
            if known is not None and said != known:
                self._find_refund(number, line, member, said, known)
        if line.fee_wrong:
            self._find(
                DiscrepancyKind.BILL_FEE, "fee", line.out_trade_no, out_refund_no=number,
                transaction_id=line.transaction_id, bill=line.fee_fen,
            )  # fmt: skip
        self.counts.matched_refunds += len(self.findings) == before
        self.counts.refunded_fen += line.refund_fen
        self.counts.fee_fen += line.fee_fen

    def _find_refund(self, number: str, line: RefundLine, reason: str, said: Any, known: Any) -> None:
        self._find(
            DiscrepancyKind.BILL_REFUND, reason, line.out_trade_no, out_refund_no=number,
            transaction_id=line.transaction_id, bill=said, books=known,
        )  # fmt: skip

    def _find(self, kind: DiscrepancyKind, reason: str, out_trade_no: str | None, **members: Any) -> None:
        self.findings.append(Finding(kind=kind, reason=reason, out_trade_no=out_trade_no, **members))

    # -- the fees -------------------------------------------------------------------------------------------------

    def fee_postings(self, at: datetime, *, skip: int = 0) -> Iterator[tuple[LedgerEntry, ...]]:
        """Yield one posting per row, in the bill's order, payments first; empty where there is nothing to book.

        The order follows from the file alone: a run that stopped half-way carries on behind the first ``skip`` rows.
        """
        lines: Iterator[tuple[PaymentLine | RefundLine, str, str | None]] = chain(
            ((line, number, None) for number, line in self._payments.items()),
            ((line, line.out_trade_no, number) for number, line in self._refunds.items()),
        )
        for line, out_trade_no, out_refund_no in islice(lines, skip, None):
            if not line.known:
                yield ()
                continue
            yield fee_charged(
                out_trade_no=out_trade_no, out_refund_no=out_refund_no, bill_date=self._day, fee_fen=line.fee_fen,
                at=at,
            )  # fmt: skip
