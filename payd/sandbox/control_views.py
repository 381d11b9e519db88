"""How the simulator shows itself to the person at its controls."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from payd.sandbox import views
from payd.sandbox.call_log import CallLog
from payd.sandbox.clock import rfc3339
from payd.sandbox.faults import Fault, Faults
from payd.sandbox.records import Notification, Order, Refund
from payd.sandbox.world import World


def _time(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def order(record: Order, world: World) -> dict[str, Any]:
    """The transaction as a query shows it, plus what only the simulator knows."""
    return views.transaction(record, world.merchant) | {
        "product": record.product,
        "request": record.request,
        "created_at": rfc3339(record.created_at),
        "payable_until": rfc3339(record.payable_until),
        "closed_at": _time(record.closed_at),
        "prepay_id": record.prepay_id,
        "pay_url": record.pay_url,
        "prepay_count": record.prepay_count,
        "failed_attempts": record.failed_attempts,
    }


def refund(record: Refund) -> dict[str, Any]:
    """The refund as a query shows it, plus when and as what it will end."""
    return views.refund(record) | {
        "request": record.request,
        "settle_at": _time(record.settle_at),
        "settle_as": record.settle_as if record.settle_at is not None else None,
    }


def notification(record: Notification) -> dict[str, Any]:
    """One notification with every attempt and what was answered."""
    return {
        "id": record.id,
        "event_type": record.event_type,
        "original_type": record.original_type,
        "out_trade_no": record.out_trade_no,
        "out_refund_no": record.out_refund_no,
        "url": record.url,
        "state": record.state,
        "created_at": rfc3339(record.created_at),
        "next_at": _time(record.next_at),
        "plaintext": record.plaintext,
        "attempts": [{**attempt, "at": rfc3339(attempt["at"])} for attempt in record.attempts],
    }


def fault(rule: Fault) -> dict[str, Any]:
    """One rule of the fault list."""
    return asdict(rule) | {"meaning": rule.plan.meaning}


def clock(world: World) -> dict[str, Any]:
    """The book's clock."""
    return {"now": rfc3339(world.clock.now()), "offset_seconds": round(world.clock.offset_seconds, 3)}


def book(world: World, faults: Faults, log: CallLog, *, out_trade_no: str | None, limit: int | None) -> dict[str, Any]:
    """The whole book, or what concerns one order; ``limit`` keeps the newest of each kind."""
    state = world.book

    def chosen(records: list[Any]) -> list[Any]:
        kept = [item for item in records if out_trade_no in (None, item.out_trade_no)]
        return kept if limit is None else kept[max(0, len(kept) - limit):]

    orders, refunds = list(state.orders.values()), list(state.refunds.values())
    return {
        "orders": [order(item, world) for item in chosen(orders)],
        "refunds": [refund(item) for item in chosen(refunds)],
        "notifications": [notification(item) for item in chosen(list(state.notifications.values()))],
        "burnt": sorted(state.burnt),
        "totals": {
            "orders": len(orders),
            "refunds": len(refunds),
            "notifications": len(state.notifications),
            "paid_fen": sum(item.total for item in orders if item.paid),
            "refunded_fen": sum(item.refund for item in refunds if item.status == "SUCCESS"),
        },
        "calls": log.counters(),
        "faults": [fault(rule) for rule in faults.rules],
        "clock": clock(world),
        "switches": asdict(world.switches),
        "seed": world.identifiers.seed,
    }
