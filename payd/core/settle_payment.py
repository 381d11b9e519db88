"""WeChat's word on a payment -> what to write. The only place where a payment ends.

Order of the checks: (1) does WeChat know the number, (2) is its word known, (3) does it speak of our merchant, our
app, our currency and our amount, (4) is it the same transaction, (5) what does the state table say.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from payd.core.changes import Decision, Draft, Word, unchanged
from payd.core.create_payment import heard
from payd.core.postings import payment_received
from payd.core.schedules import next_late_check, next_payment_check
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import DiscrepancyKind
from payd.models.evidence import PaymentEvidence
from payd.models.order import Order
from payd.models.states import (
    CONTRADICTION,
    FINAL_PAYMENT,
    ORDER_FOLLOWS,
    STAY,
    PaymentEvent,
    PaymentState,
    next_payment,
)
from payd.models.webhook import WebhookEvent

#: A number that WeChat does not know is closed for good this long after its expiry: nothing can be in flight then.
ABSENT_MARGIN: Final = timedelta(seconds=60)

#: What must agree before anything moves: evidence member, order member, kind of discrepancy, result word.
COMPARED: Final[tuple[tuple[str, str, DiscrepancyKind, str], ...]] = (
    ("mchid", "mchid", DiscrepancyKind.MERCHANT_MISMATCH, "merchant_mismatch"),
    ("appid", "appid", DiscrepancyKind.APP_MISMATCH, "merchant_mismatch"),
    ("currency", "currency", DiscrepancyKind.CURRENCY_MISMATCH, "amount_mismatch"),
    ("total_fen", "total_fen", DiscrepancyKind.AMOUNT_MISMATCH, "amount_mismatch"),
)

ANNOUNCED: Final[dict[PaymentState, WebhookEvent]] = {
    PaymentState.SUCCESS: WebhookEvent.ORDER_PAID,
    PaymentState.FAIL: WebhookEvent.ORDER_FAILED,
    PaymentState.TIMEOUT: WebhookEvent.ORDER_CLOSED,
}


def decide_payment_evidence(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision:
    """Decide what a verified word of WeChat about this order's payment writes.

    Never raises for what WeChat says; contradictions come back as a Decision that opens a discrepancy.
    """
    if not evidence.exists:
        return _absent(snapshot, word)
    if evidence.event is None:
        return keep_asking(snapshot, word, result="waiting")
    mismatch = _compare(snapshot, evidence, word)
    if mismatch is not None:
        return mismatch
    cell = next_payment(snapshot.payment.status, evidence.event)
    if cell is STAY:
        return _stay(snapshot, evidence, word)
    if cell is CONTRADICTION:
        return _contradiction(snapshot, evidence, word)
    assert isinstance(cell, PaymentState), "a cell is a state, STAY or CONTRADICTION"
    return _move(snapshot, cell, evidence, word)


def keep_asking(snapshot: OrderSnapshot, word: Word, *, result: str) -> Decision:
    """Move only the due time: nothing was learnt."""
    draft = Draft(snapshot, word)
    _reschedule(draft, word)
    return draft.finish(result)


def _reschedule(draft: Draft, word: Word, **changes: Any) -> None:
    """Climb the ladder, but only when the check was due: somebody's own queries must not slow the reconciler down."""
    payment, order = draft.payment, draft.order
    if payment.next_check_at is not None and payment.next_check_at > word.at:
        draft.set_payment(**changes)
        return
    if payment.status in FINAL_PAYMENT:
        due = None
        if payment.status is not PaymentState.SUCCESS and not order.late:
            due = next_late_check(now=word.at, ended_at=order.closed_at or order.created_at)
    else:
        due = next_payment_check(
            now=word.at,
            checks=payment.checks,
            expires_at=order.expires_at,
            close_requested=payment.close_requested,
        )
    draft.set_payment(next_check_at=due, checks=payment.checks + 1, **changes)


def _absent(snapshot: OrderSnapshot, word: Word) -> Decision:
    """WeChat does not know the number: it may be sent again, and long after expiry it cannot be paid any more."""
    if snapshot.payment.status is PaymentState.PROCESSING and word.at >= snapshot.order.expires_at + ABSENT_MARGIN:
        return _move(snapshot, PaymentState.TIMEOUT, None, word)
    draft = Draft(snapshot, word)
    if snapshot.payment.status is PaymentState.PROCESSING:
        _reschedule(draft, word, absent_at_wechat=True)
    else:
        _reschedule(draft, word)
    return draft.finish("waiting")


def _compare(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision | None:
    order = snapshot.order
    for member, ours, kind, result in COMPARED:
        said = getattr(evidence, member)
        if said is not None and said != getattr(order, ours):
            return _dispute(snapshot, kind, {**_told(evidence), "expected": getattr(order, ours)}, word, result)
    known = order.transaction_id
    if known is not None and evidence.transaction_id not in (None, known):
        detail = {**_told(evidence), "expected": known}
        return _dispute(snapshot, DiscrepancyKind.TRANSACTION_MISMATCH, detail, word, "contradiction")
    return None


def dispute_transaction(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision:
    """Decide what to do when the transaction stands on another order already: one payment never pays two orders."""
    detail = {**_told(evidence), "held_by": "another order"}
    return _dispute(snapshot, DiscrepancyKind.TRANSACTION_MISMATCH, detail, word, "contradiction")


def _told(evidence: PaymentEvidence) -> dict[str, Any]:
    """Say what WeChat said, for the discrepancy and the journal: numbers and words, never the payer."""
    members = ("trade_state", "transaction_id", "mchid", "appid", "currency", "total_fen", "payer_total_fen")
    return {"source": evidence.source} | {
        member: value for member in members if (value := getattr(evidence, member)) is not None
    }


def _dispute(
    snapshot: OrderSnapshot, kind: DiscrepancyKind, detail: dict[str, Any], word: Word, result: str
) -> Decision:
    draft = Draft(snapshot, word)
    draft.open_discrepancy(kind, detail)
    if snapshot.payment.next_check_at is not None and snapshot.payment.next_check_at <= word.at:
        _reschedule(draft, word)
    return draft.finish(result)


def _stay(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision:
    if snapshot.payment.next_check_at is None:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    if snapshot.payment.status is PaymentState.SUCCESS:  # paid is never due, however it came by a due time
        draft.set_payment(next_check_at=None)
        return draft.finish("repeat")
    _reschedule(draft, word, absent_at_wechat=False)
    return draft.finish("repeat" if snapshot.payment.status in FINAL_PAYMENT else "waiting")


def _contradiction(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision:
    ended_unpaid = snapshot.payment.status in (PaymentState.FAIL, PaymentState.TIMEOUT)
    if evidence.event is PaymentEvent.PAID and ended_unpaid:
        return _late(snapshot, evidence, word)
    detail = {**_told(evidence), "state": snapshot.payment.status.value}
    return _dispute(snapshot, DiscrepancyKind.ILLEGAL_MOVE, detail, word, "contradiction")


def _late(snapshot: OrderSnapshot, evidence: PaymentEvidence, word: Word) -> Decision:
    """Money on an order that had ended unpaid: booked, shown, announced once; no state moves."""
    if snapshot.order.late:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    draft.set_order(
        late=True,
        transaction_id=evidence.transaction_id,
        payer_total_fen=evidence.payer_total_fen,
        paid_at=evidence.success_at or word.at,
    )
    draft.set_payment(next_check_at=None, openid=evidence.openid, bank_type=evidence.bank_type)
    draft.post(payment_received(draft.order, word.at))
    draft.line("discrepancy", draft.order.out_trade_no, None, None, {"kind": "late_payment", **_told(evidence)})
    draft.open_discrepancy(
        DiscrepancyKind.LATE_PAYMENT,
        {"transaction_id": evidence.transaction_id, "total_fen": draft.order.total_fen},
    )
    draft.announce(WebhookEvent.ORDER_LATE_PAYMENT)
    return draft.finish("contradiction")


def _move(snapshot: OrderSnapshot, state: PaymentState, evidence: PaymentEvidence | None, word: Word) -> Decision:
    draft = Draft(snapshot, word)
    before_payment, before_order = snapshot.payment.status, snapshot.order.status
    after_order = ORDER_FOLLOWS[state]
    draft.set_order(status=after_order, **_ENDINGS[state](evidence, word))
    # What was heard before speaks no more: an old time-out must not look like the refusal that ended the order.
    draft.set_payment(status=state, checks=0, close_requested=False, **heard(None))
    if state is PaymentState.SUCCESS:
        assert evidence is not None, "only evidence pays"
        draft.set_payment(next_check_at=None, openid=evidence.openid, bank_type=evidence.bank_type)
        draft.post(payment_received(snapshot.order, word.at))
    else:
        draft.set_payment(next_check_at=next_late_check(now=word.at, ended_at=word.at))
    detail = _told(evidence) if evidence else {"trade_state": "ORDER_NOT_EXIST"}
    number = snapshot.order.out_trade_no
    draft.line("payment", number, before_payment, state, detail)
    draft.line("order", number, before_order, after_order, {})
    draft.announce(ANNOUNCED[state])
    return draft.finish("applied")


def _paid(evidence: PaymentEvidence | None, word: Word) -> dict[str, Any]:
    assert evidence is not None, "only evidence pays"
    return {
        "transaction_id": evidence.transaction_id,
        "payer_total_fen": evidence.payer_total_fen,
        "paid_at": evidence.success_at or word.at,
    }


def _ended(_evidence: PaymentEvidence | None, word: Word) -> dict[str, Any]:
    return {"closed_at": word.at}


_ENDINGS: Final[dict[PaymentState, Callable[[PaymentEvidence | None, Word], dict[str, Any]]]] = {
    PaymentState.SUCCESS: _paid,
    PaymentState.FAIL: _ended,
    PaymentState.TIMEOUT: _ended,
}


def is_payable(order: Order, payment_status: PaymentState, word: Word) -> bool:
    """Tell whether the order can still be paid: open, and its expiry has not come."""
    return payment_status is PaymentState.PROCESSING and word.at < order.expires_at
