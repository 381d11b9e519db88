"""Refund: the command -> commit 1 (the amount reserved); WeChat's word -> settled, released, or still open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from payd import limits
from payd.core.changes import Decision, Draft, Word, unchanged
from payd.core.create_payment import heard
from payd.core.postings import refund_released, refund_reserved, refund_settled
from payd.core.schedules import next_refund_check
from payd.errors import RequestError
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import DiscrepancyKind
from payd.models.evidence import RefundEvidence, Source
from payd.models.order import Order
from payd.models.refund import Refund
from payd.models.states import (
    CONTRADICTION,
    STAY,
    OrderState,
    RefundEvent,
    RefundState,
    next_refund,
)
from payd.models.webhook import WebhookEvent
from payd.models.wechat import Refused, Unclear

#: Refusals of a refund that do not end it: the merchant tops up and the same number is sent again (section 7.3).
NOT_FINAL: Final[dict[str, str]] = {"NOTENOUGH": "not_enough"}

#: What must agree before anything moves: evidence member, refund member, kind, result word.
COMPARED: Final[tuple[tuple[str, str, DiscrepancyKind, str], ...]] = (
    ("out_trade_no", "out_trade_no", DiscrepancyKind.TRANSACTION_MISMATCH, "contradiction"),
    ("currency", "currency", DiscrepancyKind.CURRENCY_MISMATCH, "amount_mismatch"),
    ("refund_fen", "refund_fen", DiscrepancyKind.AMOUNT_MISMATCH, "amount_mismatch"),
    ("total_fen", "total_fen", DiscrepancyKind.AMOUNT_MISMATCH, "amount_mismatch"),
    ("transaction_id", "transaction_id", DiscrepancyKind.TRANSACTION_MISMATCH, "contradiction"),
    ("refund_id", "refund_id", DiscrepancyKind.TRANSACTION_MISMATCH, "contradiction"),
)


def refundable_fen(order: Order) -> int:
    """Say how much of an order can still be refunded: what was paid less all refunds that are not failed."""
    return order.total_fen - order.reserved_fen


def check_refund(snapshot: OrderSnapshot, refund_fen: int, word: Word) -> None:
    """Refuse what payd knows WeChat would refuse, in the contract's order. Raises RequestError; writes nothing."""
    order = snapshot.order
    if order.status is not OrderState.PAID and not order.late:
        raise RequestError("order_not_paid", out_trade_no=order.out_trade_no, status=order.status.value)
    assert order.paid_at is not None, "paid money has a time"
    if word.at > order.paid_at + timedelta(seconds=limits.REFUND_WINDOW_SECONDS):
        raise RequestError("refund_window_closed", out_trade_no=order.out_trade_no)
    refundable = refundable_fen(order)
    if refund_fen > refundable:
        extra = {"refundable": refundable}
        raise RequestError("refund_exceeds_paid", refund=refund_fen, refundable=refundable, extra=extra)
    counted = [r for r in snapshot.refunds if r.status is not RefundState.REFUND_FAIL]
    if len(counted) >= limits.REFUNDS_PER_ORDER_MAX:
        raise RequestError("refund_limit_reached", limit=limits.REFUNDS_PER_ORDER_MAX)
    if counted:
        newest = max(r.created_at for r in counted)
        wait = (newest + timedelta(seconds=limits.REFUND_SPACING_SECONDS) - word.at).total_seconds()
        if wait > 0:
            raise RequestError("refund_too_soon", retry_after=int(wait) + 1, seconds=int(wait) + 1)


def decide_refund(
    snapshot: OrderSnapshot,
    *,
    out_refund_no: str,
    refund_fen: int,
    reason: str | None,
    content: Mapping[str, Any],
    metadata: Mapping[str, str] | None,
    wire_request: bytes,
    word: Word,
    due_now: bool = False,
) -> Decision:
    """Decide commit 1: the refund SUBMITTED and its amount reserved against the order's version.

    `check_refund` must have passed on this very snapshot. ``due_now``: nobody sends it after this commit, the
    reconciler does (an automatic refund of late money).
    """
    order = snapshot.order
    assert 1 <= refund_fen <= refundable_fen(order), "checked before"
    refund = Refund(
        out_refund_no=out_refund_no, version=0, out_trade_no=order.out_trade_no, transaction_id=order.transaction_id,
        status=RefundState.REFUND_INIT, refund_fen=refund_fen, total_fen=order.total_fen, currency=order.currency,
        reason=reason, content=content, metadata=metadata, wire_request=wire_request, created_at=word.at,
        updated_at=word.at,
    )  # fmt: skip
    draft = Draft(snapshot, word)
    draft.add_refund(refund)
    detail = {"refund_fen": refund_fen}
    draft.line("refund", out_refund_no, None, RefundState.REFUND_INIT.value, detail)
    draft.set_order(reserved_fen=order.reserved_fen + refund_fen)
    draft.post(refund_reserved(order, refund, word.at))
    state = next_refund(RefundState.REFUND_INIT, RefundEvent.SUBMITTED)
    assert state is RefundState.REFUNDING, "the table sends a new refund to REFUNDING"
    due = word.at if due_now else next_refund_check(now=word.at, checks=0, unclear=True)
    draft.set_refund(
        out_refund_no, status=state, outcome="unknown", submissions=0 if due_now else 1, next_check_at=due,
        absent_at_wechat=due_now,
    )  # fmt: skip
    draft.line("refund", out_refund_no, RefundState.REFUND_INIT.value, state.value, {})
    return draft.finish("applied")


def decide_refund_resubmit(snapshot: OrderSnapshot, out_refund_no: str, word: Word) -> Decision:
    """Decide the commit that announces another send of the same bytes under the same number.

    Nothing is decided unless WeChat said, and this very snapshot still knows, that the number is not there: only then
    may the refund be sent, and a refusal of that send counted.
    """
    refund = _find(snapshot, out_refund_no)
    if refund.status is not RefundState.REFUNDING or not refund.absent_at_wechat:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    draft.set_refund(
        out_refund_no,
        submissions=refund.submissions + 1,
        absent_at_wechat=False,
        next_check_at=next_refund_check(now=word.at, checks=refund.checks, unclear=True),
    )
    draft.line("refund", out_refund_no, None, None, {"resubmitted": refund.submissions + 1})
    return draft.finish("applied")


def decide_refund_answer(
    snapshot: OrderSnapshot, out_refund_no: str, answer: Refused | Unclear, *, counts: bool, word: Word
) -> Decision:
    """Decide what a refusal or an unclear answer writes. ``counts``: whether a refusal may end the refund."""
    refund = _find(snapshot, out_refund_no)
    if refund.status is not RefundState.REFUNDING:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    code = answer.code.replace("_", "").upper() if isinstance(answer, Refused) else ""
    if isinstance(answer, Refused) and code in NOT_FINAL:
        return _wait_for_funds(draft, refund, answer, NOT_FINAL[code], word)
    if isinstance(answer, Refused) and counts:
        draft.set_refund(out_refund_no, **heard(answer))
        detail = {"code": answer.code, "message": answer.message[:200], "status": answer.status}
        return _end(draft, out_refund_no, RefundState.REFUND_FAIL, detail, word)
    due = next_refund_check(now=word.at, checks=refund.checks, unclear=True)
    draft.set_refund(out_refund_no, checks=refund.checks + 1, next_check_at=due, **heard(answer))
    return draft.finish("waiting")


def decide_refund_unheard(snapshot: OrderSnapshot, out_refund_no: str, said: Refused | Unclear, word: Word) -> Decision:
    """Decide what a query without a clear answer writes: the next due time and what was heard; no outcome changes."""
    refund = _find(snapshot, out_refund_no)
    if refund.status is not RefundState.REFUNDING:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    changes = heard(said) | {"outcome": refund.outcome}
    due = next_refund_check(now=word.at, checks=refund.checks, unclear=True)
    draft.set_refund(out_refund_no, checks=refund.checks + 1, next_check_at=due, **changes)
    return draft.finish("waiting")


def _wait_for_funds(draft: Draft, refund: Refund, answer: Refused, attention: str, word: Word) -> Decision:
    """A signed NOT_ENOUGH: nothing is at WeChat, so the next send of the same number may be refused for good."""
    due = next_refund_check(now=word.at, checks=refund.checks, unclear=False)
    draft.set_refund(
        refund.out_refund_no,
        attention=attention,
        absent_at_wechat=True,
        checks=refund.checks + 1,
        next_check_at=due,
        **heard(answer),
    )
    if refund.attention != attention:
        draft.line("refund", refund.out_refund_no, None, None, {"attention": attention, "code": answer.code})
    return draft.finish("waiting")


def decide_refund_evidence(snapshot: OrderSnapshot, evidence: RefundEvidence, word: Word) -> Decision:
    """Decide what a verified word of WeChat about one refund of this order writes."""
    refund = _find(snapshot, evidence.out_refund_no)
    if not evidence.exists:
        return _absent(snapshot, refund, word)
    if evidence.event is None:
        return _keep_asking(Draft(snapshot, word), refund, word, "waiting")
    mismatch = _compare(snapshot, refund, evidence, word)
    if mismatch is not None:
        return mismatch
    cell = next_refund(refund.status, evidence.event)
    if cell is CONTRADICTION:
        detail = {**_told(evidence), "state": refund.status.value}
        return _dispute(snapshot, refund, DiscrepancyKind.ILLEGAL_MOVE, detail, word, "contradiction")
    if cell is STAY:
        return _stay(snapshot, refund, evidence, word)
    draft = Draft(snapshot, word)
    assert isinstance(cell, RefundState), "a cell is a state, STAY or CONTRADICTION"
    draft.set_refund(refund.out_refund_no, **_learnt(refund, evidence), **heard(None))
    if cell is RefundState.REFUND_SUCCESS:
        draft.set_refund(refund.out_refund_no, succeeded_at=evidence.success_at or word.at)
    return _end(draft, refund.out_refund_no, cell, _told(evidence), word)


def _find(snapshot: OrderSnapshot, out_refund_no: str) -> Refund:
    refund = snapshot.refund(out_refund_no)
    assert refund is not None, "the snapshot was loaded by this refund"
    return refund


def _end(draft: Draft, out_refund_no: str, state: RefundState, detail: Mapping[str, Any], word: Word) -> Decision:
    refund, order = draft.refunds[out_refund_no], draft.order
    draft.set_refund(out_refund_no, status=state, attention=None, next_check_at=None, outcome=None)
    if state is RefundState.REFUND_SUCCESS:
        draft.set_order(refunded_fen=order.refunded_fen + refund.refund_fen)
        draft.post(refund_settled(refund, word.at))
        draft.announce(WebhookEvent.REFUND_SUCCEEDED, out_refund_no)
    else:
        draft.set_order(reserved_fen=order.reserved_fen - refund.refund_fen)
        draft.post(refund_released(order, refund, word.at))
        draft.announce(WebhookEvent.REFUND_FAILED, out_refund_no)
    draft.line("refund", out_refund_no, refund.status.value, state.value, detail)
    return draft.finish("applied")


def _learnt(refund: Refund, evidence: RefundEvidence) -> dict[str, Any]:
    return {
        "refund_id": evidence.refund_id or refund.refund_id,
        "user_received_account": evidence.user_received_account or refund.user_received_account,
        "absent_at_wechat": False,
    }


def _stay(snapshot: OrderSnapshot, refund: Refund, evidence: RefundEvidence, word: Word) -> Decision:
    if refund.status is not RefundState.REFUNDING:
        return _let_rest(snapshot, refund, word)
    # An older PROCESSING may come after ABNORMAL: the mark stays until WeChat ends the refund.
    attention = evidence.attention or ("abnormal" if refund.attention == "abnormal" else None)
    same = refund.attention == attention
    if same and evidence.source is Source.NOTIFICATION:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    draft.set_refund(refund.out_refund_no, **_learnt(refund, evidence), **heard(None))
    if not same:
        draft.set_refund(refund.out_refund_no, attention=attention)
        draft.line("refund", refund.out_refund_no, None, None, {"attention": attention, **_told(evidence)})
        if attention == "abnormal":
            draft.announce(WebhookEvent.REFUND_ABNORMAL, refund.out_refund_no)
    return _keep_asking(draft, refund, word, "waiting" if same else "applied")


def _let_rest(snapshot: OrderSnapshot, refund: Refund, word: Word) -> Decision:
    """A final refund is never due, however it came by a due time."""
    if refund.next_check_at is None:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    draft.set_refund(refund.out_refund_no, next_check_at=None)
    return draft.finish("repeat")


def _keep_asking(draft: Draft, refund: Refund, word: Word, result: str) -> Decision:
    if refund.status is not RefundState.REFUNDING:
        return draft.finish(result)
    if refund.next_check_at is not None and refund.next_check_at > word.at:  # somebody's own query, not the ladder's
        return draft.finish(result)
    due = next_refund_check(now=word.at, checks=refund.checks, unclear=False)
    draft.set_refund(refund.out_refund_no, checks=refund.checks + 1, next_check_at=due)
    return draft.finish(result)


def _absent(snapshot: OrderSnapshot, refund: Refund, word: Word) -> Decision:
    """A signed "no such refund": the same number may be sent again at once, and then a refusal counts."""
    if refund.status is not RefundState.REFUNDING:
        return unchanged(snapshot, "waiting")
    draft = Draft(snapshot, word)
    draft.set_refund(
        refund.out_refund_no,
        absent_at_wechat=True,
        checks=refund.checks + 1,
        next_check_at=next_refund_check(now=word.at, checks=refund.checks, unclear=True),
    )
    return draft.finish("waiting")


def _compare(snapshot: OrderSnapshot, refund: Refund, evidence: RefundEvidence, word: Word) -> Decision | None:
    if evidence.mchid is not None and evidence.mchid != snapshot.order.mchid:
        detail = {**_told(evidence), "expected": snapshot.order.mchid}
        return _dispute(snapshot, refund, DiscrepancyKind.MERCHANT_MISMATCH, detail, word, "merchant_mismatch")
    for member, ours, kind, result in COMPARED:
        said, known = getattr(evidence, member), getattr(refund, ours)
        if said is not None and known is not None and said != known:
            return _dispute(snapshot, refund, kind, {**_told(evidence), "expected": known}, word, result)
    return None


def _told(evidence: RefundEvidence) -> dict[str, Any]:
    members = ("status_word", "refund_id", "transaction_id", "out_trade_no", "mchid", "currency", "refund_fen")
    return {"source": evidence.source.value} | {
        member: value for member in members if (value := getattr(evidence, member)) is not None
    }


def _dispute(
    snapshot: OrderSnapshot,
    refund: Refund,
    kind: DiscrepancyKind,
    detail: dict[str, Any],
    word: Word,
    result: str,
) -> Decision:
    draft = Draft(snapshot, word)
    draft.open_discrepancy(kind, detail, out_refund_no=refund.out_refund_no)
    if refund.next_check_at is not None and refund.next_check_at <= word.at:
        return _keep_asking(draft, refund, word, result)
    return draft.finish(result)
