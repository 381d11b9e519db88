"""The audit of one order: its states and WeChat's word against its journal, its refunds and its postings.

Works on plain rows (``audit.STREAMS``): a damaged row must be reported, not fail to load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from payd.models.discrepancy import DiscrepancyKind
from payd.models.evidence import Source
from payd.models.journal import line_hash
from payd.models.ledger import Account, PostingKind
from payd.models.states import (
    ORDER_ARROWS,
    ORDER_FOLLOWS,
    PAYMENT_TABLE,
    REFUND_TABLE,
    OrderState,
    PaymentState,
    RefundState,
)
from payd.storage.findings import Findings
from payd.storage.sqlite.rows import moment

Arrow = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class OrderBooks:
    """Everything the books hold about one order, as rows."""

    order: Sequence[Any]
    payments: list[Any]
    refunds: list[Any]
    journal: list[Any]
    ledger: list[Any]


def _arrows(table: dict[Any, dict[Any, Any]], states: type[StrEnum], first: StrEnum) -> frozenset[Arrow]:
    arrows = {(a.value, b.value) for a, row in table.items() for b in row.values() if isinstance(b, states)}
    return frozenset({(None, first.value), *arrows})


#: What may stand in the journal, per subject; ``None`` is the beginning.
ARROWS: Final[dict[str, frozenset[Arrow]]] = {
    "order": frozenset({(None, OrderState.CREATED.value), *((a.value, b.value) for a, b in ORDER_ARROWS)}),
    "payment": _arrows(PAYMENT_TABLE, PaymentState, PaymentState.INIT),
    "refund": _arrows(REFUND_TABLE, RefundState, RefundState.REFUND_INIT),
    "discrepancy": frozenset(),
}


def check_order(books: OrderBooks, findings: Findings) -> int:
    """Check one order; returns the sum of its ledger entries, for the sum of all."""
    _check_coupling(books, findings)
    _check_chain(books, findings)
    _check_replay(books, findings)
    _check_order_as_told(books, findings)
    _check_refunds_as_told(books, findings)
    _check_refunds(books, findings)
    return _check_ledger(books, findings)


def _check_coupling(books: OrderBooks, findings: Findings) -> None:
    number, status = books.order[:2]
    if len(books.payments) != 1:
        findings.add("orphans", number, f"the order has {len(books.payments)} payments")
        return
    payment_status = books.payments[0][1]
    follows = {payment.value: order.value for payment, order in ORDER_FOLLOWS.items()}
    if follows.get(payment_status) != status:
        findings.add("order_follows_payment", number, f"the order is {status}, its payment {payment_status}")


def _check_chain(books: OrderBooks, findings: Findings) -> None:
    number, head, length = books.order[0], books.order[6], books.order[7]
    positions = [line[1] for line in books.journal]
    if positions != list(range(1, length + 1)):
        findings.add(
            "journal_positions", number, f"{len(positions)} lines, up to {max(positions, default=0)} of {length}"
        )
    previous = ""
    for line in books.journal:
        if line[11] != previous or _hash(line) != line[12]:
            findings.add("journal_chain", number, f"line {line[1]} or the one before it was changed")
            return
        previous = line[12]
    if previous != head:
        findings.add("journal_chain", number, "the newest line is not the one the order names")


def _hash(line: Sequence[Any]) -> str | None:
    """Compute what the hash must be; None when the line cannot even be read."""
    try:
        return line_hash(
            out_trade_no=line[0], position=line[1], subject=line[2], subject_id=line[3], from_state=line[4],
            to_state=line[5], source=Source(line[6]), at=moment(line[7]), request_id=line[8],
            wechat_request_id=line[9], detail=orjson.loads(line[10]), previous_hash=line[11],
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None


def _check_replay(books: OrderBooks, findings: Findings) -> None:
    number, status = books.order[:2]
    reached: dict[tuple[str, str], str] = {}
    for line in books.journal:
        position, subject, subject_id, from_state, to_state = line[1:6]
        if to_state is None:
            continue
        if (from_state, to_state) not in ARROWS.get(subject, frozenset()):
            detail = f"line {position}: no arrow {from_state} -> {to_state} of {subject} {subject_id}"
            findings.add("journal_arrows", number, detail)
        if reached.get((subject, subject_id)) != from_state:
            stood = reached.get((subject, subject_id))
            detail = f"line {position}: {subject} {subject_id} leaves {from_state} but stood at {stood}"
            findings.add("journal_replay", number, detail)
        reached[(subject, subject_id)] = to_state
    stored = {("order", number): status, **{("refund", refund[1]): refund[2] for refund in books.refunds}}
    for payment in books.payments:
        stored["payment", number] = payment[1]
    for subject_key in sorted({*stored, *reached}):
        told, is_now = reached.get(subject_key), stored.get(subject_key)
        if told != is_now:
            detail = f"{' '.join(subject_key)}: the journal ends at {told}, stored is {is_now}"
            findings.add("journal_replay", number, detail)


#: What only WeChat's word on the payment fills, and its place in the order's row: what that word left out is null.
_FILLED_BY_WORD: Final = {"transaction_id": 8, "payer_total_fen": 9}
#: What the order had before, and its place: compared where the word speaks of it.
_SPOKEN_OF: Final = {"mchid": 10, "appid": 11}


def _check_order_as_told(books: OrderBooks, findings: Findings) -> None:
    """Compare the order with WeChat's word. An unreadable detail is the chain's finding and not told again."""
    told = _payment_word(books)
    if told is None:
        return
    for member, place in (_FILLED_BY_WORD | _SPOKEN_OF).items():
        stored, said = books.order[place], told.get(member)
        if stored != said and (member in told or member in _FILLED_BY_WORD):
            findings.add("as_told", books.order[0], f"{member} is {stored}, the journal says {said}")


def _check_refunds_as_told(books: OrderBooks, findings: Findings) -> None:
    """Compare each refund with the order, whose transaction never changes once it is known, and with WeChat's word."""
    paid = books.order[8]
    told = _told_refund_ids(books)
    for _, refund_no, _, _, _, transaction_id, refund_id in books.refunds:
        if transaction_id != paid:
            findings.add("as_told", refund_no, f"transaction_id is {transaction_id}, its order's is {paid}")
        if refund_id != told.get(refund_no, refund_id):
            findings.add("as_told", refund_no, f"refund_id is {refund_id}, the journal says {told[refund_no]}")


def _payment_word(books: OrderBooks) -> dict[str, Any] | None:
    """Find the detail of the line by which money came, in time or late. Empty: none came; None: it cannot be read."""
    number = books.order[0]
    for line in books.journal:
        subject, subject_id, to_state = line[2], line[3], line[5]
        if subject == "payment" and to_state == PaymentState.SUCCESS.value:
            return _detail(line)
        # A note on a discrepancy names the kind as well, but stands under the discrepancy's own id.
        if subject == "discrepancy" and subject_id == number:
            detail = _detail(line)
            if detail is None or detail.get("kind") == DiscrepancyKind.LATE_PAYMENT.value:
                return detail
    return {}


def _told_refund_ids(books: OrderBooks) -> dict[str, Any]:
    """Collect the refund_id under which WeChat spoke of each refund, where the journal has one."""
    details = ((line[3], _detail(line)) for line in books.journal if line[2] == "refund")
    return {refund_no: detail["refund_id"] for refund_no, detail in details if detail and "refund_id" in detail}


def _detail(line: Sequence[Any]) -> dict[str, Any] | None:
    try:
        detail = orjson.loads(line[10])
    except ValueError:
        return None
    return detail if isinstance(detail, dict) else None


def _check_refunds(books: OrderBooks, findings: Findings) -> None:
    number, status, total, reserved, refunded, late = books.order[:6]
    alive = sum(refund[3] for refund in books.refunds if refund[2] != RefundState.REFUND_FAIL.value)
    done = sum(refund[3] for refund in books.refunds if refund[2] == RefundState.REFUND_SUCCESS.value)
    if reserved != alive:
        findings.add("refund_sums", number, f"reserved_fen is {reserved}, its refunds sum to {alive}")
    if refunded != done:
        findings.add("refund_sums", number, f"refunded_fen is {refunded}, its successful refunds sum to {done}")
    paid = total if status == OrderState.PAID.value or late else 0
    if alive > paid:
        findings.add("refunds_within_paid", number, f"refunds of {alive} fen, paid were {paid}")
    for refund in books.refunds:
        if refund[4] != total:
            findings.add("refunds_within_paid", refund[1], f"it says the order's total is {refund[4]}, it is {total}")


def _check_ledger(books: OrderBooks, findings: Findings) -> int:
    """Compare the postings with what must be booked. Fees come from bills: only their form is known here."""
    number = books.order[0]
    booked: dict[str, dict[str, int]] = defaultdict(dict)
    for _, posting_id, account, kind, amount, _ in books.ledger:
        booked[posting_id][account] = amount
        if posting_id.partition(":")[0] != kind:
            findings.add("postings_match", number, f"posting {posting_id} says it is {kind}")
    expected = _expected(books)
    for posting_id in sorted({*booked, *expected}):
        entries = booked.get(posting_id, {})
        if sum(entries.values()):
            findings.add("postings_balance", number, f"posting {posting_id} sums to {sum(entries.values())} fen")
        if posting_id.startswith(f"{PostingKind.FEE.value}:"):
            if set(entries) != {Account.WECHAT_FEES.value, Account.WECHAT_RECEIVABLE.value}:
                findings.add("postings_match", number, f"posting {posting_id} is no fee")
        elif posting_id not in expected:
            findings.add("postings_match", number, f"posting {posting_id} is booked but did not happen")
        elif entries != expected[posting_id]:
            findings.add("postings_match", number, f"posting {posting_id} is {entries}, not {expected[posting_id]}")
    return sum(entry[4] for entry in books.ledger)


def _expected(books: OrderBooks) -> dict[str, dict[str, int]]:
    """Derive every posting but fees from the states."""
    number, status, total, _, _, late = books.order[:6]
    earned = Account.LATE_PAYMENTS if late else Account.SALES
    postings: dict[str, dict[str, int]] = {}

    def book(kind: PostingKind, about: str, debit: Account, credit: Account, fen: int) -> None:
        postings[f"{kind.value}:{about}"] = {debit.value: fen, credit.value: -fen}

    if status == OrderState.PAID.value or late:
        kind = PostingKind.LATE_PAYMENT_RECEIVED if late else PostingKind.PAYMENT_RECEIVED
        book(kind, number, Account.WECHAT_RECEIVABLE, earned, total)
    for _, refund_no, state, fen in (refund[:4] for refund in books.refunds):
        book(PostingKind.REFUND_RESERVED, refund_no, earned, Account.REFUNDS_RESERVED, fen)
        if state == RefundState.REFUND_SUCCESS.value:
            book(PostingKind.REFUND_SETTLED, refund_no, Account.REFUNDS_RESERVED, Account.WECHAT_RECEIVABLE, fen)
        elif state == RefundState.REFUND_FAIL.value:
            book(PostingKind.REFUND_RELEASED, refund_no, Account.REFUNDS_RESERVED, earned, fen)
    return postings
