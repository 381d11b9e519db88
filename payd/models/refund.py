"""The refund: all or a part of a paid order, under one ``out_refund_no`` for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payd.models.states import RefundState


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One refund (table ``refunds``, key ``out_refund_no``).

    ``wire_request`` is the exact body sent to WeChat; every repeat sends these bytes under the same number.
    ``attention`` is None, ``abnormal`` (the payer's account cannot take the money) or ``not_enough`` (the merchant's
    funds). ``absent_at_wechat``: a signed RESOURCE_NOT_EXISTS was the last word on this number, so a refusal counts.
    """

    out_refund_no: str
    version: int
    out_trade_no: str
    transaction_id: str | None
    status: RefundState
    refund_fen: int
    total_fen: int
    currency: str
    reason: str | None
    content: Mapping[str, Any]
    metadata: Mapping[str, str] | None
    wire_request: bytes
    created_at: datetime
    updated_at: datetime
    refund_id: str | None = None
    attention: str | None = None
    submissions: int = 0
    absent_at_wechat: bool = False
    outcome: str | None = None
    wechat_status: int | None = None
    wechat_code: str | None = None
    wechat_message: str | None = None
    wechat_request_id: str | None = None
    user_received_account: str | None = None
    succeeded_at: datetime | None = None
    next_check_at: datetime | None = None
    checks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCommand:
    """What the merchant asks with POST /pay/refund, after validation. Exactly one of the two order ids is set."""

    out_trade_no: str | None
    transaction_id: str | None
    out_refund_no: str | None
    refund_fen: int
    reason: str | None
    funds_account: str | None
    goods_detail: tuple[Mapping[str, Any], ...] | None
    metadata: Mapping[str, str] | None
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbnormalRefundCommand:
    """Finish an ABNORMAL refund to another account. Card number and name are plain here, encrypted on the wire."""

    out_refund_no: str
    account_type: str
    bank_type: str | None = None
    bank_account: str | None = None
    real_name: str | None = None
