"""What the storage tests are made of: a clock that is set by hand, and true histories made by the core's decisions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payd.core.changes import Decision, Word
from payd.core.create_payment import decide_create
from payd.core.postings import fee_charged
from payd.core.refund_payment import decide_refund, decide_refund_evidence
from payd.core.settle_payment import decide_payment_evidence
from payd.models.changes import ChangeSet, OrderSnapshot, Put
from payd.models.discrepancy import Discrepancy, DiscrepancyKind, DiscrepancyStatus
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.idempotency import IdempotencyRecord
from payd.models.notification import NotificationRecord, NotificationResult, Step
from payd.models.order import CreateCommand
from payd.models.states import PaymentEvent, RefundEvent
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus, WebhookEvent
from payd.storage import SqliteStorage, open_storage

START = datetime(2026, 11, 23, 5, 0, 0, tzinfo=UTC)


@dataclass
class HandClock:
    """Time that moves only when a test says so."""

    at: datetime = START
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Histories:
    """Makes decisions as the daemon would, about one merchant's orders. Each call is a second later."""

    clock: HandClock = field(default_factory=HandClock)

    def word(self, source: Source = Source.API) -> Word:
        self.clock.at += timedelta(seconds=1)
        return Word(source=source, at=self.clock.at, request_id="req-1", wechat_request_id=None)

    def create(self, number: str, *, total_fen: int = 1000, trade_type: str = "NATIVE") -> Decision:
        content = {"out_trade_no": number, "amount": {"total": total_fen, "currency": "CNY"}, "b": [1, None, "x"]}
        command = CreateCommand(
            out_trade_no=number, trade_type=trade_type, description="茶 tea", total_fen=total_fen, currency="CNY",
            expire_seconds=7200, openid=None, attach=None, goods_tag=None, detail=None, scene_info=None,
            settle_info=None, support_fapiao=None, metadata={"shop": "7"}, content=content,
        )  # fmt: skip
        return decide_create(
            command, out_trade_no=number, wire_request=b'{"amount":1}', mchid="1900000001", appid="wx1",
            livemode=False, word=self.word(),
        )  # fmt: skip

    def evidence(self, snapshot: OrderSnapshot, event: PaymentEvent, trade_state: str, **more: Any) -> Decision:
        word = self.word(Source.NOTIFICATION)
        evidence = PaymentEvidence(
            source=Source.NOTIFICATION, out_trade_no=snapshot.order.out_trade_no, event=event,
            trade_state=trade_state, mchid="1900000001", appid="wx1", currency="CNY", **more,
        )  # fmt: skip
        return decide_payment_evidence(snapshot, evidence, word)

    def pay(self, snapshot: OrderSnapshot) -> Decision:
        number, total_fen = snapshot.order.out_trade_no, snapshot.order.total_fen
        return self.evidence(
            snapshot, PaymentEvent.PAID, "SUCCESS", transaction_id=f"42{number.replace('-', '').replace('_', '')}",
            total_fen=total_fen, payer_total_fen=total_fen, success_at=self.clock.at, bank_type="OTHERS",
        )  # fmt: skip

    def expire(self, snapshot: OrderSnapshot) -> Decision:
        return self.evidence(snapshot, PaymentEvent.EXPIRED, "CLOSED")

    def refund(self, snapshot: OrderSnapshot, number: str, refund_fen: int) -> Decision:
        return decide_refund(
            snapshot, out_refund_no=number, refund_fen=refund_fen, reason=None, content={"refund": refund_fen},
            metadata=None, wire_request=b"{}", word=self.word(),
        )  # fmt: skip

    def end_refund(self, snapshot: OrderSnapshot, number: str, *, paid_back: bool = True) -> Decision:
        word = self.word(Source.QUERY)
        event, status = (RefundEvent.SUCCEEDED, "SUCCESS") if paid_back else (RefundEvent.REFUSED, "CLOSED")
        evidence = RefundEvidence(
            source=Source.QUERY, out_refund_no=number, event=event, status_word=status, refund_id=f"50{number}",
            success_at=self.clock.at if paid_back else None,
        )  # fmt: skip
        return decide_refund_evidence(snapshot, evidence, word)

    def fee(self, snapshot: OrderSnapshot, fee_fen: int) -> ChangeSet:
        number, at = snapshot.order.out_trade_no, self.word(Source.BILL).at
        return ChangeSet(
            ledger=fee_charged(out_trade_no=number, out_refund_no=None, bill_date=at.date(), fee_fen=fee_fen, at=at)
        )

    def notification(self, number: int, result: NotificationResult = NotificationResult.APPLIED) -> NotificationRecord:
        return NotificationRecord(
            id=f"N{number:04d}", received_at=START + timedelta(seconds=number), wechat_id="EV-1",
            event_type="TRANSACTION.SUCCESS", out_trade_no="order-0001", out_refund_no=None, result=result,
            steps=(Step(step="headers", verdict="ok"), Step(step="signature", verdict="ok")),
        )  # fmt: skip

    def delivery(self, name: str, *, url: str = "https://shop.example/hook", about: str = "order-0001",
                 next_at: datetime | None = START) -> Delivery:  # fmt: skip
        return Delivery(
            id=name, version=1, webhook_id=f"msg_{name}", url=url, type=WebhookEvent.ORDER_PAID, object_key=about,
            out_trade_no=about, out_refund_no=None, payload=b'{"type":"order.paid"}', status=DeliveryStatus.PENDING,
            attempts=0, created_at=START, updated_at=START, next_at=next_at,
        )  # fmt: skip

    def attempted(self, delivery: Delivery, **changes: Any) -> ChangeSet:
        number = delivery.attempts + 1
        after = replace(delivery, version=delivery.version + 1, attempts=number, **changes)
        attempt = DeliveryAttempt(
            delivery_id=delivery.id, number=number, at=START, status=500, error=None, duration_ms=12
        )
        return ChangeSet(puts=(Put(after, delivery.version),), attempts=(attempt,))

    def key(self, scope_key: str, *, expires_at: datetime = START) -> IdempotencyRecord:
        return IdempotencyRecord(
            scope_key=scope_key, version=1, fingerprint="f" * 64, subject_id="order-0001", owner="me",
            lease_until=START, created_at=START, updated_at=START, expires_at=expires_at,
        )  # fmt: skip

    def discrepancy(self, name: str, *, seconds: int = 0) -> Discrepancy:
        at = START + timedelta(seconds=seconds)
        return Discrepancy(
            id=name, version=1, kind=DiscrepancyKind.ORDER_UNKNOWN, status=DiscrepancyStatus.OPEN,
            out_trade_no="nobody-01", out_refund_no=None, transaction_id=None, detail={"z": 1, "a": "词"},
            opened_at=at, updated_at=at,
        )  # fmt: skip


@pytest.fixture
def histories() -> Histories:
    return Histories()


@pytest.fixture
def clock(histories: Histories) -> HandClock:
    return histories.clock


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    return tmp_path / "payd.db"


@pytest.fixture
def sqlite_storage(db_path: Path, clock: HandClock, io_loop: Any) -> Any:
    """The books in a fresh file, closed at the end."""
    storage: SqliteStorage = open_storage(db_path, mode="sandbox", clock=clock)
    yield storage
    io_loop.run_sync(storage.close)
