"""The book: everything WeChat knows about one merchant, in memory, with its look-ups.

Every change goes through ``put``; ``flush`` writes what was put to the file, if there is one, and must be
called before an answer that depends on it leaves the simulator.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from payd.sandbox.book_file import BookFile
from payd.sandbox.clock import beijing_day
from payd.sandbox.records import Notification, Order, Record, Refund

_META = "meta"
_META_ID = "state"


class Book:
    """Orders, refunds and notifications by every name they have."""

    def __init__(self, file: BookFile | None) -> None:
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, Refund] = {}
        self.notifications: dict[str, Notification] = {}
        self.burnt: set[str] = set()
        self.meta: dict[str, Any] = {}
        self.paid_days: defaultdict[str, list[str]] = defaultdict(list)
        self.refund_days: defaultdict[str, list[str]] = defaultdict(list)
        self._by_transaction: dict[str, str] = {}
        self._by_refund_id: dict[str, str] = {}
        self._by_pay_code: dict[str, str] = {}
        self._refunds_of: defaultdict[str, list[str]] = defaultdict(list)
        self._dirty: dict[tuple[str, str], object] = {}
        self._file = file
        if file is not None:
            self._load(file)

    def _load(self, file: BookFile) -> None:
        for row in file.load("order"):
            self.put(Order(**row))
        for row in sorted(file.load("refund"), key=lambda row: float(row["created_at"])):
            self.put(Refund(**row))
        for row in sorted(file.load("notification"), key=lambda row: float(row["created_at"])):
            self.put(Notification(**{**row, "attempts": tuple(row["attempts"])}))
        for row in file.load("burnt"):
            self.burnt.add(row["out_trade_no"])
        for row in file.load(_META):
            self.meta.update(row)
        self._dirty.clear()

    def put(self, record: Record) -> None:
        """Keep ``record`` in place of its older self and bring the look-ups up to date."""
        match record:
            case Order():
                self._put_order(record)
            case Refund():
                if record.out_refund_no not in self.refunds:
                    self._by_refund_id[record.refund_id] = record.out_refund_no
                    self._refunds_of[record.out_trade_no].append(record.out_refund_no)
                    self.refund_days[beijing_day(record.created_at)].append(record.out_refund_no)
                self.refunds[record.out_refund_no] = record
                self._dirty["refund", record.out_refund_no] = record
            case Notification():
                self.notifications[record.id] = record
                self._dirty["notification", record.id] = record

    def _put_order(self, order: Order) -> None:
        self.orders[order.out_trade_no] = order
        for code in (order.prepay_id, order.pay_url):
            if code is not None:
                self._by_pay_code[code] = order.out_trade_no
        if order.transaction_id is not None and order.transaction_id not in self._by_transaction:
            assert order.success_at is not None
            self._by_transaction[order.transaction_id] = order.out_trade_no
            self.paid_days[beijing_day(order.success_at)].append(order.out_trade_no)
        self._dirty["order", order.out_trade_no] = order

    def burn(self, out_trade_no: str) -> None:
        """Remember a number that was closed before it was ever used (section 6.2)."""
        self.burnt.add(out_trade_no)
        self._dirty["burnt", out_trade_no] = {"out_trade_no": out_trade_no}

    def set_meta(self, **values: Any) -> None:
        """Keep small facts about the simulator itself: clock, key mode, counter."""
        self.meta.update(values)
        self._dirty[_META, _META_ID] = self.meta

    def flush(self) -> None:
        """Write everything put since the last flush; with nothing to write it costs nothing."""
        if self._dirty and self._file is not None:
            self._file.store((kind, key, value) for (kind, key), value in self._dirty.items())
        self._dirty.clear()

    @property
    def dirty(self) -> bool:
        """True while something is not on disk yet."""
        return bool(self._dirty)

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def order_by_transaction(self, transaction_id: str) -> Order | None:
        """The paid order with this ``transaction_id``."""
        out_trade_no = self._by_transaction.get(transaction_id)
        return None if out_trade_no is None else self.orders[out_trade_no]

    def order_by_pay_code(self, code: str) -> Order | None:
        """The order that this ``prepay_id``, ``code_url`` or ``h5_url`` was once given for."""
        out_trade_no = self._by_pay_code.get(code)
        return None if out_trade_no is None else self.orders[out_trade_no]

    def refund_by_id(self, refund_id: str) -> Refund | None:
        """The refund with this ``refund_id``."""
        out_refund_no = self._by_refund_id.get(refund_id)
        return None if out_refund_no is None else self.refunds[out_refund_no]

    def refunds_of(self, out_trade_no: str) -> list[Refund]:
        """All refunds of one order, oldest first."""
        return [self.refunds[number] for number in self._refunds_of.get(out_trade_no, ())]
