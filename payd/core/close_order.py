"""Close: only WeChat's word closes. What cannot be closed now is marked, and the reconciler goes on."""

from __future__ import annotations

from payd.core.changes import Decision, Draft, Word, unchanged
from payd.core.schedules import CLOSE_LADDER, rung
from payd.core.settle_payment import decide_payment_evidence
from payd.models.changes import OrderSnapshot
from payd.models.evidence import PaymentEvidence
from payd.models.states import PaymentEvent, PaymentState
from payd.models.wechat import Closed


def decide_closed(snapshot: OrderSnapshot, _answer: Closed, word: Word) -> Decision:
    """Decide what WeChat's 204 to a close writes: the payment EXPIRED, by the same room as all evidence."""
    evidence = PaymentEvidence(
        source=word.source,
        out_trade_no=snapshot.order.out_trade_no,
        event=PaymentEvent.EXPIRED,
        trade_state="CLOSED",
        request_id=word.wechat_request_id,
    )
    return decide_payment_evidence(snapshot, evidence, word)


def decide_close_pending(snapshot: OrderSnapshot, word: Word) -> Decision:
    """Decide that the order is to be closed, but WeChat has not said so yet: the reconciler asks and closes again."""
    payment = snapshot.payment
    if payment.status is not PaymentState.PROCESSING:
        return unchanged(snapshot, "repeat")
    draft = Draft(snapshot, word)
    checks = payment.checks if payment.close_requested else 0
    draft.set_payment(close_requested=True, checks=checks + 1, next_check_at=word.at + rung(CLOSE_LADDER, checks))
    if not payment.close_requested:
        draft.line("payment", payment.out_trade_no, None, None, {"close_requested": True})
    return draft.finish("waiting")
