"""The state tables: total, and exactly the arrows the published status flow has."""

from __future__ import annotations

import pytest

from payd.models.states import (
    CONTRADICTION,
    FINAL_ORDER,
    FINAL_PAYMENT,
    FINAL_REFUND,
    ORDER_ARROWS,
    ORDER_FOLLOWS,
    PAYMENT_TABLE,
    REFUND_STATUSES,
    REFUND_TABLE,
    STAY,
    TRADE_STATES,
    OrderState,
    PaymentEvent,
    PaymentState,
    RefundEvent,
    RefundState,
)


@pytest.mark.parametrize(
    ("table", "states", "events"),
    [(PAYMENT_TABLE, PaymentState, PaymentEvent), (REFUND_TABLE, RefundState, RefundEvent)],
)
def test_a_table_has_a_cell_for_every_state_and_event(table, states, events):
    """No event can find a state without an answer."""
    assert set(table) == set(states)

    for state in states:
        assert set(table[state]) == set(events)


def arrows(table, state_type):
    return {
        (state.value, cell.value)
        for state, row in table.items()
        for cell in row.values()
        if isinstance(cell, state_type)
    }


def test_the_payment_has_exactly_the_published_arrows():
    """INIT -> PROCESSING -> SUCCESS | FAIL | TIMEOUT, and no other arrow."""
    expected = {("INIT", "PROCESSING"), ("PROCESSING", "SUCCESS"), ("PROCESSING", "FAIL"), ("PROCESSING", "TIMEOUT")}

    assert expected == arrows(PAYMENT_TABLE, PaymentState)


def test_the_refund_has_exactly_the_published_arrows():
    """REFUND_INIT -> REFUNDING -> REFUND_SUCCESS | REFUND_FAIL, and no other arrow."""
    expected = {("REFUND_INIT", "REFUNDING"), ("REFUNDING", "REFUND_SUCCESS"), ("REFUNDING", "REFUND_FAIL")}

    assert expected == arrows(REFUND_TABLE, RefundState)


def test_the_order_has_exactly_the_published_arrows():
    """CREATED -> PAYING -> PAID | FAILED | CLOSED, derived from the payment's table."""
    order = OrderState
    expected = {
        (order.CREATED, order.PAYING),
        (order.PAYING, order.PAID),
        (order.PAYING, order.FAILED),
        (order.PAYING, order.CLOSED),
    }

    assert expected == ORDER_ARROWS


def test_every_payment_state_drives_one_order_state():
    """The coupling is total, and final drives final."""
    assert set(ORDER_FOLLOWS) == set(PaymentState)
    assert {ORDER_FOLLOWS[state] for state in FINAL_PAYMENT} == FINAL_ORDER


@pytest.mark.parametrize(("table", "final"), [(PAYMENT_TABLE, FINAL_PAYMENT), (REFUND_TABLE, FINAL_REFUND)])
def test_a_final_state_has_no_way_out(table, final):
    """Whatever is said later, a final state stays or contradicts."""
    for state in final:
        assert set(table[state].values()) <= {STAY, CONTRADICTION}


def test_refund_as_trade_state_means_it_had_been_paid():
    """REFUND must never be read as unpaid: that loses the payment."""
    assert TRADE_STATES["REFUND"] is PaymentEvent.PAID


def test_abnormal_is_not_the_end_of_a_refund():
    """ABNORMAL still owes the payer money."""
    assert REFUND_STATUSES["ABNORMAL"] is RefundEvent.STILL_OPEN
