"""PayPlugin: the use cases of the merchant's API. Load, decide, commit, act; never a call while a commit is open.

Every method leaves a state from which the same request, or the reconciler, can go on if the process dies anywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from payd import limits
from payd.core.changes import Decision, Word
from payd.core.close_order import decide_close_pending, decide_closed
from payd.core.create_payment import (
    decide_create,
    decide_prepay_answer,
    decide_resubmit,
    differing_fields,
    has_fresh_parameters,
    is_already_paid,
    refusal_counts,
)
from payd.core.refund_payment import (
    check_refund,
    decide_refund,
    decide_refund_answer,
    decide_refund_evidence,
    decide_refund_resubmit,
    decide_refund_unheard,
)
from payd.core.settle_payment import is_payable, keep_asking
from payd.errors import AlreadyExists, Complaint, RequestError, StaleVersion, StorageUnavailable
from payd.models.changes import OrderSnapshot, Put
from payd.models.evidence import RefundEvidence, Source
from payd.models.ids import new_out_refund_no, new_out_trade_no
from payd.models.order import CreateCommand
from payd.models.refund import Refund, RefundCommand
from payd.models.states import PaymentState, RefundState
from payd.models.wechat import Closed, PrepayParameters, Refused, Unclear
from payd.plugin.asking import Asking
from payd.plugin.idempotency import IdempotencyGate, KeyedCall
from payd.plugin.settlement import Merchant, Settlement
from payd.plugin.turns import Turns
from payd.ports import Clock, Entropy, Storage, WechatPay

#: Writes the answer to the merchant: the order (or its refund) after the commit and the outcome's word -> status, body.
Render = Callable[[OrderSnapshot, str], tuple[int, bytes]]

#: WeChat answered, but the database could not take it: the books are shown as they are.
UNWRITTEN = Unclear(reason="storage_unavailable", message="WeChat's answer could not be written")

CREATED, REPEAT, UNKNOWN, REFUSED = "created", "repeat", "unknown", "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the merchant is told. ``replayed``: the stored answer of an earlier request with the same key."""

    status: int
    body: bytes
    replayed: bool = False


class PayPlugin:
    """Core business logic: create, query, close, refund."""

    def __init__(
        self,
        *,
        storage: Storage,
        wechat: WechatPay,
        settlement: Settlement,
        gate: IdempotencyGate,
        clock: Clock,
        entropy: Entropy,
        merchant: Merchant,
    ) -> None:
        self._storage = storage
        self._wechat = wechat
        self._settlement = settlement
        self._gate = gate
        self._clock = clock
        self._entropy = entropy
        self._merchant = merchant
        self._turns = Turns()
        self._asking = Asking(clock)

    # -- create ---------------------------------------------------------------------------------------------------

    async def create(
        self, command: CreateCommand, *, request_id: str, call: KeyedCall | None, render: Render
    ) -> Answer:
        """Create an order and its payment at WeChat, or go on with the one that is there.

        Raises RequestError ``out_trade_no_used``; StorageUnavailable when nothing more could be written.
        """
        if call is not None and call.answer is not None:
            return Answer(*call.answer, replayed=True)
        asked = (call.subject_id if call else None) or command.out_trade_no
        number = asked or self._new_number(new_out_trade_no)
        async with self._turns.of(number):
            snapshot = await self._storage.load_order(number) if asked else None  # a new number is nobody's yet
            if snapshot is None:
                begun = await self._begin_create(command, number, request_id, call)
                if begun is not None:
                    return await self._prepay(begun, True, CREATED, request_id, call, render)
                snapshot = await self._storage.load_order(number)
                assert snapshot is not None, "it exists already, says the storage"
            return await self._repeat_create(snapshot, command, request_id, call, render)

    def _new_number(self, make: Callable[..., str]) -> str:
        return make(now=self._clock.now(), random_hex=self._entropy.token_hex(8))

    async def _begin_create(
        self, command: CreateCommand, number: str, request_id: str, call: KeyedCall | None
    ) -> OrderSnapshot | None:
        """Commit 1 of a new order; None when the number was taken meanwhile."""
        word = self._settlement.word(Source.API, request_id=request_id)
        expires_at = word.at + timedelta(seconds=command.expire_seconds)
        decision = decide_create(
            command,
            out_trade_no=number,
            wire_request=self._wechat.prepay_body(command, out_trade_no=number, expires_at=expires_at),
            mchid=self._merchant.mchid,
            appid=self._merchant.appid,
            livemode=self._merchant.livemode,
            word=word,
        )
        claim = call.claim(number, word.at) if call else None
        try:
            snapshot = await self._settlement.commit(decision, word, idempotency=claim)
        except AlreadyExists as exc:
            if exc.table == "idempotency_keys":
                raise RequestError("idempotency_key_in_use", retry_after=1) from None
            return None
        if call:
            call.landed(claim)
        return snapshot

    async def _repeat_create(
        self,
        snapshot: OrderSnapshot,
        command: CreateCommand,
        request_id: str,
        call: KeyedCall | None,
        render: Render,
    ) -> Answer:
        number = snapshot.order.out_trade_no
        differing = differing_fields(snapshot.order.content, command.content)
        if differing:
            if call:
                await self._gate.bind(call, number)
            complaints = [Complaint(field, "differs from the order that has this out_trade_no") for field in differing]
            raise RequestError("out_trade_no_used", complaints=complaints, out_trade_no=number)
        word = self._settlement.word(Source.API, request_id=request_id)
        payable = is_payable(snapshot.order, snapshot.payment.status, word)
        if not payable or has_fresh_parameters(snapshot, word.at) or snapshot.payment.close_requested:
            refused = snapshot.payment.status is PaymentState.FAIL and snapshot.payment.wechat_code is not None
            outcome = REFUSED if refused and _is_carried_on(call) else REPEAT
            return await self._answer(snapshot, outcome, number, call, render)
        counts = False

        def resubmit(now_is: OrderSnapshot, said: Word) -> Decision:
            nonlocal counts
            counts = refusal_counts(now_is.payment.submissions, absent_at_wechat=now_is.payment.absent_at_wechat)
            return decide_resubmit(now_is, said)

        decided = await self._commit_again(number, resubmit, request_id, first=snapshot)
        if decided.change is None:  # it ended meanwhile: nothing may be sent
            return await self._answer(decided.snapshot, REPEAT, number, call, render)
        return await self._prepay(decided.snapshot, counts, REPEAT, request_id, call, render)

    async def _prepay(
        self,
        snapshot: OrderSnapshot,
        counts: bool,
        good: str,
        request_id: str,
        call: KeyedCall | None,
        render: Render,
    ) -> Answer:
        """Send the prepay and commit its answer, with the key's stored answer in the same commit.

        When that commit cannot be written, the send has happened all the same: 202, and the order is due.
        """
        announced = snapshot
        answer = await self._wechat.prepay(snapshot.order.trade_type, snapshot.payment.wire_request)
        try:
            return await self._conclude_prepay(snapshot, answer, counts, good, request_id, call, render)
        except StorageUnavailable:
            return Answer(*render(announced, UNKNOWN))

    async def _conclude_prepay(
        self,
        snapshot: OrderSnapshot,
        answer: PrepayParameters | Refused | Unclear,
        counts: bool,
        good: str,
        request_id: str,
        call: KeyedCall | None,
        render: Render,
    ) -> Answer:
        number = snapshot.order.out_trade_no
        if isinstance(answer, Refused) and is_already_paid(answer.code):
            await self._settlement.ask_payment(number, request_id=request_id)
            snapshot = await self._storage.load_order(number) or snapshot

        def outcome(decided: OrderSnapshot) -> str:
            if decided.payment.status is PaymentState.FAIL:
                return REFUSED
            return UNKNOWN if decided.payment.outcome == "unknown" else good

        for attempt in range(limits.COMMIT_ATTEMPTS_MAX):
            word = self._settlement.word(Source.API, request_id=request_id, wechat_request_id=answer.request_id)
            decision = decide_prepay_answer(snapshot, answer, counts=counts, word=word)
            status, body = render(decision.snapshot, outcome(decision.snapshot))
            put = call.finish(number, status, body, word.at) if call else None
            if await self._try_commit(decision, word, put, call, attempt):
                return Answer(status, body)
            snapshot = await self._storage.load_order(number) or snapshot
        raise AssertionError("the loop returns or raises")

    async def _try_commit(
        self, decision: Decision, word: Word, put: Put | None, call: KeyedCall | None, attempt: int
    ) -> bool:
        try:
            await self._settlement.commit(decision, word, idempotency=put)
        except (StaleVersion, AlreadyExists):
            if attempt + 1 == limits.COMMIT_ATTEMPTS_MAX:
                raise StorageUnavailable("the order kept changing") from None
            return False
        if call:
            call.landed(put)
        return True

    async def _answer(
        self, snapshot: OrderSnapshot, outcome: str, subject_id: str, call: KeyedCall | None, render: Render
    ) -> Answer:
        """Answer from what is known, and finish the key with it."""
        status, body = render(snapshot, outcome)
        if call is not None:
            word = self._settlement.word(Source.API)
            put = call.finish(subject_id, status, body, word.at)
            if put is not None:
                nothing = Decision(result="repeat", change=None, snapshot=snapshot)
                try:
                    await self._settlement.commit(nothing, word, idempotency=put)
                except (StaleVersion, AlreadyExists):
                    raise RequestError("idempotency_key_in_use", retry_after=1) from None
                call.landed(put)
        return Answer(status, body)

    async def _commit_again(
        self,
        number: str,
        decide: Callable[[OrderSnapshot, Word], Decision],
        request_id: str | None,
        *,
        first: OrderSnapshot,
        source: Source = Source.API,
    ) -> Decision:
        """Commit a decision about an order; on a stale version load and decide again. Returns what was committed."""
        snapshot = first
        for attempt in range(limits.COMMIT_ATTEMPTS_MAX):
            word = self._settlement.word(source, request_id=request_id)
            decision = decide(snapshot, word)
            if await self._try_commit(decision, word, None, None, attempt):
                return decision
            snapshot = await self._storage.load_order(number) or snapshot
        raise AssertionError("the loop returns or raises")

    # -- query and close ------------------------------------------------------------------------------------------

    async def query(
        self, snapshot: OrderSnapshot, *, request_id: str
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        """Refresh an order that is not final and was not asked about in the last seconds.

        Returns the order and, when WeChat could not be understood, what was heard. Never raises for WeChat's sake.
        """
        number = snapshot.order.out_trade_no
        if snapshot.payment.status is not PaymentState.PROCESSING:
            return snapshot, None
        if not self._asking.may_ask(number):
            return snapshot, self._asking.trouble(number)
        return await self._refresh(snapshot, number, self._settlement.ask_payment(number, request_id=request_id))

    async def query_refund(
        self, snapshot: OrderSnapshot, out_refund_no: str, *, request_id: str
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        """Refresh one refund that is still open, by the same rule."""
        refund = snapshot.refund(out_refund_no)
        assert refund is not None, "loaded by this refund"
        asked = f"refund {out_refund_no}"
        if refund.status is not RefundState.REFUNDING:
            return snapshot, None
        if not self._asking.may_ask(asked):
            return snapshot, self._asking.trouble(asked)
        return await self._refresh(snapshot, asked, self._settlement.ask_refund(out_refund_no, request_id=request_id))

    async def _refresh(
        self, snapshot: OrderSnapshot, asked: str, question: Awaitable[Decision | Refused | Unclear | None]
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        """Await a question to WeChat and load the order anew."""
        try:
            said = await question
        except StorageUnavailable:
            self._asking.heard(asked, UNWRITTEN)
            return snapshot, UNWRITTEN
        trouble = said if isinstance(said, (Refused, Unclear)) else None
        self._asking.heard(asked, trouble)
        return await self._storage.load_order(snapshot.order.out_trade_no) or snapshot, trouble

    async def close(
        self, out_trade_no: str, *, request_id: str | None, source: Source = Source.API
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        """Close an unpaid order at WeChat; what WeChat did not confirm is left to the reconciler.

        Returns the order afterwards: CLOSED, PAID (the payment won the race), or PAYING with what was heard.
        Raises RequestError ``order_not_found``.
        """
        async with self._turns.of(out_trade_no):
            snapshot = await self._storage.load_order(out_trade_no)
            if snapshot is None:
                raise RequestError("order_not_found", out_trade_no=out_trade_no)
            if snapshot.payment.status is not PaymentState.PROCESSING:
                return snapshot, None
            answer = await self._wechat.close(out_trade_no)
            try:
                return await self._conclude_close(snapshot, answer, request_id, source)
            except StorageUnavailable:  # the close was asked for: what became of it is found by asking
                return await self._storage.load_order(out_trade_no) or snapshot, UNWRITTEN

    async def _conclude_close(
        self, snapshot: OrderSnapshot, answer: Closed | Refused | Unclear, request_id: str | None, source: Source
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        number = snapshot.order.out_trade_no
        if isinstance(answer, Closed):
            closed = answer

            def decide(now_is: OrderSnapshot, word: Word) -> Decision:
                return decide_closed(now_is, closed, word)

            decided = await self._commit_again(number, decide, request_id, first=snapshot, source=source)
            return decided.snapshot, None
        await self._settlement.ask_payment(number, request_id=request_id)
        snapshot = await self._storage.load_order(number) or snapshot
        if snapshot.payment.status is not PaymentState.PROCESSING:
            return snapshot, None
        pending = await self._commit_again(number, decide_close_pending, request_id, first=snapshot, source=source)
        return pending.snapshot, answer

    # -- refund ---------------------------------------------------------------------------------------------------

    async def refund(
        self, command: RefundCommand, *, request_id: str, call: KeyedCall | None, render: Callable[[str], Render]
    ) -> Answer:
        """Refund all or a part of a paid order, or go on with the refund of that number.

        ``render`` is given the refund's number first. Raises RequestError with the 404 and 409 codes of the contract.
        """
        if call is not None and call.answer is not None:
            return Answer(*call.answer, replayed=True)
        number = (call.subject_id if call else None) or command.out_refund_no or self._new_number(new_out_refund_no)
        write = render(number)
        async with self._turns.of(f"refund {number}"):
            known = await self._storage.load_order_of_refund(number)
            if known is None:
                begun = await self._begin_refund(command, number, request_id, call)
                if begun is not None:
                    return await self._send_refund(begun, number, True, CREATED, request_id, call, write)
                known = await self._storage.load_order_of_refund(number)
                assert known is not None, "it exists already, says the storage"
            return await self._repeat_refund(known, command, number, request_id, call, write)

    async def _begin_refund(
        self, command: RefundCommand, number: str, request_id: str, call: KeyedCall | None
    ) -> OrderSnapshot | None:
        for attempt in range(limits.COMMIT_ATTEMPTS_MAX):
            snapshot = await self._order_of(command)
            word = self._settlement.word(Source.API, request_id=request_id)
            try:
                check_refund(snapshot, command.refund_fen, word)
            except RequestError:
                if call:
                    await self._gate.bind(call, number)
                raise
            decision = decide_refund(
                snapshot,
                out_refund_no=number,
                refund_fen=command.refund_fen,
                reason=command.reason,
                content=command.content,
                metadata=command.metadata,
                wire_request=self._wechat.refund_body(
                    snapshot.order,
                    out_refund_no=number,
                    refund_fen=command.refund_fen,
                    reason=command.reason,
                    content=command.content,
                ),
                word=word,
            )
            claim = call.claim(number, word.at) if call else None
            try:
                after = await self._settlement.commit(decision, word, idempotency=claim)
            except (AlreadyExists, StaleVersion) as exc:
                if exc.table == "idempotency_keys":
                    raise RequestError("idempotency_key_in_use", retry_after=1) from None
                if exc.table == "refunds":
                    return None
                if attempt + 1 == limits.COMMIT_ATTEMPTS_MAX:
                    raise StorageUnavailable("the order kept changing") from None
                continue
            if call:
                call.landed(claim)
            return after
        raise AssertionError("the loop returns or raises")

    async def _order_of(self, command: RefundCommand) -> OrderSnapshot:
        if command.out_trade_no is not None:
            snapshot = await self._storage.load_order(command.out_trade_no)
        else:
            assert command.transaction_id is not None, "validated: one of the two is there"
            snapshot = await self._storage.load_order_by_transaction(command.transaction_id)
        if snapshot is None:
            raise RequestError("order_not_found", out_trade_no=command.out_trade_no or command.transaction_id)
        return snapshot

    async def _repeat_refund(
        self,
        snapshot: OrderSnapshot,
        command: RefundCommand,
        number: str,
        request_id: str,
        call: KeyedCall | None,
        render: Render,
    ) -> Answer:
        refund = _refund_of(snapshot, number)
        differing = differing_fields(refund.content, command.content)
        for member, ours in (
            ("out_trade_no", snapshot.order.out_trade_no),
            ("transaction_id", snapshot.order.transaction_id),
        ):
            if getattr(command, member) not in (None, ours):
                differing.insert(0, member)
        if differing:
            if call:
                await self._gate.bind(call, number)
            complaints = [Complaint(field, "differs from the refund that has this number") for field in differing]
            raise RequestError("out_refund_no_used", complaints=complaints, out_refund_no=number)
        was_open = refund.status is RefundState.REFUNDING
        ends_here = was_open or _is_carried_on(call)
        if was_open and refund.outcome == "unknown":
            try:
                snapshot, _ = await self.carry_on_refund(snapshot, number, request_id=request_id)
            except StorageUnavailable:  # it may have been sent: what became of it is found by asking
                return Answer(*render(snapshot, UNKNOWN))
        outcome = _refund_outcome(snapshot, number, REPEAT, was_open=ends_here)
        return await self._answer(snapshot, outcome, number, call, render)

    async def carry_on_refund(
        self, snapshot: OrderSnapshot, number: str, *, request_id: str | None, source: Source = Source.API
    ) -> tuple[OrderSnapshot, Refused | Unclear | None]:
        """Go on with a refund whose outcome is open: ask first; send again only on a signed "no such refund"."""
        order_number = snapshot.order.out_trade_no
        refund = _refund_of(snapshot, number)
        if not refund.absent_at_wechat:
            said = await self._settlement.ask_refund(number, request_id=request_id)
            snapshot = await self._storage.load_order(order_number) or snapshot
            refund = _refund_of(snapshot, number)
            if isinstance(said, (Refused, Unclear)):
                return await self._note_refund(snapshot, number, said, request_id, source), said
        if refund.status is not RefundState.REFUNDING or not refund.absent_at_wechat:
            return snapshot, None
        decided = await self._commit_again(
            order_number,
            lambda now_is, word: decide_refund_resubmit(now_is, number, word),
            request_id,
            first=snapshot,
            source=source,
        )
        if decided.change is None:  # somebody else sent it, or it ended: nothing may be sent
            return decided.snapshot, None
        return await self._submit_refund(decided.snapshot, number, True, request_id, source), None

    async def _note_refund(
        self, snapshot: OrderSnapshot, number: str, said: Refused | Unclear, request_id: str | None, source: Source
    ) -> OrderSnapshot:
        """Keep what an unclear query heard and the next due time; a refused query ends nothing."""
        noted = await self._commit_again(
            snapshot.order.out_trade_no,
            lambda now_is, word: decide_refund_unheard(now_is, number, said, word),
            request_id,
            first=snapshot,
            source=source,
        )
        return noted.snapshot

    async def _submit_refund(
        self, snapshot: OrderSnapshot, number: str, counts: bool, request_id: str | None, source: Source
    ) -> OrderSnapshot:
        answer = await self._wechat.refund(_refund_of(snapshot, number).wire_request, out_refund_no=number)
        decide = _decide(number, answer, counts)
        decided = await self._commit_again(
            snapshot.order.out_trade_no, decide, request_id, first=snapshot, source=source
        )
        return decided.snapshot

    async def _send_refund(
        self,
        snapshot: OrderSnapshot,
        number: str,
        counts: bool,
        good: str,
        request_id: str,
        call: KeyedCall | None,
        render: Render,
    ) -> Answer:
        """Send the refund and commit its answer, with the key's stored answer in the same commit.

        When that commit cannot be written, the send has happened all the same: 202 with the number, and it is due.
        """
        answer = await self._wechat.refund(_refund_of(snapshot, number).wire_request, out_refund_no=number)
        announced, decide = snapshot, _decide(number, answer, counts)
        try:
            for attempt in range(limits.COMMIT_ATTEMPTS_MAX):
                word = self._settlement.word(Source.API, request_id=request_id, wechat_request_id=answer.request_id)
                decision = decide(snapshot, word)
                status, body = render(decision.snapshot, _refund_outcome(decision.snapshot, number, good))
                put = call.finish(number, status, body, word.at) if call else None
                if await self._try_commit(decision, word, put, call, attempt):
                    return Answer(status, body)
                snapshot = await self._storage.load_order(snapshot.order.out_trade_no) or snapshot
        except StorageUnavailable:
            return Answer(*render(announced, UNKNOWN))
        raise AssertionError("the loop returns or raises")

    # -- what the reconciler asks for -----------------------------------------------------------------------------

    async def follow_payment(self, out_trade_no: str) -> bool:
        """Ask about a due payment; close it when its time is over. Returns whether its state moved."""
        before = await self._storage.load_order(out_trade_no)
        if before is None:
            return False
        said = await self._settlement.ask_payment(out_trade_no)
        snapshot = await self._storage.load_order(out_trade_no) or before
        over = self._clock.now() >= snapshot.order.expires_at or snapshot.payment.close_requested
        if snapshot.payment.status is PaymentState.PROCESSING and over:
            snapshot, _ = await self.close(out_trade_no, request_id=None, source=Source.QUERY)
        elif isinstance(said, (Refused, Unclear)):
            await self._commit_again(out_trade_no, _keep_asking, None, first=snapshot, source=Source.QUERY)
        return snapshot.order.status is not before.order.status or snapshot.order.late is not before.order.late

    async def follow_refund(self, out_refund_no: str) -> bool:
        """Ask about a due refund; send it again when WeChat does not know it. Returns whether its state moved."""
        async with self._turns.of(f"refund {out_refund_no}"):
            before = await self._storage.load_order_of_refund(out_refund_no)
            if before is None:
                return False
            after, _ = await self.carry_on_refund(before, out_refund_no, request_id=None, source=Source.QUERY)
        return _refund_of(after, out_refund_no).status is not _refund_of(before, out_refund_no).status


def _keep_asking(snapshot: OrderSnapshot, word: Word) -> Decision:
    return keep_asking(snapshot, word, result="waiting")


def _is_carried_on(call: KeyedCall | None) -> bool:
    """Tell whether a key's first request had no final answer yet: then the end is told as that request would have.

    Whether the refusal was heard by this request or by the reconciler in between must make no difference to its key.
    """
    return call is not None and call.subject_id is not None


def _refund_of(snapshot: OrderSnapshot, out_refund_no: str) -> Refund:
    refund = snapshot.refund(out_refund_no)
    assert refund is not None, "the order was loaded by this refund"
    return refund


def _refund_outcome(snapshot: OrderSnapshot, out_refund_no: str, good: str, *, was_open: bool = True) -> str:
    refund = _refund_of(snapshot, out_refund_no)
    if refund.status is RefundState.REFUND_FAIL and was_open and refund.wechat_code is not None:
        return REFUSED
    return UNKNOWN if refund.outcome == "unknown" else good


def _decide(
    number: str, answer: RefundEvidence | Refused | Unclear, counts: bool
) -> Callable[[OrderSnapshot, Word], Decision]:
    """Choose what WeChat's answer to a refund writes."""

    def decide(snapshot: OrderSnapshot, word: Word) -> Decision:
        if isinstance(answer, RefundEvidence):
            return decide_refund_evidence(snapshot, answer, word)
        return decide_refund_answer(snapshot, number, answer, counts=counts, word=word)

    return decide


__all__ = ["CREATED", "REFUSED", "REPEAT", "UNKNOWN", "Answer", "Merchant", "PayPlugin", "Render"]
