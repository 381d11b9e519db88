"""Screen 2: all orders, newest first, as one endless list."""

from __future__ import annotations

from dashboard.formatting import member, whole, yuan
from dashboard.listing import Record
from dashboard.screens.columns import age_column, money_column, state_column, text_column, time_column
from dashboard.screens.list_screen import ListScreen, ListSpec
from dashboard.states import FAULTY_ORDERS, ORDER_STATES

ORDERS = ListSpec(
    name="orders",
    path="/pay/orders",
    items="orders",
    id_field="out_trade_no",
    columns=(
        time_column("created_at", from_columns=80, yields=1),
        text_column("out_trade_no", 32, number=True),
        money_column("amount", "amount", "total"),
        state_column(width=11),
        age_column("open_for", "created_at", until=("PAID", "FAILED", "CLOSED"), from_columns=100, yields=2),
        text_column("trade_type", 8, from_columns=110, yields=4),
        money_column("refunded", "amount", "refunded", from_columns=126, yields=5),
        text_column("description", 12, from_columns=120, flex=True, yields=3),
        text_column("transaction_id", 30, wide=True, number=True),
        time_column("paid_at", wide=True),
        time_column("closed_at", wide=True),
        time_column("expires_at", wide=True),
        text_column("attach", 20, wide=True),
    ),
    states=ORDER_STATES,
    fields={"status": "status", "type": "trade_type", "from": "created_from", "to": "created_to"},
    is_faulty=lambda record: record.get("status") in FAULTY_ORDERS or has_late_money(record),
)


def has_late_money(record: Record) -> bool:
    """Whether money arrived on an order that had ended without it."""
    return record.get("status") in ("FAILED", "CLOSED") and record.get("transaction_id") is not None


class OrdersScreen(ListScreen):
    """See the module."""

    NAME = "orders"
    SPEC = ORDERS

    def totals(self) -> str:
        """How many, their sum, and what of it was paid and refunded."""
        total = paid = refunded = 0
        for record in self.shown:
            total += whole(member(record, "amount", "total")) or 0
            if record.get("status") == "PAID":
                paid += whole(member(record, "amount", "total")) or 0
            refunded += whole(member(record, "amount", "refunded")) or 0
        return self.board.say(
            "order_totals",
            count=f"{len(self.shown):,}", total=yuan(total), paid=yuan(paid), refunded=yuan(refunded),
        )  # fmt: skip
