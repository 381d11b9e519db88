"""The fund-flow bill against the books: which movements of the account belong to our payments and refunds.

Fees, withdrawals and other programs' payments have movements too, so nothing here is a contradiction: it is counted.
"""

from __future__ import annotations

from typing import Any

from payd.core.fund_flow_bill import FundFlowRow
from payd.models.order import Order
from payd.models.refund import Refund


class FundFlowMatch:
    """Links movements by WeChat's business number. Memory: about 150 bytes for each payment or refund of the day."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._by_name: dict[str, list[int]] = {}
        self.linked_payments = 0
        self.linked_refunds = 0

    def add(self, row: FundFlowRow) -> None:
        """Take in one movement."""
        self._open.add(row.business_no)
        sums = self._by_name.setdefault(row.business_name, [0, 0])
        sums[0] += 1
        sums[1] += row.amount_fen if row.incoming else -row.amount_fen

    def see_order(self, order: Order) -> None:
        """Link an order that was paid on this day."""
        self.linked_payments += self._link(order.transaction_id)

    def see_refund(self, refund: Refund) -> None:
        """Link a refund that was made on this day."""
        self.linked_refunds += self._link(refund.refund_id)

    def _link(self, number: str | None) -> bool:
        if number is None or number not in self._open:
            return False
        self._open.discard(number)
        return True

    def summary(self) -> dict[str, Any]:
        """Write it as plain JSON values; ``movements`` by WeChat's name: rows, and fen with expenses negative."""
        return {
            "linked_payments": self.linked_payments,
            "linked_refunds": self.linked_refunds,
            "unlinked_numbers": len(self._open),
            "movements": {name: {"rows": rows, "fen": fen} for name, (rows, fen) in sorted(self._by_name.items())},
        }
