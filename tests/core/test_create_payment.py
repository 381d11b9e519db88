"""Create: commit 1, WeChat's answer, and what a repeat may do."""

from __future__ import annotations

import pytest

from payd.core.create_payment import (
    decide_prepay_answer,
    decide_resubmit,
    differing_fields,
    has_fresh_parameters,
    refusal_counts,
)
from payd.models.states import OrderState, PaymentState
from payd.models.wechat import PrepayParameters, Refused, Unclear

REFUSED = Refused(status=400, code="PARAM_ERROR", message="no", request_id="X-1")


def test_a_new_order_is_announced_as_submitted_before_anything_is_sent(world):
    """After commit 1 WeChat may know the number: PAYING, PROCESSING, due, and four chained journal lines."""
    decision = world.create()

    assert decision.snapshot.order.status is OrderState.PAYING
    assert decision.snapshot.payment.status is PaymentState.PROCESSING
    assert decision.snapshot.payment.next_check_at is not None
    assert [line.to_state for line in decision.change.journal] == ["CREATED", "INIT", "PROCESSING", "PAYING"]
    assert [put.replaces for put in decision.change.puts] == [0, 0]


def test_parameters_are_kept_and_the_outcome_is_known(world):
    """A verified prepay answer gives the payer something to scan."""
    answer = PrepayParameters(code_url="weixin://wxpay/bizpayurl?pr=x")

    decision = decide_prepay_answer(world.create().snapshot, answer, counts=True, word=world.word())

    assert decision.snapshot.payment.code_url == answer.code_url
    assert decision.snapshot.payment.outcome is None
    assert has_fresh_parameters(decision.snapshot, world.now)


def test_parameters_grow_old(world):
    """A code_url lives two hours; an old one is not given out again."""
    answer = PrepayParameters(code_url="weixin://wxpay/bizpayurl?pr=x")
    snapshot = decide_prepay_answer(world.create().snapshot, answer, counts=True, word=world.word()).snapshot

    world.wait(hours=2)

    assert not has_fresh_parameters(snapshot, world.now)


def test_a_counting_refusal_fails_order_and_payment(world):
    """A signed, listed refusal of the first submission ends it, and the merchant is told."""
    decision = decide_prepay_answer(world.create().snapshot, REFUSED, counts=True, word=world.word())

    assert decision.snapshot.order.status is OrderState.FAILED
    assert decision.snapshot.payment.status is PaymentState.FAIL
    assert [a.event.value for a in decision.announcements] == ["order.failed"]


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (REFUSED, False),
        (Refused(status=400, code="ORDERPAID", message="", request_id=None), True),
        (Unclear(reason="timeout"), True),
        (Unclear(reason="status", status=500, code="SYSTEM_ERROR"), True),
        (Unclear(reason="unsigned", status=400, code="PARAM_ERROR"), True),
    ],
)
def test_an_unclear_or_not_counting_answer_never_fails_the_order(world, answer, counts):
    """An unknown outcome is not a failure: PAYING, PROCESSING, outcome unknown, still due."""
    decision = decide_prepay_answer(world.create().snapshot, answer, counts=counts, word=world.word())

    assert decision.snapshot.order.status is OrderState.PAYING
    assert decision.snapshot.payment.status is PaymentState.PROCESSING
    assert decision.snapshot.payment.outcome == "unknown"
    assert decision.snapshot.payment.next_check_at is not None
    assert decision.moves == ()


def test_a_refusal_counts_only_first_or_after_a_signed_absence():
    """Later refusals may be the echo of our own earlier success."""
    assert refusal_counts(0, absent_at_wechat=False)
    assert not refusal_counts(1, absent_at_wechat=False)
    assert refusal_counts(3, absent_at_wechat=True)


def test_a_resubmission_forgets_the_absence(world):
    """Once sent again, WeChat may know the number again."""
    snapshot = decide_resubmit(world.create().snapshot, world.word()).snapshot

    assert snapshot.payment.submissions == 2
    assert snapshot.payment.absent_at_wechat is False


def test_an_answer_that_comes_after_the_end_moves_nothing(world):
    """The notification was quicker than the prepay's answer."""
    from payd.core.settle_payment import decide_payment_evidence

    paid = decide_payment_evidence(world.create().snapshot, world.payment(), world.word()).snapshot

    decision = decide_prepay_answer(paid, REFUSED, counts=True, word=world.word())

    assert decision.change is None
    assert decision.snapshot.order.status is OrderState.PAID


def test_every_differing_member_is_named_with_its_path():
    """A repeat with other content is told what differs."""
    first = {"description": "a", "amount": {"total": 1, "currency": "CNY"}, "attach": None}
    again = {"description": "b", "amount": {"total": 2, "currency": "CNY"}, "metadata": {"k": "v"}}

    assert differing_fields(first, again) == ["amount.total", "description", "metadata"]


def test_a_payment_that_ended_is_not_resubmitted_and_never_due(world):
    """A repeat that races with the notification must not leave a paid order on the reconciler's list."""
    from dataclasses import replace

    from payd.core.settle_payment import decide_payment_evidence

    settled = decide_payment_evidence(world.create().snapshot, world.payment(), world.word()).snapshot
    stray = replace(settled, payment=replace(settled.payment, next_check_at=world.now))

    healed = decide_payment_evidence(stray, world.payment(), world.word())

    assert decide_resubmit(settled, world.word()).change is None
    assert healed.snapshot.payment.next_check_at is None
