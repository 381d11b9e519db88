"""How the simulator shows itself to the person at its controls."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from payd.sandbox import views
from payd.sandbox.call_log import CallLog
from payd.sandbox.clock import rfc3339
from payd.sandbox.faults import Fault, Faults
from payd.sandbox.merchant import Merchant
from payd.sandbox.records import Notification, Order, Refund
from payd.sandbox.world import World


def _time(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def order(record: Order, merchant: Merchant) -> dict[str, Any]:
    """The transaction as a query shows it, plus what only the simulator knows."""
    return views.transaction(record, merchant) | {
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
    shown = {name: value for name, value in asdict(rule).items() if name != "until"}
    return shown | {"meaning": rule.plan.meaning}


def clock(world: World) -> dict[str, Any]:
    """The book's clock."""
    return {"now": rfc3339(world.clock.now()), "offset_seconds": round(world.clock.offset_seconds, 3)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The book at one instant: frozen records in lists of their own, everything small already shown."""

    merchant: Merchant
    orders: list[Order]
    refunds: list[Refund]
    notifications: list[Notification]
    small: dict[str, Any]
    out_trade_no: str | None
    limit: int | None


def snapshot(world: World, faults: Faults, log: CallLog, *, out_trade_no: str | None, limit: int | None) -> Snapshot:
    """Take hold of the book, for one order or for all; ``limit`` keeps the newest of each kind."""
    return Snapshot(
        merchant=world.merchant,
        orders=list(world.book.orders.values()),
        refunds=list(world.book.refunds.values()),
        notifications=list(world.book.notifications.values()),
        small={
            "burnt": sorted(world.book.burnt),
            "calls": log.counters(),
            "faults": [fault(rule) for rule in faults.rules],
            "clock": clock(world),
            "switches": asdict(world.switches),
            "seed": world.identifiers.seed,
        },
        out_trade_no=out_trade_no,
        limit=limit,
    )


def book(state: Snapshot) -> dict[str, Any]:
    """Write a snapshot down; pure, so it may run in a thread."""

    def chosen(records: list[Any]) -> list[Any]:
        kept = [item for item in records if state.out_trade_no in (None, item.out_trade_no)]
        return kept if state.limit is None else kept[max(0, len(kept) - state.limit) :]

    return {
        "orders": [order(item, state.merchant) for item in chosen(state.orders)],
        "refunds": [refund(item) for item in chosen(state.refunds)],
        "notifications": [notification(item) for item in chosen(state.notifications)],
        "totals": {
            "orders": len(state.orders),
            "refunds": len(state.refunds),
            "notifications": len(state.notifications),
            "paid_fen": sum(item.total for item in state.orders if item.paid),
            "refunded_fen": sum(item.refund for item in state.refunds if item.status == "SUCCESS"),
        },
        **state.small,
    }
