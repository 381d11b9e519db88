"""The orders written last, kept in memory: a notification nearly always speaks of an order this process just wrote.

Only a commit that has landed puts an order here, and beginning a commit takes it out: whoever reads in between, or
after a commit whose caller was cancelled, reads the database. The books have one writing process, so nobody else can
change an order behind this.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from payd.limits import RECENT_ORDERS_MAX
from payd.models.changes import ABSENT, ChangeSet, OrderSnapshot
from payd.models.order import Order, Payment
from payd.models.refund import Refund


@dataclass(slots=True)
class Claim:
    """A commit under way on one order: what was known before, and which of the order's commits it is."""

    number: str
    before: OrderSnapshot | None
    turn: int


class RecentOrders:
    """Snapshots by out_trade_no, the least recently written forgotten first. For the loop's thread only."""

    def __init__(self, most: int = RECENT_ORDERS_MAX) -> None:
        self._most: Final = most
        self._snapshots: OrderedDict[str, OrderSnapshot] = OrderedDict()
        self._turns: dict[str, tuple[int, int]] = {}  # number -> newest turn, commits under way; only while there are

    def get(self, out_trade_no: str) -> OrderSnapshot | None:
        """Find an order; None says nothing: look into the database."""
        return self._snapshots.get(out_trade_no)

    def begin(self, change: ChangeSet) -> Claim | None:
        """Take out the order a ChangeSet is about; None when it is about none or about several."""
        numbers = {p.record.out_trade_no for p in change.puts if isinstance(p.record, (Order, Payment, Refund))}
        if len(numbers) != 1:
            for number in numbers:
                self._snapshots.pop(number, None)
            return None
        number = numbers.pop()
        turn, under_way = self._turns.get(number, (0, 0))
        self._turns[number] = (turn + 1, under_way + 1)
        return Claim(number, self._snapshots.pop(number, None), turn + 1)

    def end(self, claim: Claim, change: ChangeSet, *, landed: bool) -> None:
        """Put the order back as it is now, unless another commit on it began meanwhile or this one did not land."""
        newest, under_way = self._turns[claim.number]
        if under_way == 1:
            del self._turns[claim.number]
        else:
            self._turns[claim.number] = (newest, under_way - 1)
        if landed and newest == claim.turn:
            after = _after(claim.before, change)
            if after is not None:
                self._snapshots[claim.number] = after
                if len(self._snapshots) > self._most:
                    self._snapshots.popitem(last=False)


def _after(before: OrderSnapshot | None, change: ChangeSet) -> OrderSnapshot | None:
    """Apply a landed change to what was known; None when that was not enough to know everything."""
    order, payment = (before.order, before.payment) if before else (None, None)
    refunds = {refund.out_refund_no: refund for refund in before.refunds} if before else {}
    for put in change.puts:
        record = put.record
        if isinstance(record, Order):
            if before is None and put.replaces != ABSENT:
                return None
            order = record
        elif isinstance(record, Payment):
            payment = record
        elif isinstance(record, Refund):
            refunds[record.out_refund_no] = record
    if order is None or payment is None:
        return None
    return OrderSnapshot(order=order, payment=payment, refunds=tuple(refunds.values()))
