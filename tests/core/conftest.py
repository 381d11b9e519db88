"""A small world for the pure functions: one command, one order, and how to apply what a decision says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payd.core.changes import Word
from payd.core.create_payment import decide_create
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.order import CreateCommand
from payd.models.states import REFUND_STATUSES, TRADE_STATES

START = datetime(2026, 11, 23, 5, 0, 0, tzinfo=UTC)


class World:
    """Makes words, evidence and orders with sensible defaults; time moves only when told."""

    def __init__(self):
        self.now = START

    def word(self, source=Source.API, **more):
        return Word(source=source, at=self.now, **more)

    def wait(self, **delta):
        self.now += timedelta(**delta)

    def command(self, **changes):
        command = CreateCommand(
            out_trade_no="ORDER001", trade_type="NATIVE", description="tea", total_fen=1000, currency="CNY",
            expire_seconds=7200, openid=None, attach=None, goods_tag=None, detail=None, scene_info=None,
            settle_info=None, support_fapiao=None, metadata=None,
            content={"description": "tea", "amount": {"total": 1000, "currency": "CNY"}},
        )  # fmt: skip
        return replace(command, **changes)

    def create(self, **changes):
        return decide_create(
            self.command(**changes), out_trade_no="ORDER001", wire_request=b"{}", mchid="1900000001",
            appid="wx0000000000000001", livemode=False, word=self.word(),
        )  # fmt: skip

    def payment(self, trade_state="SUCCESS", source=Source.NOTIFICATION, **changes):
        paid = trade_state in ("SUCCESS", "REFUND")
        evidence = PaymentEvidence(
            source=source, out_trade_no="ORDER001", event=TRADE_STATES.get(trade_state), trade_state=trade_state,
            mchid="1900000001", appid="wx0000000000000001", total_fen=1000, currency="CNY",
            payer_total_fen=1000 if paid else None, transaction_id="4200000001" if paid else None,
            success_at=self.now if paid else None,
        )  # fmt: skip
        return replace(evidence, **changes)

    def refund(self, out_refund_no="R1", status="SUCCESS", fen=300, source=Source.NOTIFICATION, **changes):
        evidence = RefundEvidence(
            source=source, out_refund_no=out_refund_no, event=REFUND_STATUSES.get(status), status_word=status,
            attention="abnormal" if status == "ABNORMAL" else None, mchid="1900000001", out_trade_no="ORDER001",
            transaction_id="4200000001", refund_id=f"50{out_refund_no}", refund_fen=fen, total_fen=1000,
        )  # fmt: skip
        return replace(evidence, **changes)


@pytest.fixture
def world():
    return World()
