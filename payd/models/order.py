"""The order and its payment: what the merchant asked for and what WeChat makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payd.models.states import OrderState, PaymentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order (table ``orders``, key ``out_trade_no``).

    ``content`` is the merchant's whole request after defaults, as plain JSON values: a repeat is compared with it.
    ``refunded_fen`` counts refunds that succeeded; ``reserved_fen`` counts all refunds that are not failed.
    ``journal_head`` is the hash of the order's newest journal line ("" before the first), ``journal_length`` their
    number. ``late_*`` stand for money that arrived on a FAILED or CLOSED order.
    """

    out_trade_no: str
    version: int
    mchid: str
    appid: str
    status: OrderState
    trade_type: str
    description: str
    total_fen: int
    currency: str
    content: Mapping[str, Any]
    attach: str | None
    metadata: Mapping[str, str] | None
    livemode: bool
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    transaction_id: str | None = None
    payer_total_fen: int | None = None
    refunded_fen: int = 0
    reserved_fen: int = 0
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    late: bool = False
    journal_head: str = ""
    journal_length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """The order's payment at WeChat (table ``payments``, key ``out_trade_no``: one payment under each number).

    ``wire_request`` is the exact prepay body: a repeat must send the same bytes, WeChat compares every parameter.
    ``submissions`` counts commits that announced a send; ``absent_at_wechat`` is true after a signed
    ORDER_NOT_EXIST and false again with the next submission: only then, or on the first submission, a refusal counts.
    ``parameters_at`` is when code_url / prepay_id / h5_url were received. ``next_check_at`` None: nothing to ask.
    ``checks`` is the position on the re-query ladder. ``wechat_*`` hold the last refusal or unclear answer.
    """

    out_trade_no: str
    version: int
    status: PaymentState
    trade_type: str
    wire_request: bytes
    created_at: datetime
    updated_at: datetime
    submissions: int = 0
    absent_at_wechat: bool = False
    prepay_id: str | None = None
    code_url: str | None = None
    h5_url: str | None = None
    parameters_at: datetime | None = None
    outcome: str | None = None
    wechat_status: int | None = None
    wechat_code: str | None = None
    wechat_message: str | None = None
    wechat_request_id: str | None = None
    openid: str | None = None
    bank_type: str | None = None
    next_check_at: datetime | None = None
    checks: int = 0
    close_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCommand:
    """What the merchant asks with POST /pay/create, after validation and defaults.

    ``content`` holds every member that counts for "the same request" (dotted comparison), as plain JSON values.
    ``out_trade_no`` None: payd makes one. ``scene_info``, ``detail``, ``settle_info`` go to WeChat as they are.
    """

    out_trade_no: str | None
    trade_type: str
    description: str
    total_fen: int
    currency: str
    expire_seconds: int
    openid: str | None
    attach: str | None
    goods_tag: str | None
    detail: Mapping[str, Any] | None
    scene_info: Mapping[str, Any] | None
    settle_info: Mapping[str, Any] | None
    support_fapiao: bool | None
    metadata: Mapping[str, str] | None
    content: Mapping[str, Any]
