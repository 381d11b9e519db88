"""The answers as models, for the OpenAPI document and its tests (contract 1.3, 1.6 and the lists).

Nothing is validated with these at run time: ``views.py`` writes the answers, a test holds the two together. Every
member is required: one without a value is null, never missing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from payd.models.discrepancy import DiscrepancyKind, DiscrepancyStatus
from payd.models.evidence import Source
from payd.models.notification import NotificationResult
from payd.models.states import OrderState, PaymentState, RefundState
from payd.models.webhook import DeliveryStatus, WebhookEvent

Fen = Annotated[int, Field(ge=0, description="in fen, 1/100 yuan")]
NextCursor = Annotated[str | None, Field(description="hand it back as cursor for the next page; null on the last one")]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class WechatWord(_View):
    """What WeChat said last, when it was a refusal or nothing clear."""

    status: int | None
    code: str | None
    message: str | None
    request_id: str | None


class OrderAmount(_View):
    """The order's money."""

    total: Fen
    currency: str
    payer_total: Fen | None
    refunded: Fen


class RefundAmount(_View):
    """The refund's money."""

    refund: Fen
    total: Fen
    currency: str


class PaymentView(_View):
    """The order's payment at WeChat."""

    status: PaymentState
    trade_type: str
    prepay_id: str | None
    code_url: str | None
    h5_url: str | None
    bank_type: str | None
    outcome: str | None
    wechat: WechatWord | None
    created_at: datetime
    updated_at: datetime
    next_check_at: datetime | None


class RefundView(_View):
    """A refund."""

    out_refund_no: str
    refund_id: str | None
    out_trade_no: str
    transaction_id: str | None
    amount: RefundAmount
    status: RefundState
    attention: str | None = Field(description="abnormal or not_enough while a person may have to help")
    reason: str | None
    metadata: dict[str, str] | None
    user_received_account: str | None
    created_at: datetime
    succeeded_at: datetime | None
    outcome: str | None = Field(description="unknown until WeChat has answered clearly")
    wechat: WechatWord | None


class RefundAnswer(RefundView):
    """A refund, as POST /pay/refund answers it."""


class RefundQueryAnswer(RefundView):
    """A refund, and whether WeChat could be asked about it."""

    stale: bool
    wechat_error: WechatWord | None


class OrderView(_View):
    """An order with its payments and refunds."""

    out_trade_no: str
    status: OrderState
    trade_type: str
    description: str
    amount: OrderAmount
    transaction_id: str | None
    attach: str | None
    metadata: dict[str, str] | None
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    closed_at: datetime | None
    late_payment: bool
    livemode: bool
    payments: list[PaymentView]
    refunds: list[RefundView]


class CreateAnswer(OrderView):
    """The order and what the payer's client needs; null what its trade type does not have or what cannot be paid."""

    code_url: str | None = Field(description="NATIVE: show it as a QR code, unchanged")
    prepay_id: str | None
    pay_params: dict[str, str] | None = Field(description="JSAPI, APP: signed, ready for the client")
    h5_url: str | None
    outcome: str | None = Field(description="unknown until WeChat has answered clearly")
    wechat: WechatWord | None


class CloseAnswer(OrderView):
    """The order after the attempt to close it."""

    outcome: str | None
    wechat: WechatWord | None


class QueryAnswer(OrderView):
    """The order, and whether WeChat could be asked about it."""

    stale: bool = Field(description="WeChat could not be asked; wechat_error says why")
    wechat_error: WechatWord | None


class OrderList(_View):
    """A page of orders, newest first."""

    orders: list[OrderView]
    next_cursor: NextCursor


class RefundList(_View):
    """A page of refunds, newest first."""

    refunds: list[RefundView]
    next_cursor: NextCursor


class EventView(_View):
    """One thing that happened to an order. ``from`` null: it begins here; ``to`` null: a remark that moves nothing."""

    at: datetime
    subject: str
    subject_id: str
    from_: str | None = Field(alias="from")
    to: str | None
    source: Source
    request_id: str | None
    wechat_request_id: str | None
    detail: dict[str, Any]
    position: int
    hash: str


class EventList(_View):
    """The whole history of an order, oldest first."""

    events: list[EventView]


class LastRun(_View):
    """What the reconciler's last run did."""

    asked: int
    settled: int
    failed: int


class ReconcileSummary(_View):
    """Open work."""

    open_payments: int
    open_refunds: int
    due_now: int
    oldest_open_at: datetime | None
    open_discrepancies: int
    last_run_at: datetime | None
    last_run: LastRun | None
    enabled: bool
    interval_seconds: int


class DiscrepancyView(_View):
    """A contradiction between WeChat and the books."""

    id: str
    kind: DiscrepancyKind
    status: DiscrepancyStatus
    out_trade_no: str | None
    out_refund_no: str | None
    transaction_id: str | None
    detail: dict[str, Any]
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


class DiscrepancyList(_View):
    """A page of discrepancies, newest first."""

    discrepancies: list[DiscrepancyView]
    next_cursor: NextCursor


class StepView(_View):
    """One numbered check: ``ok``, or why it failed."""

    step: str
    verdict: str


class NotificationView(_View):
    """One inbound callback."""

    id: str
    received_at: datetime
    wechat_id: str | None
    event_type: str | None
    out_trade_no: str | None
    out_refund_no: str | None
    result: NotificationResult
    steps: list[StepView]


class NotificationList(_View):
    """A page of callbacks, newest first."""

    notifications: list[NotificationView]
    next_cursor: NextCursor


class AttemptView(_View):
    """One try to deliver."""

    at: datetime
    status: int | None
    error: str | None
    duration_ms: int


class DeliveryView(_View):
    """One webhook to one endpoint of the merchant."""

    id: str
    webhook_id: str
    url: str
    type: WebhookEvent
    status: DeliveryStatus
    out_trade_no: str
    out_refund_no: str | None
    created_at: datetime
    attempts: list[AttemptView]
    next_at: datetime | None


class DeliveryList(_View):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryView]
    next_cursor: NextCursor


class AuthMetrics(_View):
    """Refused calls since the start."""

    missing_key: int
    invalid_key: int
    scope_denied: int
    not_configured: int


class HealthAnswer(_View):
    """The loop turns."""

    status: str


class ReadyChecks(_View):
    """What readiness depends on: ``ok``, or why not."""

    storage: str
    keys: str
    draining: str


class ReadyAnswer(_View):
    """Whether payd can do work."""

    status: str
    mode: str
    version: str
    checks: ReadyChecks


class NotifyFailure(_View):
    """WeChat's own shape for "send it again"."""

    code: str
    message: str


class OpenapiDocument(_View):
    """An OpenAPI 3.1 document."""

    model_config = ConfigDict(extra="allow")

    openapi: str


class ProblemError(_View):
    """One thing wrong with the request."""

    field: str = Field(description="dotted, such as amount.total; empty for the whole")
    issue: str


class ProblemDocument(_View):
    """A refusal (RFC 9457). Some codes add members: ``refundable``, ``wechat``."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str
    errors: list[ProblemError]
