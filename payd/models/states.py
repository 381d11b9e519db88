"""The state machines, as tables: everything that decides what may follow what is in this file.

Three machines. The **payment** moves on WeChat's word; the **order** is driven by its payment (`ORDER_FOLLOWS`); the
**refund** stands alone. Each table is total over (state, event). A cell is the next state, `STAY` (a repeat or an old
message: nothing to do) or `CONTRADICTION` (nothing moves; a discrepancy is opened and a metric counts it).
The order's states are stored, but never decided: they follow the payment in the same commit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class OrderState(StrEnum):
    """What the merchant's order is."""

    CREATED = "CREATED"  #: known to payd, not yet sent to WeChat
    PAYING = "PAYING"  #: WeChat may know it; it can be paid
    PAID = "PAID"  #: WeChat says the money came
    FAILED = "FAILED"  #: WeChat refused it for good
    CLOSED = "CLOSED"  #: closed at WeChat unpaid


class PaymentState(StrEnum):
    """What the payment at WeChat is."""

    INIT = "INIT"  #: decided, not yet submitted
    PROCESSING = "PROCESSING"  #: submitted: WeChat may know this number
    SUCCESS = "SUCCESS"  #: paid
    FAIL = "FAIL"  #: refused or failed for good
    TIMEOUT = "TIMEOUT"  #: closed unpaid


class RefundState(StrEnum):
    """What a refund is."""

    REFUND_INIT = "REFUND_INIT"  #: decided, amount reserved
    REFUNDING = "REFUNDING"  #: submitted: WeChat may know this number
    REFUND_SUCCESS = "REFUND_SUCCESS"  #: the payer has the money back
    REFUND_FAIL = "REFUND_FAIL"  #: refused or closed for good; the amount is free again


class PaymentEvent(StrEnum):
    """What can happen to a payment."""

    SUBMITTED = "SUBMITTED"
    STILL_OPEN = "STILL_OPEN"
    PAID = "PAID"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class RefundEvent(StrEnum):
    """What can happen to a refund."""

    SUBMITTED = "SUBMITTED"
    STILL_OPEN = "STILL_OPEN"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"


class Verdict(StrEnum):
    """A cell that is not a next state."""

    STAY = "stay"
    CONTRADICTION = "contradiction"


STAY: Final = Verdict.STAY
CONTRADICTION: Final = Verdict.CONTRADICTION

_P, _E = PaymentState, PaymentEvent
PAYMENT_TABLE: Final[dict[PaymentState, dict[PaymentEvent, PaymentState | Verdict]]] = {
    _P.INIT: {
        _E.SUBMITTED: _P.PROCESSING,
        _E.STILL_OPEN: CONTRADICTION,
        _E.PAID: CONTRADICTION,
        _E.REJECTED: CONTRADICTION,
        _E.EXPIRED: CONTRADICTION,
    },
    _P.PROCESSING: {
        _E.SUBMITTED: STAY,
        _E.STILL_OPEN: STAY,
        _E.PAID: _P.SUCCESS,
        _E.REJECTED: _P.FAIL,
        _E.EXPIRED: _P.TIMEOUT,
    },
    _P.SUCCESS: {
        _E.SUBMITTED: CONTRADICTION,
        _E.STILL_OPEN: STAY,
        _E.PAID: STAY,
        _E.REJECTED: CONTRADICTION,
        _E.EXPIRED: CONTRADICTION,
    },
    _P.FAIL: {
        _E.SUBMITTED: CONTRADICTION,
        _E.STILL_OPEN: STAY,
        _E.PAID: CONTRADICTION,  # late payment
        _E.REJECTED: STAY,
        _E.EXPIRED: STAY,
    },
    _P.TIMEOUT: {
        _E.SUBMITTED: CONTRADICTION,
        _E.STILL_OPEN: STAY,
        _E.PAID: CONTRADICTION,  # late payment
        _E.REJECTED: STAY,
        _E.EXPIRED: STAY,
    },
}

_R, _F = RefundState, RefundEvent
REFUND_TABLE: Final[dict[RefundState, dict[RefundEvent, RefundState | Verdict]]] = {
    _R.REFUND_INIT: {
        _F.SUBMITTED: _R.REFUNDING,
        _F.STILL_OPEN: CONTRADICTION,
        _F.SUCCEEDED: CONTRADICTION,
        _F.REFUSED: CONTRADICTION,
    },
    _R.REFUNDING: {
        _F.SUBMITTED: STAY,
        _F.STILL_OPEN: STAY,
        _F.SUCCEEDED: _R.REFUND_SUCCESS,
        _F.REFUSED: _R.REFUND_FAIL,
    },
    _R.REFUND_SUCCESS: {
        _F.SUBMITTED: CONTRADICTION,
        _F.STILL_OPEN: STAY,
        _F.SUCCEEDED: STAY,
        _F.REFUSED: CONTRADICTION,
    },
    _R.REFUND_FAIL: {
        _F.SUBMITTED: CONTRADICTION,
        _F.STILL_OPEN: STAY,
        _F.SUCCEEDED: CONTRADICTION,
        _F.REFUSED: STAY,
    },
}

#: The coupling: what the order is when its payment is that.
ORDER_FOLLOWS: Final[dict[PaymentState, OrderState]] = {
    _P.INIT: OrderState.CREATED,
    _P.PROCESSING: OrderState.PAYING,
    _P.SUCCESS: OrderState.PAID,
    _P.FAIL: OrderState.FAILED,
    _P.TIMEOUT: OrderState.CLOSED,
}

#: The order's arrows, derived: exactly those that the payment's arrows drive. The storage refuses any other.
ORDER_ARROWS: Final[frozenset[tuple[OrderState, OrderState]]] = frozenset(
    (ORDER_FOLLOWS[state], ORDER_FOLLOWS[cell])
    for state, row in PAYMENT_TABLE.items()
    for cell in row.values()
    if isinstance(cell, PaymentState)
)

#: States without a way out.
FINAL_PAYMENT: Final = frozenset({_P.SUCCESS, _P.FAIL, _P.TIMEOUT})
FINAL_ORDER: Final = frozenset({OrderState.PAID, OrderState.FAILED, OrderState.CLOSED})
FINAL_REFUND: Final = frozenset({_R.REFUND_SUCCESS, _R.REFUND_FAIL})

#: WeChat's `trade_state`. A word that is not here is never guessed: it counts as "not terminal" and is logged.
TRADE_STATES: Final[dict[str, PaymentEvent]] = {
    "SUCCESS": _E.PAID,
    "REFUND": _E.PAID,  # it HAD been paid: at least one refund was accepted
    "NOTPAY": _E.STILL_OPEN,
    "USERPAYING": _E.STILL_OPEN,
    "CLOSED": _E.EXPIRED,
    "REVOKED": _E.EXPIRED,
    "PAYERROR": _E.REJECTED,
}

#: WeChat's refund `status` (API) and `refund_status` (callback). ABNORMAL is not final: the money is still owed.
REFUND_STATUSES: Final[dict[str, RefundEvent]] = {
    "PROCESSING": _F.STILL_OPEN,
    "SUCCESS": _F.SUCCEEDED,
    "CLOSED": _F.REFUSED,
    "ABNORMAL": _F.STILL_OPEN,
}


def next_payment(state: PaymentState, event: PaymentEvent) -> PaymentState | Verdict:
    """Look up what `event` does to a payment in `state`."""
    return PAYMENT_TABLE[state][event]


def next_refund(state: RefundState, event: RefundEvent) -> RefundState | Verdict:
    """Look up what `event` does to a refund in `state`."""
    return REFUND_TABLE[state][event]
