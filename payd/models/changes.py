"""The ChangeSet: everything one decision wants written, as one value. All of it lands or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from payd.models.bill import BillRun
from payd.models.discrepancy import Discrepancy
from payd.models.idempotency import IdempotencyRecord
from payd.models.journal import JournalLine
from payd.models.ledger import LedgerEntry
from payd.models.notification import NotificationRecord
from payd.models.order import Order, Payment
from payd.models.refund import Refund
from payd.models.webhook import Delivery, DeliveryAttempt

#: Records that carry a version.
Versioned = Order | Payment | Refund | IdempotencyRecord | Delivery | Discrepancy | BillRun

#: The version of a record that must not exist yet.
ABSENT: Final = 0


@dataclass(frozen=True, slots=True)
class Put:
    """Write a record that replaces version ``replaces`` (``ABSENT``: there must be none).

    The record's own ``version`` is ``replaces + 1``; the storage checks both, before the write and after the read.
    """

    record: Versioned
    replaces: int

    def __post_init__(self) -> None:
        assert self.record.version == self.replaces + 1, "a put replaces exactly the version before its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """One unit of work. ``open_discrepancies`` are inserted unless a record of that id is there already.

    ``meta`` are key/value pairs that replace what was there. Order of effects inside is the storage's business.
    """

    puts: tuple[Put, ...] = ()
    journal: tuple[JournalLine, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()
    notifications: tuple[NotificationRecord, ...] = ()
    attempts: tuple[DeliveryAttempt, ...] = ()
    open_discrepancies: tuple[Discrepancy, ...] = ()
    meta: tuple[tuple[str, str], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.ledger:
            sums: dict[str, int] = {}
            for entry in self.ledger:
                sums[entry.posting_id] = sums.get(entry.posting_id, 0) + entry.amount_fen
            assert not any(sums.values()), "the entries of a posting sum to zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSnapshot:
    """An order with its payment and all its refunds, oldest first, read at one moment."""

    order: Order
    payment: Payment
    refunds: tuple[Refund, ...] = ()

    def refund(self, out_refund_no: str) -> Refund | None:
        """Find one of its refunds."""
        return next((r for r in self.refunds if r.out_refund_no == out_refund_no), None)
