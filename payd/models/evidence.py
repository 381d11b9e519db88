"""Evidence: what WeChat said about a payment or a refund, whichever door it came through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payd.models.states import PaymentEvent, RefundEvent


class Source(StrEnum):
    """On whose word something moved. Values are metric labels and stand in the journal."""

    API = "api"
    NOTIFICATION = "notification"
    QUERY = "query"
    BILL = "bill"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentEvidence:
    """WeChat's word on a payment: a verified notification, a verified query answer, or a bill row.

    ``event`` None means the word (``trade_state``) is unknown: nothing moves. Members that the door does not carry
    are None and are then not compared (a bill row has no openid, a NOTPAY answer no transaction_id).
    ``exists`` False: a signed ORDER_NOT_EXIST.
    """

    source: Source
    out_trade_no: str
    event: PaymentEvent | None
    trade_state: str
    exists: bool = True
    mchid: str | None = None
    appid: str | None = None
    transaction_id: str | None = None
    total_fen: int | None = None
    payer_total_fen: int | None = None
    currency: str | None = None
    trade_type: str | None = None
    bank_type: str | None = None
    openid: str | None = None
    success_at: datetime | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundEvidence:
    """WeChat's word on a refund: a verified answer to refund or refund query, a notification, or a bill row.

    ``attention`` is ``abnormal`` when the word is ABNORMAL. ``exists`` False: a signed RESOURCE_NOT_EXISTS.
    """

    source: Source
    out_refund_no: str
    event: RefundEvent | None
    status_word: str
    exists: bool = True
    attention: str | None = None
    mchid: str | None = None
    out_trade_no: str | None = None
    transaction_id: str | None = None
    refund_id: str | None = None
    refund_fen: int | None = None
    total_fen: int | None = None
    currency: str | None = None
    user_received_account: str | None = None
    success_at: datetime | None = None
    request_id: str | None = None
