"""The one room for evidence: whoever brings WeChat's word (callback, query, bill, close), it is applied here.

Load, decide, commit; on StaleVersion load and decide again, one at a time. Nothing is announced, counted or
acknowledged before the commit is on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from payd import limits
from payd.core.changes import Decision, Word, new_discrepancy
from payd.core.refund_payment import decide_refund, decide_refund_evidence, refundable_fen
from payd.core.settle_payment import decide_payment_evidence, dispute_transaction
from payd.errors import AlreadyExists, StaleVersion, StorageUnavailable
from payd.logs import get_logger
from payd.metrics import Metrics
from payd.models.changes import ChangeSet, OrderSnapshot, Put
from payd.models.discrepancy import DiscrepancyKind
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.idempotency import IdempotencyRecord
from payd.models.notification import NotificationRecord, NotificationResult
from payd.models.webhook import Announcement, Delivery, WebhookEvent
from payd.models.wechat import Refused, Unclear
from payd.plugin.turns import Turns
from payd.ports import Clock, Storage, WechatPay

#: Makes the deliveries of a decision: announcements, the order after it, now -> rows for the outbox.
Announcer = Callable[[tuple[Announcement, ...], OrderSnapshot, datetime], tuple[Delivery, ...]]

#: What a decision is called in the inspector and the metrics.
RESULTS: Final[dict[str, NotificationResult]] = {
    "applied": NotificationResult.APPLIED,
    "repeat": NotificationResult.REPEAT,
    "waiting": NotificationResult.REPEAT,
    "contradiction": NotificationResult.CONTRADICTION,
    "merchant_mismatch": NotificationResult.MERCHANT_MISMATCH,
    "amount_mismatch": NotificationResult.AMOUNT_MISMATCH,
    "order_unknown": NotificationResult.ORDER_UNKNOWN,
}

#: What AlreadyExists names when another order holds a transaction_id already.
TRANSACTION_ID: Final = "orders.transaction_id"

Receipt = Callable[[NotificationResult], NotificationRecord]


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who we are at WeChat, and whether the money is real."""

    mchid: str
    appid: str
    livemode: bool


class Settlement:
    """Applies evidence and commits decisions. One instance serves the whole process."""

    def __init__(
        self,
        *,
        storage: Storage,
        wechat: WechatPay,
        merchant: Merchant,
        clock: Clock,
        metrics: Metrics,
        announcer: Announcer,
        late_payment_policy: str,
        on_delivery: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._wechat = wechat
        self._merchant = merchant
        self._clock = clock
        self._metrics = metrics
        self._announcer = announcer
        self._late_payment_policy = late_payment_policy
        self._on_delivery = on_delivery
        self._turns = Turns()
        self._log = get_logger("payd.settlement")

    def word(self, source: Source, *, request_id: str | None = None, wechat_request_id: str | None = None) -> Word:
        """Begin a decision: who says it, and when."""
        return Word(source=source, at=self._clock.now(), request_id=request_id, wechat_request_id=wechat_request_id)

    async def payment(
        self, evidence: PaymentEvidence, *, request_id: str | None = None, receipt: Receipt | None = None
    ) -> Decision | None:
        """Apply WeChat's word on a payment; None when payd knows no such order (a discrepancy is opened).

        ``receipt`` makes the inspector's row, committed together. Raises StorageUnavailable: nothing was written.
        """

        async def attempt(refund_taken: bool) -> Decision | None:
            snapshot = await self._storage.load_order(evidence.out_trade_no)
            word = self.word(evidence.source, request_id=request_id, wechat_request_id=evidence.request_id)
            if snapshot is None:
                await self._unknown(evidence, DiscrepancyKind.ORDER_UNKNOWN, word, receipt)
                return None
            decision = decide_payment_evidence(snapshot, evidence, word)
            if not refund_taken:  # else the automatic refund's number is taken: the money is booked all the same
                decision = self._with_policy(decision, word)
            try:
                await self.commit(decision, word, receipt=receipt)
            except AlreadyExists as exc:
                if exc.table != TRANSACTION_ID:
                    raise
                decision = dispute_transaction(snapshot, evidence, word)
                await self.commit(decision, word, receipt=receipt)
            return decision

        return await self._until_it_lands(evidence.out_trade_no, attempt)

    async def refund(
        self, evidence: RefundEvidence, *, request_id: str | None = None, receipt: Receipt | None = None
    ) -> Decision | None:
        """Apply WeChat's word on a refund; None when payd knows no such refund (a discrepancy is opened)."""

        async def attempt(_refund_taken: bool) -> Decision | None:
            snapshot = await self._storage.load_order_of_refund(evidence.out_refund_no)
            word = self.word(evidence.source, request_id=request_id, wechat_request_id=evidence.request_id)
            if snapshot is None:
                await self._unknown(evidence, DiscrepancyKind.REFUND_UNKNOWN, word, receipt)
                return None
            decision = decide_refund_evidence(snapshot, evidence, word)
            await self.commit(decision, word, receipt=receipt)
            return decision

        return await self._until_it_lands(evidence.out_trade_no or evidence.out_refund_no, attempt)

    async def _until_it_lands(
        self, number: str, attempt: Callable[[bool], Awaitable[Decision | None]]
    ) -> Decision | None:
        """Load, decide and commit again while somebody else is quicker: the losers one at a time (D30).

        ``attempt`` is told whether a refund's number was found taken.
        """
        try:
            return await attempt(False)
        except (StaleVersion, AlreadyExists) as exc:
            refund_taken = exc.table == "refunds"
        async with self._turns.of(number):
            for _ in range(limits.CONTENDED_ATTEMPTS_MAX):
                try:
                    return await attempt(refund_taken)
                except (StaleVersion, AlreadyExists) as exc:
                    refund_taken = refund_taken or exc.table == "refunds"
        raise StorageUnavailable("the order kept changing")

    async def _unknown(
        self,
        evidence: PaymentEvidence | RefundEvidence,
        kind: DiscrepancyKind,
        word: Word,
        receipt: Receipt | None,
    ) -> None:
        is_refund = isinstance(evidence, RefundEvidence)
        result = NotificationResult.ORDER_UNKNOWN
        appid = evidence.appid if isinstance(evidence, PaymentEvidence) else None
        for said, ours, other in (
            (evidence.mchid, self._merchant.mchid, DiscrepancyKind.MERCHANT_MISMATCH),
            (appid, self._merchant.appid, DiscrepancyKind.APP_MISMATCH),
        ):
            if said is not None and said != ours and result is NotificationResult.ORDER_UNKNOWN:
                kind, result = other, NotificationResult.MERCHANT_MISMATCH
        total = evidence.refund_fen if isinstance(evidence, RefundEvidence) else evidence.total_fen
        discrepancy = new_discrepancy(
            kind,
            out_trade_no=evidence.out_trade_no,
            out_refund_no=evidence.out_refund_no if isinstance(evidence, RefundEvidence) else None,
            transaction_id=evidence.transaction_id,
            detail={"source": evidence.source.value, "refund_fen" if is_refund else "total_fen": total},
            now=word.at,
        )
        notifications = (receipt(result),) if receipt else ()
        await self._storage.commit(ChangeSet(open_discrepancies=(discrepancy,), notifications=notifications))
        self._log.warning("evidence_without_order", kind=kind.value, out_trade_no=evidence.out_trade_no)

    async def commit(
        self,
        decision: Decision,
        word: Word,
        *,
        receipt: Receipt | None = None,
        idempotency: Put | None = None,
    ) -> OrderSnapshot:
        """Commit a decision with its deliveries, the inspector's row and the idempotency record: all or nothing.

        Returns the order after it. Raises StaleVersion, AlreadyExists or StorageUnavailable; then nothing was written.
        """
        change = decision.change
        if change is None and receipt is None and idempotency is None:
            return decision.snapshot
        change = change or ChangeSet()
        deliveries = (
            self._announcer(decision.announcements, decision.snapshot, word.at) if decision.announcements else ()
        )
        puts = change.puts + tuple(Put(delivery, 0) for delivery in deliveries)
        assert idempotency is None or isinstance(idempotency.record, IdempotencyRecord), "the key's own record"
        await self._storage.commit(
            ChangeSet(
                puts=(*puts, idempotency) if idempotency else puts,
                journal=change.journal,
                ledger=change.ledger,
                open_discrepancies=change.open_discrepancies,
                attempts=change.attempts,
                meta=change.meta,
                notifications=(receipt(RESULTS[decision.result]),) if receipt else (),
            )
        )
        self._count(decision, word)
        if deliveries:
            self._on_delivery()
        return decision.snapshot

    def _count(self, decision: Decision, word: Word) -> None:
        metrics, order = self._metrics, decision.snapshot.order
        for subject, state in decision.moves:
            metrics.transitions.add((subject, state, word.source))
        for announcement in decision.announcements:
            event = announcement.event
            if event in (WebhookEvent.ORDER_PAID, WebhookEvent.ORDER_LATE_PAYMENT):
                metrics.paid_fen.add((order.currency,), order.total_fen)
                metrics.paid_orders.add()
            elif event is WebhookEvent.REFUND_SUCCEEDED and announcement.out_refund_no:
                refund = decision.snapshot.refund(announcement.out_refund_no)
                metrics.refunded_fen.add((order.currency,), refund.refund_fen if refund else 0)
        if word.source is Source.NOTIFICATION:
            return  # the callback's own line says what became of it
        if decision.moves or decision.result not in ("repeat", "waiting", "applied"):
            self._log.info(
                "settled",
                result=decision.result,
                out_trade_no=order.out_trade_no,
                status=order.status.value,
                source=word.source.value,
                request_id=word.request_id,
                wechat_request_id=word.wechat_request_id,
            )

    def _with_policy(self, decision: Decision, word: Word) -> Decision:
        """Follow ``late_payment_policy: refund``: the refund is decided in the same commit as the late money."""
        if self._late_payment_policy != "refund" or decision.change is None:
            return decision
        if not any(announcement.event is WebhookEvent.ORDER_LATE_PAYMENT for announcement in decision.announcements):
            return decision
        order = decision.snapshot.order
        amount = refundable_fen(order)
        if amount < 1:
            return decision
        number, reason = f"LATE-{order.out_trade_no}", "订单已关闭，自动退款"
        wire = self._wechat.refund_body(order, out_refund_no=number, refund_fen=amount, reason=reason, content={})
        second = decide_refund(
            decision.snapshot, out_refund_no=number, refund_fen=amount, reason=reason,
            content={"amount": {"refund": amount}, "reason": reason}, metadata=None, wire_request=wire, word=word,
            due_now=True,
        )  # fmt: skip
        return merge(decision, second)

    async def ask_payment(
        self, out_trade_no: str, *, request_id: str | None = None
    ) -> Decision | Refused | Unclear | None:
        """Ask WeChat about an order and apply the answer. An unclear answer writes nothing here."""
        answer = await self._wechat.query_payment(out_trade_no)
        if isinstance(answer, PaymentEvidence):
            return await self.payment(answer, request_id=request_id)
        return answer

    async def ask_refund(
        self, out_refund_no: str, *, request_id: str | None = None
    ) -> Decision | Refused | Unclear | None:
        """Ask WeChat about a refund and apply the answer. An unclear answer writes nothing here."""
        answer = await self._wechat.query_refund(out_refund_no)
        if isinstance(answer, RefundEvidence):
            return await self.refund(answer, request_id=request_id)
        return answer


def merge(first: Decision, second: Decision) -> Decision:
    """Join two decisions about one order, the second made on the first's outcome, into one commit."""
    assert first.change is not None, "the first writes"
    assert second.change is not None, "the second writes"
    before = {_identity(put): put.replaces for put in first.change.puts}
    puts = {_identity(put): put for put in first.change.puts}
    for put in second.change.puts:
        replaces = before.get(_identity(put), put.replaces)
        puts[_identity(put)] = Put(replace(put.record, version=replaces + 1), replaces)
    orders = {type(put.record): put.record for put in puts.values()}
    snapshot = second.snapshot
    snapshot = OrderSnapshot(
        order=orders.get(type(snapshot.order), snapshot.order),  # type: ignore[arg-type]
        payment=orders.get(type(snapshot.payment), snapshot.payment),  # type: ignore[arg-type]
        refunds=snapshot.refunds,
    )
    change = replace(
        first.change,
        puts=tuple(puts.values()),
        journal=first.change.journal + second.change.journal,
        ledger=first.change.ledger + second.change.ledger,
        open_discrepancies=first.change.open_discrepancies + second.change.open_discrepancies,
    )
    return Decision(
        result=first.result,
        change=change,
        snapshot=snapshot,
        announcements=first.announcements + second.announcements,
        moves=first.moves + second.moves,
    )


def _identity(put: Put) -> tuple[str, str]:
    record: Any = put.record
    key = "out_refund_no" if type(record).__name__ == "Refund" else "out_trade_no"
    return type(record).__name__, str(getattr(record, key))
