"""WeChat's word on a payment, in every state."""

from __future__ import annotations

import pytest

from payd.core.close_order import decide_close_pending, decide_closed
from payd.core.create_payment import decide_prepay_answer
from payd.core.settle_payment import decide_payment_evidence
from payd.models.evidence import Source
from payd.models.states import OrderState, PaymentState
from payd.models.wechat import Closed, Unclear


def settle(world, snapshot, *words, **changes):
    for word in words:
        snapshot = decide_payment_evidence(snapshot, world.payment(word, **changes), world.word()).snapshot
    return snapshot


@pytest.mark.parametrize("word", ["SUCCESS", "REFUND"])
def test_both_words_for_paid_pay_the_order(world, word):
    """SUCCESS and REFUND: the money came; booked, announced, nothing more to ask."""
    decision = decide_payment_evidence(world.create().snapshot, world.payment(word), world.word())

    assert decision.snapshot.order.status is OrderState.PAID
    assert decision.snapshot.order.transaction_id == "4200000001"
    assert decision.snapshot.payment.next_check_at is None
    assert sum(entry.amount_fen for entry in decision.change.ledger) == 0
    assert [a.event.value for a in decision.announcements] == ["order.paid"]


@pytest.mark.parametrize(
    ("word", "order"), [("CLOSED", OrderState.CLOSED), ("REVOKED", OrderState.CLOSED), ("PAYERROR", OrderState.FAILED)]
)
def test_the_words_for_the_end_end_the_order(world, word, order):
    """Only WeChat's word closes or fails."""
    snapshot = settle(world, world.create().snapshot, word)

    assert snapshot.order.status is order
    assert snapshot.order.closed_at == world.now


@pytest.mark.parametrize("word", ["SUCCESS", "CLOSED", "PAYERROR"])
def test_the_end_wipes_what_was_heard_before(world, word):
    """A time-out that came before must not stand there like a refusal that WeChat never spoke."""
    unclear = Unclear(reason="timeout", message="Operation timed out")
    open_ = decide_prepay_answer(world.create().snapshot, unclear, counts=True, word=world.word()).snapshot
    assert open_.payment.wechat_code == "timeout"

    ended = settle(world, open_, word).payment

    assert (ended.outcome, ended.wechat_status, ended.wechat_code, ended.wechat_message) == (None, None, None, None)


@pytest.mark.parametrize("word", ["NOTPAY", "USERPAYING", "SOMETHING_NEW"])
def test_open_and_unknown_words_move_nothing(world, word):
    """An unknown word is never guessed."""
    before = world.create().snapshot

    decision = decide_payment_evidence(before, world.payment(word), world.word())

    assert decision.snapshot.order == before.order
    assert decision.snapshot.payment.status is PaymentState.PROCESSING
    assert decision.moves == ()


def test_a_repeat_writes_nothing(world):
    """The twentieth copy of a notification is a named success."""
    paid = settle(world, world.create().snapshot, "SUCCESS")

    decision = decide_payment_evidence(paid, world.payment(), world.word())

    assert decision.result == "repeat"
    assert decision.change is None


@pytest.mark.parametrize(
    ("changes", "kind", "result"),
    [
        ({"total_fen": 999}, "amount_mismatch", "amount_mismatch"),
        ({"currency": "USD"}, "currency_mismatch", "amount_mismatch"),
        ({"mchid": "1900000002"}, "merchant_mismatch", "merchant_mismatch"),
        ({"appid": "wx9"}, "app_mismatch", "merchant_mismatch"),
    ],
)
def test_a_contradiction_moves_nothing_and_opens_a_discrepancy(world, changes, kind, result):
    """Amount, currency, merchant and app must agree before anything moves."""
    before = world.create().snapshot

    decision = decide_payment_evidence(before, world.payment(**changes), world.word())

    assert decision.result == result
    assert decision.snapshot.order == before.order
    assert decision.snapshot.payment.status is before.payment.status
    assert [d.kind.value for d in decision.change.open_discrepancies] == [kind]
    assert decision.change.ledger == ()


def test_a_second_transaction_on_a_paid_order_is_a_contradiction(world):
    """Two different transaction_ids for one order are never silently merged."""
    paid = settle(world, world.create().snapshot, "SUCCESS")

    decision = decide_payment_evidence(paid, world.payment(transaction_id="4200000002"), world.word())

    assert [d.kind.value for d in decision.change.open_discrepancies] == ["transaction_mismatch"]
    assert decision.snapshot.order == paid.order


def test_the_same_contradiction_by_two_doors_is_one_discrepancy(world):
    """Its id follows from what contradicts what, not from who said it."""
    before = world.create().snapshot

    ids = {
        decide_payment_evidence(before, world.payment(total_fen=1, source=source), world.word(source))
        .change.open_discrepancies[0]
        .id
        for source in (Source.NOTIFICATION, Source.QUERY)
    }

    assert len(ids) == 1


@pytest.mark.parametrize("end", ["CLOSED", "PAYERROR"])
def test_money_on_an_ended_order_is_kept_apart_shown_and_announced_once(world, end):
    """Late money: no state moves; booked as late, one discrepancy, one announcement."""
    ended = settle(world, world.create().snapshot, end)

    decision = decide_payment_evidence(ended, world.payment(), world.word())
    again = decide_payment_evidence(decision.snapshot, world.payment(), world.word())

    assert decision.snapshot.order.status is ended.order.status
    assert decision.snapshot.order.late
    assert decision.snapshot.order.transaction_id == "4200000001"
    assert {entry.account.value for entry in decision.change.ledger} == {"wechat_receivable", "late_payments"}
    assert [a.event.value for a in decision.announcements] == ["order.late_payment"]
    assert decision.moves == ()
    assert again.change is None


def test_a_late_notpay_does_not_take_a_payment_back(world):
    """An old answer that arrives after the notification changes nothing."""
    paid = settle(world, world.create().snapshot, "SUCCESS")

    assert settle(world, paid, "NOTPAY") == paid


def test_closed_after_paid_is_a_contradiction(world):
    """WeChat cannot close what it said is paid: a person must look."""
    paid = settle(world, world.create().snapshot, "SUCCESS")

    decision = decide_closed(paid, Closed(), world.word())

    assert decision.snapshot.order.status is OrderState.PAID
    assert [d.kind.value for d in decision.change.open_discrepancies] == ["illegal_move"]


def test_an_unclear_close_is_marked_and_due(world):
    """What WeChat did not confirm is left to the reconciler, without a state."""
    decision = decide_close_pending(world.create().snapshot, world.word())

    assert decision.snapshot.order.status is OrderState.PAYING
    assert decision.snapshot.payment.close_requested
    assert decision.snapshot.payment.next_check_at > world.now


def test_an_unknown_number_is_closed_only_well_after_its_expiry(world):
    """ORDER_NOT_EXIST may mean "not yet": nothing ends before nothing can be in flight."""
    snapshot = world.create().snapshot
    absent = world.payment("NOTPAY", exists=False)

    early = decide_payment_evidence(snapshot, absent, world.word())
    world.wait(seconds=7200 + 61)
    late = decide_payment_evidence(early.snapshot, absent, world.word())

    assert early.snapshot.order.status is OrderState.PAYING
    assert early.snapshot.payment.absent_at_wechat
    assert late.snapshot.order.status is OrderState.CLOSED


def test_a_query_between_two_rungs_does_not_climb_the_ladder(world):
    """A shop that polls every few seconds must not push the reconciler's next look away."""
    snapshot = world.create().snapshot

    after = settle(world, snapshot, "NOTPAY", "NOTPAY", "NOTPAY")

    assert after.payment.next_check_at == snapshot.payment.next_check_at
    assert after.payment.checks == 0
