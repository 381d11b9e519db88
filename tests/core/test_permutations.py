"""Every order in which WeChat's words can arrive ends the same: up to six pieces of evidence, all permutations."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import pytest

from payd.core.close_order import decide_closed
from payd.core.refund_payment import decide_refund, decide_refund_evidence
from payd.core.settle_payment import decide_payment_evidence
from payd.models.evidence import Source
from payd.models.states import OrderState, RefundState
from payd.models.wechat import Closed
from tests.core.conftest import World


def payment(trade_state, source):
    return lambda world, s: decide_payment_evidence(s, world.payment(trade_state, source), world.word(source)).snapshot


def refund(status, source):
    return lambda world, s: (
        decide_refund_evidence(s, world.refund("R1", status, source=source), world.word(source)).snapshot
    )


def closed(world, snapshot):
    return decide_closed(snapshot, Closed(), world.word(Source.QUERY)).snapshot


PAID = {
    "notified": payment("SUCCESS", Source.NOTIFICATION),
    "notified again": payment("SUCCESS", Source.NOTIFICATION),
    "asked: paid": payment("SUCCESS", Source.QUERY),
    "asked: refunded": payment("REFUND", Source.QUERY),
    "bill row": payment("SUCCESS", Source.BILL),
    "old answer: not paid": payment("NOTPAY", Source.QUERY),
    "word of tomorrow": payment("NEW_WORD", Source.QUERY),
}
UNPAID = {
    "asked: closed": payment("CLOSED", Source.QUERY),
    "closed by us": closed,
    "closed by us again": closed,
    "old answer: not paid": payment("NOTPAY", Source.QUERY),
    "asked: closed again": payment("CLOSED", Source.QUERY),
}
REFUNDED = {
    "notified": refund("SUCCESS", Source.NOTIFICATION),
    "notified again": refund("SUCCESS", Source.NOTIFICATION),
    "asked: done": refund("SUCCESS", Source.QUERY),
    "old answer: under way": refund("PROCESSING", Source.QUERY),
    "was abnormal": refund("ABNORMAL", Source.QUERY),
    "bill row": refund("SUCCESS", Source.BILL),
}


def orders_of(words, needed, at_most=6):
    """All permutations of every set of words that holds at least one of ``needed``."""
    for size in range(1, at_most + 1):
        for chosen in combinations(words, size):
            if needed & set(chosen):
                yield from permutations(chosen)


def shape(snapshot):
    """What must not depend on the order: states, money, numbers. Not: times, versions, due dates, the journal."""
    order, pay = snapshot.order, snapshot.payment
    return (
        order.status, pay.status, order.transaction_id, order.payer_total_fen, order.refunded_fen, order.reserved_fen,
        order.late, tuple((r.out_refund_no, r.status, r.refund_id, r.attention) for r in snapshot.refunds),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "needed", "status"),
    [
        (PAID, {"notified", "notified again", "asked: paid", "asked: refunded", "bill row"}, OrderState.PAID),
        (UNPAID, {"asked: closed", "closed by us", "closed by us again", "asked: closed again"}, OrderState.CLOSED),
    ],
    ids=["paid", "unpaid"],
)
def test_the_words_on_a_payment_end_the_same_in_every_order(words, needed, status):
    """Duplicates, old answers and unknown words make no difference."""
    world = World()
    start, ends = world.create().snapshot, set()

    for order in orders_of(words, needed):
        snapshot = start
        for word in order:
            snapshot = words[word](world, snapshot)
        ends.add(shape(snapshot))

    assert len(ends) == 1
    assert ends.pop()[0] is status


def test_the_words_on_a_refund_end_the_same_in_every_order():
    """Once WeChat says it succeeded, nothing that was said before or comes late changes that."""
    world = World()
    paid = decide_payment_evidence(world.create().snapshot, world.payment(), world.word()).snapshot
    start = decide_refund(
        paid, out_refund_no="R1", refund_fen=300, reason=None, content={}, metadata=None, wire_request=b"",
        word=world.word(),
    ).snapshot  # fmt: skip
    needed, ends = {"notified", "notified again", "asked: done", "bill row"}, set()

    for order in orders_of(REFUNDED, needed):
        snapshot = start
        for word in order:
            snapshot = REFUNDED[word](world, snapshot)
        ends.add(shape(snapshot))

    assert len(ends) == 1
    refunds = ends.pop()[-1]
    assert [(no, status) for no, status, _, _ in refunds] == [("R1", RefundState.REFUND_SUCCESS)]


def test_a_payment_and_a_close_that_cross_lose_no_money():
    """Whichever comes first: the money is booked, shown and announced, as paid or as late."""
    world = World()
    start = world.create().snapshot

    for order in permutations([payment("SUCCESS", Source.NOTIFICATION), closed, payment("SUCCESS", Source.QUERY)]):
        snapshot = start
        for word in order:
            snapshot = word(world, snapshot)
        assert snapshot.order.transaction_id == "4200000001"
        assert (snapshot.order.status is OrderState.PAID) != snapshot.order.late
        assert replace(snapshot.order, status=OrderState.PAID).total_fen == 1000
