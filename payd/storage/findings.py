"""What an audit finds: the list of its checks, and a collector that stays small however much is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

#: Every check, and what must be true. ``payd verify`` prints these lines.
CHECKS: Final[dict[str, str]] = {
    "file": "the database file is whole, and every row is within the schema's own checks",
    "foreign_keys": "no row points at a row that is not there",
    "transaction_unique": "a transaction_id stands on one order only",
    "idempotency_answers": "an idempotent answer has both a status and a body, or neither",
    "state_counts": "the kept counts are the counts of the rows",
    "orphans": "payments, refunds, journal and ledger speak of orders that are there, and each order has its payment",
    "order_follows_payment": "an order's state is the one its payment drives it to",
    "journal_positions": "an order's journal is numbered 1, 2, 3 up to its journal_length",
    "journal_chain": "each line's hash covers its members and the line before, up to the order's journal_head",
    "journal_arrows": "every move in the journal is an arrow of the state tables",
    "journal_replay": "replaying the journal leads to the states that are stored",
    "as_told": "order and refunds hold what the journal says WeChat told: transaction_id, payer total, mchid, appid, "
    "refund_id",
    "refund_sums": "reserved_fen and refunded_fen are the sums of the refunds",
    "refunds_within_paid": "refunds that are not failed are of paid orders and never exceed what was paid",
    "postings_balance": "the entries of each posting, and of the whole ledger, sum to zero",
    "postings_match": "each payment, refund and late payment is booked once, with its amount, and nothing else is",
}

#: Findings named per check; the rest is counted.
NAMED_PER_CHECK: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken invariant. ``check`` is a key of CHECKS, ``subject`` the number, ``detail`` what is wrong."""

    check: str
    subject: str
    detail: str


class Findings:
    """Collects the first offenders of each check by name and counts the rest."""

    def __init__(self) -> None:
        self._named: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, check: str, subject: str, detail: str) -> None:
        """Note one broken invariant."""
        assert check in CHECKS, check
        self._counts[check] += 1
        if self._counts[check] <= NAMED_PER_CHECK:
            self._named.append(Finding(check, subject, detail))

    def finish(self) -> list[Finding]:
        """List the named offenders in the order of CHECKS, each check followed by how many more there are."""
        listed: list[Finding] = []
        for check in CHECKS:
            listed += [finding for finding in self._named if finding.check == check]
            if self._counts[check] > NAMED_PER_CHECK:
                listed.append(Finding(check, "", f"and {self._counts[check] - NAMED_PER_CHECK} more"))
        return listed
