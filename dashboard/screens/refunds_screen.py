"""Screen 3: all refunds, newest first; the ones that hang show how long."""

from __future__ import annotations

from dashboard.formatting import member, whole, words, yuan
from dashboard.listing import Record
from dashboard.screens.columns import age_column, money_column, state_column, text_column, time_column
from dashboard.screens.list_screen import Column, Kit, ListScreen, ListSpec
from dashboard.states import FAULTY_REFUNDS, REFUND_STATES
from dashboard.themes import Cell


def _attention(record: Record, kit: Kit) -> Cell:
    mark = record.get("attention")
    return kit.paint.cell("" if mark is None else f"▲ {words(mark)}", "bad", width=14)


REFUNDS = ListSpec(
    name="refunds",
    path="/pay/refunds",
    items="refunds",
    id_field="out_refund_no",
    columns=(
        time_column("created_at", from_columns=80, yields=1),
        text_column("out_refund_no", 31, number=True),
        money_column("refund_amount", "amount", "refund"),
        state_column(width=16),
        age_column("open_for", "created_at", until=("REFUND_SUCCESS", "REFUND_FAIL"), from_columns=100, yields=2),
        Column("attention", 14, _attention, lambda record: record.get("attention"), from_columns=100, seldom=True),
        text_column("out_trade_no", 24, from_columns=120, number=True),
        text_column("reason", 12, from_columns=150, flex=True, yields=3),
        money_column("amount", "amount", "total", wide=True),
        text_column("refund_id", 30, wide=True, number=True),
        text_column("transaction_id", 30, wide=True, number=True),
        time_column("succeeded_at", wide=True),
    ),
    states=REFUND_STATES,
    fields={"status": "status", "order": "out_trade_no"},
    is_faulty=lambda record: record.get("status") in FAULTY_REFUNDS or record.get("attention") is not None,
)


class RefundsScreen(ListScreen):
    """See the module."""

    NAME = "refunds"
    SPEC = REFUNDS

    def totals(self) -> str:
        """How many, their sum, and what of it is still on the way."""
        total = waiting = 0
        for record in self.shown:
            amount = whole(member(record, "amount", "refund")) or 0
            total += amount
            waiting += amount if record.get("status") in ("REFUND_INIT", "REFUNDING") else 0
        return self.board.say("refund_totals", count=f"{len(self.shown):,}", total=yuan(total), waiting=yuan(waiting))
