"""Orders and refunds as the books hold them, and the bill rows that agree with them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from payd.models.changes import ABSENT, ChangeSet, OrderSnapshot, Put
from payd.models.order import Order, Payment
from payd.models.refund import Refund
from payd.models.states import OrderState, PaymentState, RefundState

from . import writer

MCHID = "1900000001"
APPID = "wx1234567890abcdef"
DAY = date(2026, 11, 22)
#: Noon of that day in Beijing.
NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)

_PAYMENT_OF = {
    OrderState.PAYING: PaymentState.PROCESSING,
    OrderState.PAID: PaymentState.SUCCESS,
    OrderState.CLOSED: PaymentState.TIMEOUT,
}


def snapshot(
    number: str, *, status: OrderState = OrderState.PAID, paid_at: datetime = NOON, refunds: tuple[Refund, ...] = (),
    **changes: Any,
) -> OrderSnapshot:  # fmt: skip
    """An order over 10.00 yuan, paid at noon unless told otherwise."""
    created = min(paid_at, NOON) - timedelta(minutes=5)
    paid = status is OrderState.PAID
    given_back = sum(refund.refund_fen for refund in refunds)
    members: dict[str, Any] = {
        "out_trade_no": number, "version": 1, "mchid": MCHID, "appid": APPID, "status": status,
        "trade_type": "NATIVE", "description": "tea", "total_fen": 1000, "currency": "CNY", "content": {},
        "attach": None, "metadata": None, "livemode": False, "created_at": created, "updated_at": created,
        "expires_at": created + timedelta(hours=2), "transaction_id": transaction_of(number) if paid else None,
        "payer_total_fen": 1000 if paid else None, "paid_at": paid_at if paid else None,
        "closed_at": created if status is OrderState.CLOSED else None,
        "reserved_fen": given_back, "refunded_fen": 0,
    }  # fmt: skip
    payment = Payment(
        out_trade_no=number, version=1, status=_PAYMENT_OF[status], trade_type="NATIVE", wire_request=b"{}",
        created_at=created, updated_at=created, submissions=1,
    )  # fmt: skip
    return OrderSnapshot(order=Order(**(members | changes)), payment=payment, refunds=refunds)


def refund_of(number: str, out_refund_no: str, **changes: Any) -> Refund:
    """A refund of 4.00 yuan that succeeded at noon."""
    members: dict[str, Any] = {
        "out_refund_no": out_refund_no, "version": 1, "out_trade_no": number,
        "transaction_id": transaction_of(number), "status": RefundState.REFUND_SUCCESS, "refund_fen": 400,
        "total_fen": 1000, "currency": "CNY", "reason": None, "content": {}, "metadata": None, "wire_request": b"{}",
        "created_at": NOON, "updated_at": NOON, "refund_id": refund_id_of(out_refund_no), "submissions": 1,
        "succeeded_at": NOON,
    }  # fmt: skip
    return Refund(**(members | changes))


def transaction_of(number: str) -> str:
    """The transaction_id that pays this order."""
    return "42000000" + number.encode().hex()[-20:].rjust(20, "0")


def refund_id_of(out_refund_no: str) -> str:
    """The refund_id of this refund."""
    return "50300000" + out_refund_no.encode().hex()[-21:].rjust(21, "0")


def payment_row(number: str, **cells: str) -> dict[str, str]:
    """The bill row that agrees with `snapshot`."""
    return writer.PAYMENT | {"商户订单号": number, "微信订单号": transaction_of(number)} | cells


def refund_row(number: str, out_refund_no: str, **cells: str) -> dict[str, str]:
    """The bill row that agrees with `refund_of`."""
    numbers = {
        "商户订单号": number, "微信订单号": transaction_of(number), "商户退款单号": out_refund_no,
        "微信退款单号": refund_id_of(out_refund_no),
    }  # fmt: skip
    return writer.REFUNDED | numbers | cells


def puts(*snapshots: OrderSnapshot) -> ChangeSet:
    """The ChangeSet that enters these orders into empty books."""
    return ChangeSet(puts=tuple(Put(record, ABSENT) for s in snapshots for record in (s.order, s.payment, *s.refunds)))
