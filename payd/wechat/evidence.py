"""WeChat's JSON -> evidence: one reader for queries and notifications, parsed and type-checked, not compared.

The callers have verified the bytes; comparing with the books is the core's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.states import REFUND_STATUSES, TRADE_STATES, PaymentEvent
from payd.wechat.members import (
    Malformed,
    integer,
    optional_integer,
    optional_object,
    optional_text,
    optional_time,
    text,
)

#: What WeChat calls a product in answers -> what it is called in requests.
TRADE_TYPES: Final = {"MWEB": "H5"}

ABNORMAL: Final = "ABNORMAL"


def payment_evidence(members: Mapping[str, Any], *, source: Source, request_id: str | None) -> PaymentEvidence:
    """Read a query answer or a payment notification. A paid order names transaction and amount. Raises Malformed."""
    word = text(members, "trade_state")
    event = TRADE_STATES.get(word)
    amount = optional_object(members, "amount")
    trade_type = optional_text(members, "trade_type")
    evidence = PaymentEvidence(
        source=source,
        out_trade_no=text(members, "out_trade_no"),
        event=event,
        trade_state=word,
        mchid=text(members, "mchid"),
        appid=optional_text(members, "appid"),
        transaction_id=optional_text(members, "transaction_id"),
        total_fen=optional_integer(amount, "total"),
        payer_total_fen=optional_integer(amount, "payer_total"),
        currency=optional_text(amount, "currency"),
        trade_type=None if trade_type is None else TRADE_TYPES.get(trade_type, trade_type),
        bank_type=optional_text(members, "bank_type"),
        openid=optional_text(optional_object(members, "payer"), "openid"),
        success_at=optional_time(members, "success_time"),
        request_id=request_id,
    )
    if event is PaymentEvent.PAID and (evidence.transaction_id is None or evidence.total_fen is None):
        raise Malformed("a paid order without transaction_id or amount.total")
    return evidence


def refund_evidence(
    members: Mapping[str, Any], *, status_member: str, source: Source, request_id: str | None
) -> RefundEvidence:
    """Read a refund answer (``status_member`` = ``status``) or notification (``refund_status``). Raises Malformed."""
    word = text(members, status_member)
    amount = optional_object(members, "amount")
    return RefundEvidence(
        source=source,
        out_refund_no=text(members, "out_refund_no"),
        event=REFUND_STATUSES.get(word),
        status_word=word,
        attention="abnormal" if word == ABNORMAL else None,
        mchid=optional_text(members, "mchid"),
        out_trade_no=text(members, "out_trade_no"),
        transaction_id=text(members, "transaction_id"),
        refund_id=text(members, "refund_id"),
        refund_fen=integer(amount, "refund"),
        total_fen=integer(amount, "total"),
        currency=optional_text(amount, "currency"),
        user_received_account=optional_text(members, "user_received_account"),
        success_at=optional_time(members, "success_time"),
        request_id=request_id,
    )
