"""Refunds: what payd refuses, what it reserves, and what WeChat's word does."""

from __future__ import annotations

import pytest

from payd.core.refund_payment import (
    check_refund,
    decide_refund,
    decide_refund_answer,
    decide_refund_evidence,
    decide_refund_resubmit,
)
from payd.core.settle_payment import decide_payment_evidence
from payd.errors import RequestError
from payd.models.evidence import Source
from payd.models.states import RefundState
from payd.models.wechat import Refused, Unclear

REFUSED = Refused(status=403, code="USER_ACCOUNT_ABNORMAL", message="no", request_id=None)


def paid(world):
    return decide_payment_evidence(world.create().snapshot, world.payment(), world.word()).snapshot


def refund(world, snapshot, number="R1", fen=300):
    check_refund(snapshot, fen, world.word())
    return decide_refund(
        snapshot, out_refund_no=number, refund_fen=fen, reason=None, content={}, metadata=None, wire_request=b"{}",
        word=world.word(),
    )  # fmt: skip


def refused_code(world, snapshot, fen):
    with pytest.raises(RequestError) as caught:
        check_refund(snapshot, fen, world.word())
    return caught.value


def test_the_amount_is_reserved_before_anything_is_sent(world):
    """A promise takes its fen at once, in the same commit as the refund."""
    decision = refund(world, paid(world))

    assert decision.snapshot.order.reserved_fen == 300
    assert decision.snapshot.refund("R1").status is RefundState.REFUNDING
    assert sum(entry.amount_fen for entry in decision.change.ledger) == 0


def test_an_unpaid_order_cannot_be_refunded(world):
    """order_not_paid comes first."""
    assert refused_code(world, world.create().snapshot, 1).code == "order_not_paid"


def test_more_than_what_is_left_is_refused_with_what_is_left(world):
    """The answer says how much can still be refunded."""
    snapshot = refund(world, paid(world), fen=300).snapshot

    error = refused_code(world, snapshot, 701)

    assert error.code == "refund_exceeds_paid"
    assert error.extra == {"refundable": 700}


def test_two_refunds_of_one_order_are_a_minute_apart(world):
    """WeChat's rule, refused here with the seconds to wait."""
    snapshot = refund(world, paid(world)).snapshot
    world.wait(seconds=30)

    error = refused_code(world, snapshot, 1)
    world.wait(seconds=31)
    check_refund(snapshot, 1, world.word())

    assert (error.code, error.retry_after) == ("refund_too_soon", 31)


def test_the_fiftieth_refund_is_the_last(world):
    """WeChat's limit on partial refunds; failed ones do not count."""
    snapshot = paid(world)
    for position in range(50):
        snapshot = refund(world, snapshot, number=f"R{position}", fen=1).snapshot
        world.wait(seconds=60)

    full = refused_code(world, snapshot, 1)
    snapshot = decide_refund_answer(snapshot, "R7", REFUSED, counts=True, word=world.word()).snapshot
    check_refund(snapshot, 1, world.word())

    assert full.code == "refund_limit_reached"


def test_a_year_after_the_payment_nothing_can_be_refunded(world):
    """365 days from the payment's success."""
    snapshot = paid(world)
    world.wait(days=365, seconds=1)

    assert refused_code(world, snapshot, 1).code == "refund_window_closed"


def test_a_counting_refusal_frees_the_amount(world):
    """REFUND_FAIL, the reservation booked back, the merchant told."""
    snapshot = refund(world, paid(world)).snapshot

    decision = decide_refund_answer(snapshot, "R1", REFUSED, counts=True, word=world.word())

    assert decision.snapshot.refund("R1").status is RefundState.REFUND_FAIL
    assert decision.snapshot.order.reserved_fen == 0
    assert [a.event.value for a in decision.announcements] == ["refund.failed"]


@pytest.mark.parametrize(
    ("answer", "counts"),
    [(REFUSED, False), (Unclear(reason="timeout"), True), (Unclear(reason="rate_limited", status=429), True)],
)
def test_an_unclear_answer_keeps_the_amount_reserved(world, answer, counts):
    """A new number after an unclear answer would refund twice: this one stays."""
    snapshot = refund(world, paid(world)).snapshot

    decision = decide_refund_answer(snapshot, "R1", answer, counts=counts, word=world.word())

    assert decision.snapshot.refund("R1").status is RefundState.REFUNDING
    assert decision.snapshot.refund("R1").outcome == "unknown"
    assert decision.snapshot.order.reserved_fen == 300


def test_missing_funds_are_an_attention_mark_not_an_end(world):
    """NOT_ENOUGH: the merchant tops up and the same number goes out again."""
    snapshot = refund(world, paid(world)).snapshot
    answer = Refused(status=403, code="NOT_ENOUGH", message="", request_id=None)

    decision = decide_refund_answer(snapshot, "R1", answer, counts=True, word=world.word())

    assert decision.snapshot.refund("R1").status is RefundState.REFUNDING
    assert decision.snapshot.refund("R1").attention == "not_enough"
    assert decision.snapshot.refund("R1").absent_at_wechat


def test_success_settles_and_a_repeat_writes_nothing(world):
    """Paid back once, counted once."""
    snapshot = refund(world, paid(world)).snapshot

    decision = decide_refund_evidence(snapshot, world.refund(), world.word())
    again = decide_refund_evidence(decision.snapshot, world.refund(), world.word())

    assert decision.snapshot.refund("R1").status is RefundState.REFUND_SUCCESS
    assert decision.snapshot.order.refunded_fen == 300
    assert decision.snapshot.order.reserved_fen == 300
    assert again.change is None


def test_closed_at_wechat_frees_the_amount(world):
    """CLOSED is WeChat's word that the refund will never happen."""
    snapshot = refund(world, paid(world)).snapshot

    after = decide_refund_evidence(snapshot, world.refund(status="CLOSED"), world.word()).snapshot

    assert after.refund("R1").status is RefundState.REFUND_FAIL
    assert after.order.reserved_fen == 0


def test_abnormal_marks_and_announces_once_and_can_still_succeed(world):
    """The payer's account cannot take it: the money is still owed."""
    snapshot = refund(world, paid(world)).snapshot

    first = decide_refund_evidence(snapshot, world.refund(status="ABNORMAL"), world.word())
    second = decide_refund_evidence(first.snapshot, world.refund(status="ABNORMAL"), world.word())
    done = decide_refund_evidence(first.snapshot, world.refund(), world.word())

    assert first.snapshot.refund("R1").attention == "abnormal"
    assert [a.event.value for a in first.announcements] == ["refund.abnormal"]
    assert second.announcements == ()
    assert done.snapshot.refund("R1").status is RefundState.REFUND_SUCCESS
    assert done.snapshot.refund("R1").attention is None


def test_success_after_a_failure_is_a_contradiction(world):
    """Money that left although it was freed: a person must look, nothing moves."""
    snapshot = refund(world, paid(world)).snapshot
    failed = decide_refund_answer(snapshot, "R1", REFUSED, counts=True, word=world.word()).snapshot

    decision = decide_refund_evidence(failed, world.refund(), world.word())

    assert [d.kind.value for d in decision.change.open_discrepancies] == ["illegal_move"]
    assert decision.snapshot.refunds == failed.refunds


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"refund_fen": 299}, "amount_mismatch"),
        ({"total_fen": 999}, "amount_mismatch"),
        ({"mchid": "1900000002"}, "merchant_mismatch"),
        ({"out_trade_no": "ORDER002"}, "transaction_mismatch"),
        ({"transaction_id": "4200000002"}, "transaction_mismatch"),
    ],
)
def test_a_refund_notice_that_contradicts_the_books_moves_nothing(world, changes, kind):
    """Amounts, merchant and numbers must agree."""
    snapshot = refund(world, paid(world)).snapshot

    decision = decide_refund_evidence(snapshot, world.refund(**changes), world.word())

    assert [d.kind.value for d in decision.change.open_discrepancies] == [kind]
    assert decision.snapshot.refunds == snapshot.refunds


def test_a_signed_absence_allows_the_same_number_again(world):
    """Query says "no such refund": the same number, the same bytes, and then a refusal counts."""
    snapshot = refund(world, paid(world)).snapshot

    absent = decide_refund_evidence(snapshot, world.refund(status="PROCESSING", exists=False), world.word()).snapshot
    again = decide_refund_resubmit(absent, "R1", world.word()).snapshot

    assert absent.refund("R1").absent_at_wechat
    assert again.refund("R1").submissions == 2
    assert again.refund("R1").wire_request == snapshot.refund("R1").wire_request


def test_a_resubmission_needs_a_snapshot_that_still_knows_the_absence(world):
    """Somebody else sent it meanwhile: sending again and counting a refusal could free an executed refund's amount."""
    snapshot = refund(world, paid(world)).snapshot
    done = decide_refund_evidence(snapshot, world.refund(), world.word()).snapshot

    assert decide_refund_resubmit(snapshot, "R1", world.word()).change is None
    assert decide_refund_resubmit(done, "R1", world.word()).change is None


def test_an_old_processing_does_not_wipe_the_abnormal_mark(world):
    """The mark stays, and is announced once, until WeChat ends the refund."""
    snapshot = refund(world, paid(world)).snapshot
    marked = decide_refund_evidence(snapshot, world.refund(status="ABNORMAL"), world.word()).snapshot

    old = decide_refund_evidence(marked, world.refund(status="PROCESSING", source=Source.QUERY), world.word())
    again = decide_refund_evidence(old.snapshot, world.refund(status="ABNORMAL"), world.word())

    assert old.snapshot.refund("R1").attention == "abnormal"
    assert again.announcements == ()
