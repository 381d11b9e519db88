"""One decision about one order: collects what is to be written and chains the journal.

A `Draft` lives inside one `decide_*` call and leaves it as a frozen `Decision`. Every journal line raises the order's
version, so two decisions made from the same snapshot can never both land.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from payd.models.changes import ABSENT, ChangeSet, OrderSnapshot, Put
from payd.models.discrepancy import Discrepancy, DiscrepancyKind, DiscrepancyStatus
from payd.models.evidence import Source
from payd.models.evolve import evolve
from payd.models.journal import JournalLine, line_hash
from payd.models.ledger import LedgerEntry
from payd.models.order import Order, Payment
from payd.models.refund import Refund
from payd.models.webhook import Announcement, WebhookEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Who says it, and under which request ids. ``at`` is payd's clock at the decision."""

    source: Source
    at: datetime
    request_id: str | None = None
    wechat_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one decision came to.

    ``result`` is a word for metrics and the inspector: ``applied``, ``repeat``, ``contradiction``,
    ``amount_mismatch``, ``merchant_mismatch``, ``order_unknown``, ``waiting``. ``change`` None: nothing to write.
    ``moves`` lists (subject, new state) for the transition counter. ``snapshot`` is how things are after the change.
    """

    result: str
    change: ChangeSet | None
    snapshot: OrderSnapshot
    announcements: tuple[Announcement, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()


class Draft:
    """The pending writes of one decision. ``order``, ``payment`` and ``refunds`` show the state after them.

    Changes are gathered and a record is rebuilt once, when it is looked at: this is the hot path of every callback.
    """

    def __init__(self, snapshot: OrderSnapshot, word: Word, *, fresh: bool = False) -> None:
        self._before = snapshot
        self._fresh = fresh
        self._word = word
        self._order = snapshot.order
        self._payment = snapshot.payment
        self._order_changes: dict[str, Any] = {}
        self._payment_changes: dict[str, Any] = {}
        self._head, self._length = snapshot.order.journal_head, snapshot.order.journal_length
        self.refunds: dict[str, Refund] = {refund.out_refund_no: refund for refund in snapshot.refunds}
        self._journal: list[JournalLine] = []
        self._ledger: list[LedgerEntry] = []
        self._discrepancies: list[Discrepancy] = []
        self._announcements: list[Announcement] = []
        self._moves: list[tuple[str, str]] = []

    @property
    def order(self) -> Order:
        """The order with the changes so far."""
        if self._order_changes:
            self._order = evolve(self._order, **self._order_changes)
            self._order_changes = {}
        return self._order

    @property
    def payment(self) -> Payment:
        """The payment with the changes so far."""
        if self._payment_changes:
            self._payment = evolve(self._payment, **self._payment_changes)
            self._payment_changes = {}
        return self._payment

    def set_order(self, **changes: Any) -> None:
        """Change members of the order."""
        self._order_changes |= changes

    def set_payment(self, **changes: Any) -> None:
        """Change members of the payment."""
        self._payment_changes |= changes

    def set_refund(self, out_refund_no: str, **changes: Any) -> None:
        """Change members of one refund."""
        refund = self.refunds[out_refund_no]
        if any(getattr(refund, name) != value for name, value in changes.items()):
            self.refunds[out_refund_no] = evolve(refund, **changes)

    def add_refund(self, refund: Refund) -> None:
        """Begin a refund."""
        self.refunds[refund.out_refund_no] = refund

    def line(
        self, subject: str, subject_id: str, from_state: str | None, to_state: str | None, detail: Mapping[str, Any]
    ) -> None:
        """Write one journal line, chained to the order's newest."""
        word = self._word
        members: dict[str, Any] = {
            "out_trade_no": self._before.order.out_trade_no,
            "position": self._length + 1,
            "subject": subject,
            "subject_id": subject_id,
            "from_state": from_state,
            "to_state": to_state,
            "source": word.source,
            "at": word.at,
            "request_id": word.request_id,
            "wechat_request_id": word.wechat_request_id,
            "detail": detail,
            "previous_hash": self._head,
        }
        written = JournalLine(**members, hash=line_hash(**members))
        self._journal.append(written)
        if to_state is not None:
            self._moves.append((subject, to_state))
        self._head, self._length = written.hash, written.position

    def post(self, entries: tuple[LedgerEntry, ...]) -> None:
        """Book one posting."""
        self._ledger.extend(entries)

    def open_discrepancy(
        self, kind: DiscrepancyKind, detail: Mapping[str, Any], *, out_refund_no: str | None = None
    ) -> None:
        """Say that WeChat and the books contradict each other about this order."""
        transaction_id = detail.get("transaction_id") or self.order.transaction_id
        self._discrepancies.append(
            new_discrepancy(
                kind,
                out_trade_no=self.order.out_trade_no,
                out_refund_no=out_refund_no,
                transaction_id=transaction_id,
                detail=detail,
                now=self._word.at,
            )
        )

    def announce(self, event: WebhookEvent, out_refund_no: str | None = None) -> None:
        """Tell the merchant, in the same commit."""
        self._announcements.append(
            Announcement(
                event=event, out_trade_no=self._before.order.out_trade_no, out_refund_no=out_refund_no, at=self._word.at
            )
        )

    def finish(self, result: str) -> Decision:
        """Freeze. Records that did not change are not written; those that did get their next version, once."""
        if self._journal:
            self.set_order(journal_head=self._head, journal_length=self._length)
        order, order_put = self._close(self._before.order, self._order, self._order_changes)
        payment, payment_put = self._close(self._before.payment, self._payment, self._payment_changes)
        refunds, refund_puts = self._close_refunds()
        puts = (*order_put, *payment_put, *refund_puts)
        change = ChangeSet(
            puts=puts,
            journal=tuple(self._journal),
            ledger=tuple(self._ledger),
            open_discrepancies=tuple(self._discrepancies),
        )
        return Decision(
            result=result,
            change=change if puts or self._discrepancies else None,
            snapshot=OrderSnapshot(order=order, payment=payment, refunds=refunds),
            announcements=tuple(self._announcements),
            moves=tuple(self._moves),
        )

    def _close(self, before: Any, now: Any, changes: dict[str, Any]) -> tuple[Any, tuple[Put, ...]]:
        """Give a record its next version if anything about it changed: what taught nothing writes nothing."""
        fresh = before is None or self._fresh
        if not fresh:
            changes = {name: value for name, value in changes.items() if getattr(now, name) != value}
        if now is before and not changes and not fresh:
            return before, ()
        replaces = ABSENT if fresh else before.version
        record = evolve(now, **changes, version=replaces + 1, updated_at=self._word.at)
        return record, (Put(record, replaces),)

    def _close_refunds(self) -> tuple[tuple[Refund, ...], list[Put]]:
        refunds: list[Refund] = []
        puts: list[Put] = []
        for out_refund_no, refund in self.refunds.items():
            record, put = self._close_refund(self._before.refund(out_refund_no), refund)
            refunds.append(record)
            puts += put
        return tuple(refunds), puts

    def _close_refund(self, before: Refund | None, now: Refund) -> tuple[Refund, tuple[Put, ...]]:
        if now is before:
            return now, ()
        replaces = ABSENT if before is None else before.version
        record = evolve(now, version=replaces + 1, updated_at=self._word.at)
        return record, (Put(record, replaces),)


def unchanged(snapshot: OrderSnapshot, result: str) -> Decision:
    """Decide that there is nothing to write."""
    return Decision(result=result, change=None, snapshot=snapshot)


def new_discrepancy(
    kind: DiscrepancyKind,
    *,
    out_trade_no: str | None,
    out_refund_no: str | None,
    transaction_id: str | None,
    detail: Mapping[str, Any],
    now: datetime,
) -> Discrepancy:
    """Make a discrepancy whose id follows from what contradicts what: seen twice, by any door, it is one record."""
    told = {name: value for name, value in detail.items() if name != "source"}
    what = orjson.dumps(
        [kind.value, out_trade_no, out_refund_no, transaction_id, told], option=orjson.OPT_SORT_KEYS, default=str
    )
    return Discrepancy(
        id="D" + hashlib.sha256(what).hexdigest()[:20],
        version=1,
        kind=kind,
        status=DiscrepancyStatus.OPEN,
        out_trade_no=out_trade_no,
        out_refund_no=out_refund_no,
        transaction_id=transaction_id,
        detail=detail,
        opened_at=now,
        updated_at=now,
    )
