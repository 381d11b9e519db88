"""How orders and refunds look in answers and callbacks (sections 6.1, 7.2, 8.2, 8.3)."""

from __future__ import annotations

from typing import Any

from payd.sandbox.clock import rfc3339
from payd.sandbox.merchant import Merchant
from payd.sandbox.records import TRADE_STATES, TRADE_TYPES, Order, Refund


def transaction(order: Order, merchant: Merchant) -> dict[str, Any]:
    """The query answer; an unpaid order has the short shape of captures (section 6.1)."""
    view: dict[str, Any] = {
        "appid": order.request["appid"],
        "mchid": merchant.mchid,
        "out_trade_no": order.out_trade_no,
        "trade_state": order.trade_state,
        "trade_state_desc": TRADE_STATES[order.trade_state],
        "promotion_detail": _promotions(order),
        "scene_info": {"device_id": order.device_id},
        "amount": {"total": order.total, "payer_currency": "CNY"},
    }
    if order.transaction_id is None:
        return view
    return view | _paid_members(order)


def _paid_members(order: Order) -> dict[str, Any]:
    assert order.success_at is not None
    return {
        "transaction_id": order.transaction_id,
        "trade_type": TRADE_TYPES[order.product],
        "bank_type": order.bank_type,
        "attach": order.request.get("attach", ""),
        "success_time": rfc3339(order.success_at),
        "payer": {"openid": order.openid},
        "amount": {
            "total": order.total,
            "payer_total": order.payer_total,
            "currency": "CNY",
            "payer_currency": "CNY",
        },
    }


def _promotions(order: Order) -> list[dict[str, Any]]:
    """One coupon that explains why the payer paid less than the total."""
    if order.payer_total is None or order.payer_total == order.total:
        return []
    amount = order.total - order.payer_total
    return [
        {
            "coupon_id": f"1{order.transaction_id}"[:18],
            "name": "沙箱代金券",
            "scope": "GLOBAL",
            "type": "NOCASH",
            "amount": amount,
            "stock_id": "1000001",
            "wechatpay_contribute": 0,
            "merchant_contribute": amount,
            "other_contribute": 0,
            "currency": "CNY",
        }
    ]


def payment_event(order: Order, merchant: Merchant) -> dict[str, Any]:
    """The plaintext of TRANSACTION.SUCCESS, members in the order of real traffic (section 8.2)."""
    view = transaction(order, merchant)
    names = (
        "mchid",
        "appid",
        "out_trade_no",
        "transaction_id",
        "trade_type",
        "trade_state",
        "trade_state_desc",
        "bank_type",
        "attach",
        "success_time",
        "payer",
        "amount",
    )
    event = {name: view[name] for name in names}
    # A callback tells of the payment itself, even when a refund was already accepted.
    event |= {"trade_state": "SUCCESS", "trade_state_desc": TRADE_STATES["SUCCESS"]}
    if order.device_id:
        event["scene_info"] = {"device_id": order.device_id}
    if view["promotion_detail"]:
        event["promotion_detail"] = view["promotion_detail"]
    return event


def refund(record: Refund) -> dict[str, Any]:
    """The answer of refund, refund query and abnormal refund (section 7.2)."""
    view: dict[str, Any] = {
        "refund_id": record.refund_id,
        "out_refund_no": record.out_refund_no,
        "transaction_id": record.transaction_id,
        "out_trade_no": record.out_trade_no,
        "channel": record.channel,
        "user_received_account": record.user_received_account,
        "create_time": rfc3339(record.created_at),
        "status": record.status,
        "funds_account": record.request.get("funds_account", "UNSETTLED"),
        "amount": {
            "total": record.total,
            "refund": record.refund,
            "from": record.request["amount"].get("from", []),
            "payer_total": record.payer_total,
            "payer_refund": record.payer_refund,
            "settlement_refund": record.payer_refund,
            "settlement_total": record.payer_total,
            "discount_refund": record.refund - record.payer_refund,
            "currency": "CNY",
            "refund_fee": 0,
        },
        "promotion_detail": [],
    }
    if record.status == "SUCCESS":
        assert record.success_at is not None
        view["success_time"] = rfc3339(record.success_at)
    return view


def refund_event(record: Refund, merchant: Merchant) -> dict[str, Any]:
    """The plaintext of a refund event: ``refund_status``, no appid, no currency (section 8.3)."""
    event: dict[str, Any] = {
        "mchid": merchant.mchid,
        "out_trade_no": record.out_trade_no,
        "transaction_id": record.transaction_id,
        "out_refund_no": record.out_refund_no,
        "refund_id": record.refund_id,
        "refund_status": record.status,
    }
    if record.status == "SUCCESS":
        assert record.success_at is not None
        event["success_time"] = rfc3339(record.success_at)
    event["amount"] = {
        "total": record.total,
        "refund": record.refund,
        "payer_total": record.payer_total,
        "payer_refund": record.payer_refund,
    }
    event["user_received_account"] = record.user_received_account
    return event
