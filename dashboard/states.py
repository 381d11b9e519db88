"""Every state payd or WeChat can name, as glyph, role and word: never told by colour alone.

The words in English are the contract's own; the wording table holds the Chinese ones under `state_<WORD>`.
A word that is not in the table is shown as it came, with a question mark: unknown words are never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.formatting import literal, words
from dashboard.wording import Wording


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks: one glyph and the role its colour comes from."""

    glyph: str
    role: str


ORDER_STATES = ("CREATED", "PAYING", "PAID", "FAILED", "CLOSED")
PAYMENT_STATES = ("INIT", "PROCESSING", "SUCCESS", "FAIL", "TIMEOUT")
REFUND_STATES = ("REFUND_INIT", "REFUNDING", "REFUND_SUCCESS", "REFUND_FAIL")
DISCREPANCY_STATES = ("open", "resolved")
DELIVERY_STATES = ("pending", "delivered", "dead", "disabled")
RESULTS = (
    "applied", "repeat", "contradiction", "headers_missing", "timestamp_skew", "serial_unknown",
    "signature_invalid", "probe", "body_invalid", "decrypt_failed", "event_unknown", "merchant_mismatch",
    "order_unknown", "amount_mismatch", "storage_unavailable",
)  # fmt: skip
CALM_RESULTS = ("applied", "repeat", "probe")
"""Callback verdicts that need nobody's attention."""

_WAITING = ("PAYING", "PROCESSING", "REFUNDING", "pending", "sending", "retrying", "failing", "open")
_BEGUN = ("CREATED", "INIT", "REFUND_INIT")
_DONE = ("PAID", "SUCCESS", "REFUND_SUCCESS", "applied", "delivered", "ok", "resolved", "passed", "pass")
_BAD = ("FAILED", "FAIL", "REFUND_FAIL", "dead", "failed", "fail", "disabled", "error", "abnormal", "not_enough")
_OVER = ("CLOSED", "TIMEOUT", "skipped", "not_reached", "superseded")

LOOKS: dict[str, Look] = {
    **{word: Look("○", "plain") for word in _BEGUN},
    **{word: Look("◐", "wait") for word in _WAITING},
    **{word: Look("✓", "good") for word in _DONE},
    **{word: Look("✗", "bad") for word in _BAD},
    **{word: Look("■", "dim") for word in _OVER},
    "repeat": Look("↻", "dim"),
    "probe": Look("?", "dim"),
    **{word: Look("✗", "bad") for word in RESULTS if word not in CALM_RESULTS},
    "event_unknown": Look("?", "wait"),
}

# Tuples, not sets: what is looked up in them came over the wire and may not be hashable.
FINAL_ORDERS = ("PAID", "FAILED", "CLOSED")
FAULTY_ORDERS = ("FAILED",)
FAULTY_REFUNDS = ("REFUND_FAIL",)


def look_of(state: object) -> Look:
    """The look of a state; a question mark for one nobody knows."""
    return LOOKS.get(state, Look("?", "wait")) if isinstance(state, str) else Look("?", "dim")


def state_text(state: object, say: Wording) -> str:
    """Glyph and word of a state, in the language of the screen where it has a word."""
    if state is None:
        return words(None)
    key = f"state_{state}"
    word = say(key) if say.has(key) else literal(state, limit=40)
    return f"{look_of(state).glyph} {word}"
