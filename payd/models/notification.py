"""The inbound callback: what came, and the verdict of each numbered check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class NotificationResult(StrEnum):
    """How a callback ended; values are metric labels."""

    APPLIED = "applied"
    REPEAT = "repeat"
    CONTRADICTION = "contradiction"
    HEADERS_MISSING = "headers_missing"
    TIMESTAMP_SKEW = "timestamp_skew"
    SERIAL_UNKNOWN = "serial_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    PROBE = "probe"
    BODY_INVALID = "body_invalid"
    DECRYPT_FAILED = "decrypt_failed"
    EVENT_UNKNOWN = "event_unknown"
    MERCHANT_MISMATCH = "merchant_mismatch"
    ORDER_UNKNOWN = "order_unknown"
    AMOUNT_MISMATCH = "amount_mismatch"
    STORAGE_UNAVAILABLE = "storage_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One numbered check and how it went: ``ok`` or the reason it failed."""

    step: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRecord:
    """One received callback (table ``notifications``, key ``(received_at, id)``).

    The id is made by payd: every delivery is a row of its own.

    ``wechat_id`` is the envelope's ``id`` (the same for all re-sends), None when the callback was never opened.
    """

    id: str
    received_at: datetime
    wechat_id: str | None
    event_type: str | None
    out_trade_no: str | None
    out_refund_no: str | None
    result: NotificationResult
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNotification:
    """A callback after checks 1-6: verified and decrypted, not yet compared with the books.

    ``resource`` is the decrypted JSON object. ``original_type`` is ``transaction``, ``refund``, ``security`` or
    foreign.
    """

    wechat_id: str
    event_type: str
    original_type: str
    resource: Mapping[str, Any]
    request_id: str | None
