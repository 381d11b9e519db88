"""Webhooks to the merchant: deliveries (the outbox) and their attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  #: three days of failures: a person must resend it
    DISABLED = "disabled"  #: the endpoint said 410


class WebhookEvent(StrEnum):
    """What the merchant is told (contract 1.10)."""

    ORDER_PAID = "order.paid"
    ORDER_FAILED = "order.failed"
    ORDER_CLOSED = "order.closed"
    ORDER_LATE_PAYMENT = "order.late_payment"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    REFUND_ABNORMAL = "refund.abnormal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Something to tell the merchant, as a decision makes it: no endpoint yet.

    ``object_key`` orders deliveries to one endpoint: all that is told about an order and its refunds.
    """

    event: WebhookEvent
    out_trade_no: str
    out_refund_no: str | None
    at: datetime

    @property
    def object_key(self) -> str:
        """The number of the order spoken of, also when it is about a refund of it."""
        return self.out_trade_no


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook to one endpoint (table ``deliveries``, key ``id``).

    ``webhook_id`` is the Standard Webhooks id: the same for every attempt and for a resend. ``payload`` is the exact
    body. ``sequence`` orders the deliveries of one ``object_key`` to one ``url``.
    """

    id: str
    version: int
    webhook_id: str
    url: str
    type: WebhookEvent
    object_key: str
    out_trade_no: str
    out_refund_no: str | None
    payload: bytes
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One try (table ``delivery_attempts``). ``status`` is the HTTP status, None when none came."""

    delivery_id: str
    number: int
    at: datetime
    status: int | None
    error: str | None
    duration_ms: int
