"""Create: the command -> commit 1; WeChat's answer to the prepay -> commit 2; a repeat -> what differs, or go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from payd import limits
from payd.core.changes import Decision, Draft, Word, unchanged
from payd.core.schedules import next_late_check, next_payment_check
from payd.models.changes import OrderSnapshot
from payd.models.order import CreateCommand, Order, Payment
from payd.models.states import ORDER_FOLLOWS, OrderState, PaymentEvent, PaymentState, next_payment
from payd.models.webhook import WebhookEvent
from payd.models.wechat import PrepayParameters, Refused, Unclear

#: Refusals of a prepay that say the number is paid: never a failure, always a reason to ask (section 5.3).
ALREADY_PAID: Final = frozenset({"ORDERPAID"})

#: Parameters are given out again only while they have this much of their life left.
FRESH_MARGIN: Final = timedelta(seconds=60)


def is_already_paid(code: str) -> bool:
    """Tell whether a code says "already paid", in either spelling (``ORDER_PAID``, ``ORDERPAID``)."""
    return code.replace("_", "").upper() in ALREADY_PAID


def decide_create(
    command: CreateCommand,
    *,
    out_trade_no: str,
    wire_request: bytes,
    mchid: str,
    appid: str,
    livemode: bool,
    word: Word,
) -> Decision:
    """Decide commit 1 of a new order: order, payment SUBMITTED, four journal lines, the first due time.

    CREATED -> PAYING and INIT -> PROCESSING are lines of one commit: after it WeChat may know the number.
    """
    expires_at = word.at + timedelta(seconds=command.expire_seconds)
    order = Order(
        out_trade_no=out_trade_no, version=0, mchid=mchid, appid=appid, status=OrderState.CREATED,
        trade_type=command.trade_type, description=command.description, total_fen=command.total_fen,
        currency=command.currency, content=command.content, attach=command.attach, metadata=command.metadata,
        livemode=livemode, created_at=word.at, updated_at=word.at, expires_at=expires_at,
    )  # fmt: skip
    payment = Payment(
        out_trade_no=out_trade_no, version=0, status=PaymentState.INIT, trade_type=command.trade_type,
        wire_request=wire_request, created_at=word.at, updated_at=word.at,
    )  # fmt: skip
    draft = Draft(OrderSnapshot(order=order, payment=payment), word, fresh=True)
    draft.line("order", out_trade_no, None, OrderState.CREATED.value, {"total_fen": command.total_fen})
    draft.line("payment", out_trade_no, None, PaymentState.INIT.value, {"trade_type": command.trade_type})
    state = next_payment(PaymentState.INIT, PaymentEvent.SUBMITTED)
    assert state is PaymentState.PROCESSING, "the table sends a new payment to PROCESSING"
    draft.set_payment(
        status=state,
        submissions=1,
        outcome="unknown",
        next_check_at=next_payment_check(now=word.at, checks=0, expires_at=expires_at, close_requested=False),
    )
    draft.set_order(status=ORDER_FOLLOWS[state])
    draft.line("payment", out_trade_no, PaymentState.INIT.value, state.value, {})
    draft.line("order", out_trade_no, OrderState.CREATED.value, ORDER_FOLLOWS[state].value, {})
    return draft.finish("applied")


def differing_fields(first: Mapping[str, Any], again: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """Name every member (dotted) in which two requests differ, in the order of their names."""
    differing: list[str] = []
    for name in sorted({*first, *again}):
        one, two = first.get(name), again.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            differing += differing_fields(one, two, prefix=f"{prefix}{name}.")
        elif one != two:
            differing.append(f"{prefix}{name}")
    return differing


def has_fresh_parameters(snapshot: OrderSnapshot, now: datetime) -> bool:
    """Tell whether the stored code_url, prepay_id or h5_url can still be used by the payer."""
    payment = snapshot.payment
    if payment.parameters_at is None:
        return False
    seconds = limits.H5_LIFETIME_SECONDS if payment.h5_url else limits.PREPAY_LIFETIME_SECONDS
    return now < payment.parameters_at + timedelta(seconds=seconds) - FRESH_MARGIN


def refusal_counts(submissions: int, *, absent_at_wechat: bool) -> bool:
    """Tell whether a refusal of the coming submission will be final: nothing of ours can be at WeChat already."""
    return submissions == 0 or absent_at_wechat


def decide_resubmit(snapshot: OrderSnapshot, word: Word) -> Decision:
    """Decide the commit that announces another send of the same bytes; nothing when the payment ended meanwhile."""
    payment = snapshot.payment
    if payment.status is not PaymentState.PROCESSING:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    draft.set_payment(
        submissions=payment.submissions + 1,
        absent_at_wechat=False,
        next_check_at=next_payment_check(
            now=word.at, checks=0, expires_at=snapshot.order.expires_at, close_requested=payment.close_requested
        ),
        checks=0,
    )
    draft.line("payment", payment.out_trade_no, None, None, {"resubmitted": payment.submissions + 1})
    return draft.finish("applied")


def decide_prepay_answer(
    snapshot: OrderSnapshot, answer: PrepayParameters | Refused | Unclear, *, counts: bool, word: Word
) -> Decision:
    """Decide commit 2. ``counts``: whether a refusal may end the order (`refusal_counts` before the send).

    When the payment ended meanwhile (a notification was quicker), parameters are not kept and nothing moves.
    """
    if snapshot.payment.status is not PaymentState.PROCESSING:
        return unchanged(snapshot, "repeat")
    if isinstance(answer, PrepayParameters):
        return _keep_parameters(snapshot, answer, word)
    if isinstance(answer, Refused) and counts and not is_already_paid(answer.code):
        return _fail(snapshot, answer, word)
    return _remain_unknown(snapshot, answer, word)


def _keep_parameters(snapshot: OrderSnapshot, answer: PrepayParameters, word: Word) -> Decision:
    draft = Draft(snapshot, word)
    draft.set_payment(
        prepay_id=answer.prepay_id,
        code_url=answer.code_url,
        h5_url=answer.h5_url,
        parameters_at=word.at,
        absent_at_wechat=False,
        **heard(None),
    )
    return draft.finish("applied")


def _fail(snapshot: OrderSnapshot, answer: Refused, word: Word) -> Decision:
    draft = Draft(snapshot, word)
    number = snapshot.order.out_trade_no
    state = next_payment(snapshot.payment.status, PaymentEvent.REJECTED)
    assert state is PaymentState.FAIL, "the table lets a refusal fail an open payment"
    draft.set_payment(
        status=state, next_check_at=next_late_check(now=word.at, ended_at=word.at), checks=0, **heard(answer)
    )
    draft.set_payment(outcome=None)
    draft.set_order(status=ORDER_FOLLOWS[state], closed_at=word.at)
    detail = {"code": answer.code, "message": answer.message[:200], "status": answer.status}
    draft.line("payment", number, snapshot.payment.status.value, state.value, detail)
    draft.line("order", number, snapshot.order.status.value, ORDER_FOLLOWS[state].value, {})
    draft.announce(WebhookEvent.ORDER_FAILED)
    return draft.finish("applied")


def _remain_unknown(snapshot: OrderSnapshot, answer: Refused | Unclear, word: Word) -> Decision:
    draft = Draft(snapshot, word)
    draft.set_payment(
        next_check_at=next_payment_check(
            now=word.at,
            checks=0,
            expires_at=snapshot.order.expires_at,
            close_requested=snapshot.payment.close_requested,
        ),
        **heard(answer),
    )
    return draft.finish("waiting")


def heard(answer: Refused | Unclear | None) -> dict[str, Any]:
    """Keep what was heard last; a clear answer wipes it."""
    if answer is None:
        return {
            "outcome": None, "wechat_status": None, "wechat_code": None, "wechat_message": None,
            "wechat_request_id": None,
        }  # fmt: skip
    reason = answer.reason if isinstance(answer, Unclear) else None
    return {
        "outcome": "unknown",
        "wechat_status": answer.status,
        "wechat_code": answer.code or reason,
        "wechat_message": (answer.message or "")[:256] or None,
        "wechat_request_id": answer.request_id,
    }
