"""The seams: each outside thing (storage, WeChat, locks, merchants' endpoints, time, randomness) is one Protocol.

Adapters live in rank 3 and are built only by ``daemon.py`` and ``cli.py``. All times are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from payd.models.bill import BillKind, BillRun
from payd.models.changes import ChangeSet, OrderSnapshot
from payd.models.discrepancy import Discrepancy, DiscrepancyStatus
from payd.models.evidence import PaymentEvidence, RefundEvidence
from payd.models.idempotency import IdempotencyRecord
from payd.models.journal import JournalLine
from payd.models.notification import NotificationRecord, OpenedNotification, Step
from payd.models.order import CreateCommand, Order
from payd.models.refund import AbnormalRefundCommand, Refund
from payd.models.states import OrderState, RefundState
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus
from payd.models.wechat import BillOffer, Closed, KeyStatus, PrepayParameters, Refused, Unclear


class Clock(Protocol):
    """Time. Deadlines and durations use ``monotonic``; ``now`` is only for stamps shown to people or WeChat."""

    def now(self) -> datetime:
        """Tell the wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Tell seconds from an arbitrary start; never jumps back."""
        ...


class Entropy(Protocol):
    """Randomness."""

    def token_hex(self, byte_count: int) -> str:
        """Draw random bytes as lower-case hex, cryptographically strong."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Draw a float for jitter."""
        ...


# -- storage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders a list shows. Times are inclusive from, exclusive to."""

    status: OrderState | None = None
    trade_type: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilter:
    """Which refunds a list shows."""

    status: RefundState | None = None
    out_trade_no: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the creation time and key of its last row. Newest first, stable while rows are inserted."""

    created_at: datetime
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """What has not reached an end yet. ``oldest_*`` are creation times, None when there is none."""

    open_payments: int
    open_refunds: int
    due_now: int
    oldest_payment_at: datetime | None
    oldest_refund_at: datetime | None
    open_discrepancies: int
    pending_deliveries: int
    oldest_delivery_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts by state, and sums in fen of what happened since a moment."""

    orders: Mapping[OrderState, int]
    refunds: Mapping[RefundState, int]
    created_orders: int
    paid_orders: int
    paid_fen: int
    refunded_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """How the storage does: bytes on disk, bytes free there, ChangeSets waiting."""

    file_bytes: int
    wal_bytes: int
    free_bytes: int
    queue_depth: int


class Storage(Protocol):
    """The books. ``commit`` is the only write of business records; everything else reads.

    Reads see every commit that was acknowledged before they began. Any method may raise StorageUnavailable.
    """

    async def commit(self, change: ChangeSet) -> None:
        """Write a ChangeSet durably (fsync) or not at all.

        Raises StaleVersion (a put replaces a version that is no longer there), AlreadyExists (a put with ABSENT, a
        journal position, a posting or a key that is there; a transaction_id of another order is named as table
        ``orders.transaction_id``), StorageUnavailable (nothing was written), and plain StorageError for a value that
        the schema refuses, which is a mistake of the caller. Columns that are written once (``models/README.md``) keep
        what the first put said.
        """
        ...

    async def load_order(self, out_trade_no: str) -> OrderSnapshot | None: ...

    async def load_order_by_transaction(self, transaction_id: str) -> OrderSnapshot | None: ...

    async def load_order_of_refund(self, out_refund_no: str) -> OrderSnapshot | None: ...

    async def load_idempotency(self, scope_key: str) -> IdempotencyRecord | None: ...

    async def load_discrepancy(self, discrepancy_id: str) -> Discrepancy | None: ...

    async def load_delivery(self, delivery_id: str) -> Delivery | None: ...

    async def load_attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """Load the attempts of a delivery, oldest first; none when there is no such delivery."""
        ...

    async def load_bill_run(self, bill_date: date, kind: BillKind) -> BillRun | None: ...

    async def load_meta(self, key: str) -> str | None: ...

    async def list_orders(self, which: OrderFilter, *, limit: int, after: Position | None) -> Sequence[OrderSnapshot]:
        """List orders, newest first, at most ``limit``, those behind ``after``. Costs the same at any table size."""
        ...

    async def list_refunds(self, which: RefundFilter, *, limit: int, after: Position | None) -> Sequence[Refund]: ...

    async def list_events(self, out_trade_no: str) -> Sequence[JournalLine]:
        """List an order's journal, oldest first."""
        ...

    async def list_discrepancies(
        self, status: DiscrepancyStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[Discrepancy]: ...

    async def list_notifications(
        self, result: str | None, *, limit: int, after: Position | None
    ) -> Sequence[NotificationRecord]: ...

    async def list_deliveries(
        self, status: DeliveryStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[tuple[Delivery, tuple[DeliveryAttempt, ...]]]: ...

    async def due_payments(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_trade_nos whose payment's ``next_check_at`` has come, oldest due first."""
        ...

    async def due_refunds(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_refund_nos whose ``next_check_at`` has come, oldest due first."""
        ...

    async def due_deliveries(self, now: datetime, *, limit: int, skip_urls: Collection[str] = ()) -> Sequence[Delivery]:
        """List pending deliveries that may go out now, oldest due first; none for the endpoints in ``skip_urls``.

        Without them the backlog of one slow endpoint would fill every list and hide what is due for the others.

        Of the pending deliveries with one ``url`` and ``object_key`` only the oldest is ever listed: what is told about
        one order arrives in order.
        """
        ...

    async def due_bill_runs(self, now: datetime) -> Sequence[BillRun]: ...

    async def open_work(self, now: datetime) -> OpenWork: ...

    async def totals(self, since: datetime) -> Totals: ...

    async def status(self) -> StorageStatus: ...

    def orders_settled_between(self, start: datetime, end: datetime) -> AsyncIterator[OrderSnapshot]:
        """Stream the orders whose ``paid_at`` lies in [start, end), in batches, without holding them in memory."""
        ...

    def refunds_created_between(self, start: datetime, end: datetime) -> AsyncIterator[Refund]:
        """Stream the refunds created in [start, end), in batches."""
        ...

    async def purge(self, *, now: datetime, notifications_before: datetime) -> int:
        """Delete expired idempotency keys and old inspector rows in small steps; returns how many rows went."""
        ...

    async def backup(self, target: Path) -> None:
        """Write a consistent copy while running; ``target`` must not exist."""
        ...

    async def close(self) -> None:
        """Finish the queue, checkpoint and close. Commits after this raise StorageUnavailable."""
        ...


# -- WeChat -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EchoReport:
    """What the security echo showed: whether signing, verification and encryption round-trip; clock skew in seconds."""

    ok: bool
    detail: str
    clock_skew_seconds: float | None


class WechatPay(Protocol):
    """WeChat Pay, the only port that leaves the machine for money. No call retries under another number.

    Every call ends within ``timeout_ms`` (twice that with failover) and returns one of the answer kinds of
    ``models/wechat.py``; only programmer's mistakes raise.
    """

    def prepay_body(self, command: CreateCommand, *, out_trade_no: str, expires_at: datetime) -> bytes:
        """Write the exact prepay body for this order. Sent unchanged at every repeat."""
        ...

    async def prepay(self, trade_type: str, body: bytes) -> PrepayParameters | Refused | Unclear: ...

    def client_parameters(self, trade_type: str, prepay_id: str) -> Mapping[str, str] | None:
        """Sign fresh parameters for ``wx.requestPayment`` (JSAPI) or the SDK (APP); None for NATIVE and H5."""
        ...

    async def query_payment(self, out_trade_no: str) -> PaymentEvidence | Refused | Unclear:
        """Ask for an order. A signed ORDER_NOT_EXIST is evidence with ``exists=False``."""
        ...

    async def close(self, out_trade_no: str) -> Closed | Refused | Unclear: ...

    def refund_body(
        self,
        order: Order,
        *,
        out_refund_no: str,
        refund_fen: int,
        reason: str | None,
        content: Mapping[str, Any],
    ) -> bytes:
        """Write the exact refund body. ``content`` may hold ``funds_account`` and ``goods_detail``."""
        ...

    async def refund(self, body: bytes, *, out_refund_no: str) -> RefundEvidence | Refused | Unclear: ...

    async def query_refund(self, out_refund_no: str) -> RefundEvidence | Refused | Unclear:
        """Ask for a refund. A signed RESOURCE_NOT_EXISTS is evidence with ``exists=False``."""
        ...

    async def abnormal_refund(
        self, refund: Refund, command: AbnormalRefundCommand
    ) -> RefundEvidence | Refused | Unclear: ...

    async def apply_bill(self, bill_date: date, kind: BillKind) -> BillOffer | Refused | Unclear: ...

    async def download_bill(self, offer: BillOffer, target: Path) -> Unclear | None:
        """Stream a bill to disk, uncompressed, and check its SHA-1; None when it is whole and right."""
        ...

    async def open_notification(self, headers: Mapping[str, str], body: bytes, steps: list[Step]) -> OpenedNotification:
        """Run checks 1-6 on the raw bytes; appends each verdict to ``steps``. Raises VerificationError."""
        ...

    def payment_evidence(self, opened: OpenedNotification) -> PaymentEvidence:
        """Read a decrypted ``transaction`` resource. Raises VerificationError when members are missing or ill-typed."""
        ...

    def refund_evidence(self, opened: OpenedNotification) -> RefundEvidence:
        """Read a decrypted ``refund`` resource. Raises VerificationError when members are missing or ill-typed."""
        ...

    async def refresh_keys(self) -> None:
        """Download platform certificates when that mode is on and they are due; never raises for a failed download."""
        ...

    def key_status(self) -> KeyStatus: ...

    def clock_skew_seconds(self) -> float | None:
        """Tell WeChat's clock minus ours at the last answer, None before the first."""
        ...

    async def echo(self) -> EchoReport: ...

    async def close_client(self) -> None:
        """Close connections and threads."""
        ...


# -- the rest -----------------------------------------------------------------------------------------------------


class IdempotencyLock(Protocol):
    """A quick lock in front of the database (Redis). The database stays the truth: every method may answer None."""

    async def acquire(self, scope_key: str, owner: str) -> bool | None:
        """True: ours. False: somebody else holds it. None: the lock could not be asked; go on without it."""
        ...

    async def release(self, scope_key: str, owner: str) -> None:
        """Give it back if it is still ours; never raises."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What a merchant's endpoint said. ``status`` None: no answer, ``error`` says why."""

    status: int | None
    error: str | None
    duration_ms: int


class WebhookSender(Protocol):
    """Posts one signed webhook. Never follows redirects, never connects to an address the guard refuses."""

    async def send(self, delivery: Delivery) -> WebhookAnswer:
        """Post it, signed as of now. Never raises: whatever goes wrong is an answer without a status."""
        ...

    async def close(self) -> None: ...


__all__ = [
    "Clock", "EchoReport", "Entropy", "IdempotencyLock", "OpenWork", "OrderFilter", "Position",
    "RefundFilter", "Storage", "StorageStatus", "Totals", "WebhookAnswer", "WebhookSender", "WechatPay",
]  # fmt: skip
