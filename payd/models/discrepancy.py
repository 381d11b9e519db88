"""A discrepancy: WeChat and the books contradict each other, and a person must look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class DiscrepancyKind(StrEnum):
    """What contradicts what."""

    AMOUNT_MISMATCH = "amount_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"
    MERCHANT_MISMATCH = "merchant_mismatch"
    APP_MISMATCH = "app_mismatch"
    TRANSACTION_MISMATCH = "transaction_mismatch"
    ORDER_UNKNOWN = "order_unknown"
    REFUND_UNKNOWN = "refund_unknown"
    EVENT_FOREIGN = "event_foreign"
    LATE_PAYMENT = "late_payment"
    ILLEGAL_MOVE = "illegal_move"
    BILL_MISSING_HERE = "bill_missing_here"
    BILL_MISSING_THERE = "bill_missing_there"
    BILL_AMOUNT = "bill_amount"
    BILL_REFUND = "bill_refund"
    BILL_FEE = "bill_fee"


class DiscrepancyStatus(StrEnum):
    """Whether a person has dealt with it."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """One contradiction (table ``discrepancies``, key ``id``).

    ``id`` is derived from kind, numbers and what contradicts (``discrepancy_id``): the same contradiction seen twice
    is one record, and it stays resolved once a person resolved it.
    """

    id: str
    version: int
    kind: DiscrepancyKind
    status: DiscrepancyStatus
    out_trade_no: str | None
    out_refund_no: str | None
    transaction_id: str | None
    detail: Mapping[str, Any]
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    note: str | None = None
