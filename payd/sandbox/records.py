"""The nouns of the simulator's book: orders, refunds and notifications, as WeChat would keep them.

Records are frozen; a change is a new record put into the book. Instants are Unix seconds on the book's clock,
money is fen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: product -> trade_type in queries and callbacks (section 6.1)
TRADE_TYPES = {"native": "NATIVE", "jsapi": "JSAPI", "app": "APP", "h5": "MWEB"}

#: trade_state -> trade_state_desc
TRADE_STATES = {
    "NOTPAY": "订单未支付",
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款，退款详情请查询退款单",
    "CLOSED": "订单已关闭",
    "REVOKED": "订单已撤销",
    "PAYERROR": "支付失败(其他原因，如银行返回失败)",
}
PAID_STATES = ("SUCCESS", "REFUND")
REFUND_STATES = ("PROCESSING", "SUCCESS", "CLOSED", "ABNORMAL")


@dataclass(frozen=True, slots=True)
class Order:
    """One ``out_trade_no``; ``request`` is the first prepay body, against which re-entries are compared."""

    out_trade_no: str
    product: str
    request: dict[str, Any]
    created_at: float
    payable_until: float
    auto_close_at: float
    prepay_id: str
    pay_url: str | None
    prepaid_at: float
    prepay_count: int
    trade_state: str
    failed_attempts: int = 0
    transaction_id: str | None = None
    success_at: float | None = None
    openid: str | None = None
    payer_total: int | None = None
    bank_type: str | None = None
    closed_at: float | None = None

    @property
    def total(self) -> int:
        """The order's amount in fen."""
        total: int = self.request["amount"]["total"]
        return total

    @property
    def paid(self) -> bool:
        """True once money has moved, whatever was refunded since."""
        return self.trade_state in PAID_STATES

    @property
    def device_id(self) -> str:
        """The merchant's device, or an empty text."""
        device: str = self.request.get("scene_info", {}).get("device_id", "")
        return device


@dataclass(frozen=True, slots=True)
class Refund:
    """One ``out_refund_no``; ``settle_at`` is when a PROCESSING refund ends by itself as ``settle_as``."""

    out_refund_no: str
    refund_id: str
    out_trade_no: str
    transaction_id: str
    request: dict[str, Any]
    total: int
    refund: int
    payer_total: int
    payer_refund: int
    status: str
    created_at: float
    settle_at: float | None
    settle_as: str
    success_at: float | None = None
    closed_at: float | None = None
    abnormal_at: float | None = None
    user_received_account: str = "支付用户零钱"
    channel: str = "ORIGINAL"


@dataclass(frozen=True, slots=True)
class Notification:
    """One event with its own ``id``; ``next_at`` is None when nothing more will be sent by itself.

    ``state`` is ``waiting``, ``delivered`` (200 or 204 heard), ``given_up`` (retry table used up),
    ``refused_by_guard`` (not a loopback address), ``dropped`` (by a fault) or ``crafted`` (sent once by hand).
    Each member of ``attempts`` has ``number, at, status, body, error, duration_ms, fault, serial``.
    """

    id: str
    event_type: str
    original_type: str
    summary: str
    plaintext: dict[str, Any]
    url: str
    schedule: str
    created_at: float
    state: str
    next_at: float | None
    out_trade_no: str | None = None
    out_refund_no: str | None = None
    retries: int = 0
    attempts: tuple[dict[str, Any], ...] = ()


Record = Order | Refund | Notification
