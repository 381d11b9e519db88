"""What the merchant sees: the only place that knows public field names. Members without a value are null.

Money is an integer number of fen, times are RFC 3339 in UTC with whole seconds (contract, first paragraph and 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import Discrepancy
from payd.models.journal import JournalLine
from payd.models.notification import NotificationRecord
from payd.models.order import Payment
from payd.models.reconcile import ReconcileState
from payd.models.refund import Refund
from payd.models.webhook import Announcement, Delivery, DeliveryAttempt
from payd.models.wechat import Refused, Unclear

View = dict[str, Any]


def timestamp(at: datetime | None) -> str | None:
    """Write a time, ``2026-11-23T13:05:09Z``."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"


def heard_view(source: Payment | Refund | Refused | Unclear) -> View | None:
    """Show what WeChat said last, when it was a refusal or nothing clear."""
    if isinstance(source, (Refused, Unclear)):
        code = source.code or (source.reason if isinstance(source, Unclear) else None)
        return {
            "status": source.status,
            "code": code,
            "message": source.message,
            "request_id": source.request_id,
        }
    if source.wechat_code is None and source.wechat_status is None:
        return None
    return {
        "status": source.wechat_status,
        "code": source.wechat_code,
        "message": source.wechat_message,
        "request_id": source.wechat_request_id,
    }


def payment_view(payment: Payment) -> View:
    """Show a payment."""
    return {
        "status": payment.status.value,
        "trade_type": payment.trade_type,
        "prepay_id": payment.prepay_id,
        "code_url": payment.code_url,
        "h5_url": payment.h5_url,
        "bank_type": payment.bank_type,
        "outcome": payment.outcome,
        "wechat": heard_view(payment),
        "created_at": timestamp(payment.created_at),
        "updated_at": timestamp(payment.updated_at),
        "next_check_at": timestamp(payment.next_check_at),
    }


def refund_view(refund: Refund) -> View:
    """Show a refund (contract 1.3)."""
    return {
        "out_refund_no": refund.out_refund_no,
        "refund_id": refund.refund_id,
        "out_trade_no": refund.out_trade_no,
        "transaction_id": refund.transaction_id,
        "amount": {"refund": refund.refund_fen, "total": refund.total_fen, "currency": refund.currency},
        "status": refund.status.value,
        "attention": refund.attention,
        "reason": refund.reason,
        "metadata": refund.metadata,
        "user_received_account": refund.user_received_account,
        "created_at": timestamp(refund.created_at),
        "succeeded_at": timestamp(refund.succeeded_at),
        "outcome": refund.outcome,
        "wechat": heard_view(refund),
    }


def order_view(snapshot: OrderSnapshot) -> View:
    """Show an order with its payment and refunds (contract 1.6)."""
    order = snapshot.order
    return {
        "out_trade_no": order.out_trade_no,
        "status": order.status.value,
        "trade_type": order.trade_type,
        "description": order.description,
        "amount": {
            "total": order.total_fen,
            "currency": order.currency,
            "payer_total": order.payer_total_fen,
            "refunded": order.refunded_fen,
        },
        "transaction_id": order.transaction_id,
        "attach": order.attach,
        "metadata": order.metadata,
        "created_at": timestamp(order.created_at),
        "expires_at": timestamp(order.expires_at),
        "paid_at": timestamp(order.paid_at),
        "closed_at": timestamp(order.closed_at),
        "late_payment": order.late,
        "livemode": order.livemode,
        "payments": [payment_view(snapshot.payment)],
        "refunds": [refund_view(refund) for refund in snapshot.refunds],
    }


def created_view(snapshot: OrderSnapshot, *, pay_params: Mapping[str, str] | None, payable: bool) -> View:
    """Show an order to the one who creates it: with what the payer's client needs while it can be paid."""
    payment = snapshot.payment
    return order_view(snapshot) | {
        "code_url": payment.code_url if payable else None,
        "prepay_id": payment.prepay_id if payable else None,
        "pay_params": pay_params if payable else None,
        "h5_url": payment.h5_url if payable else None,
        "outcome": payment.outcome,
        "wechat": heard_view(payment),
    }


def queried_view(view: View, said: Refused | Unclear | None) -> View:
    """Add to an answer whether WeChat could be asked."""
    return view | {"stale": said is not None, "wechat_error": heard_view(said) if said else None}


def event_view(line: JournalLine) -> View:
    """Show one line of an order's history."""
    return {
        "at": timestamp(line.at),
        "subject": line.subject,
        "subject_id": line.subject_id,
        "from": line.from_state,
        "to": line.to_state,
        "source": line.source.value,
        "request_id": line.request_id,
        "wechat_request_id": line.wechat_request_id,
        "detail": line.detail,
        "position": line.position,
        "hash": line.hash,
    }


def discrepancy_view(found: Discrepancy) -> View:
    """Show a contradiction."""
    return {
        "id": found.id,
        "kind": found.kind.value,
        "status": found.status.value,
        "out_trade_no": found.out_trade_no,
        "out_refund_no": found.out_refund_no,
        "transaction_id": found.transaction_id,
        "detail": found.detail,
        "opened_at": timestamp(found.opened_at),
        "resolved_at": timestamp(found.resolved_at),
        "resolved_by": found.resolved_by,
        "note": found.note,
    }


def notification_view(record: NotificationRecord) -> View:
    """Show one inbound callback with the verdict of each check."""
    return {
        "id": record.id,
        "received_at": timestamp(record.received_at),
        "wechat_id": record.wechat_id,
        "event_type": record.event_type,
        "out_trade_no": record.out_trade_no,
        "out_refund_no": record.out_refund_no,
        "result": record.result.value,
        "steps": [{"step": step.step, "verdict": step.verdict} for step in record.steps],
    }


def delivery_view(delivery: Delivery, attempts: Sequence[DeliveryAttempt]) -> View:
    """Show one outbound webhook with its attempts."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "url": delivery.url,
        "type": delivery.type.value,
        "status": delivery.status.value,
        "out_trade_no": delivery.out_trade_no,
        "out_refund_no": delivery.out_refund_no,
        "created_at": timestamp(delivery.created_at),
        "attempts": [
            {
                "at": timestamp(attempt.at),
                "status": attempt.status,
                "error": attempt.error,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in attempts
        ],
        "next_at": timestamp(delivery.next_at),
    }


def reconcile_view(state: ReconcileState) -> View:
    """Show the reconciler's schedule and last run."""
    last = state.last_run
    return {
        "last_run_at": timestamp(state.last_run_at),
        "last_run": {"asked": last.asked, "settled": last.settled, "failed": last.failed} if last else None,
        "enabled": state.enabled,
        "interval_seconds": state.interval_seconds,
    }


def announced_view(announcement: Announcement, snapshot: OrderSnapshot) -> View:
    """Show what a webhook speaks of: the refund for ``refund.*``, else the order."""
    if announcement.out_refund_no is not None:
        refund = snapshot.refund(announcement.out_refund_no)
        assert refund is not None, "announced with the decision that changed it"
        return refund_view(refund)
    return order_view(snapshot)
