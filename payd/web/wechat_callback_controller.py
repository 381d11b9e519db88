"""WechatCallbackController: WeChat's notifications, by numbered checks (contract 1.9).

Checks 1-6 (headers, time, serial, signature, envelope, decryption) are ``wechat/notifications.py``'s; here follow:

7. ``original_type`` and ``event_type`` say payment or refund;
8.-11. merchant, order, amount and the move itself: decided in the one room (`plugin/settlement.py`).

204 is answered only after the commit is on disk. Nothing else is done while WeChat waits.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from payd import limits
from payd.core.changes import new_discrepancy
from payd.errors import StorageError, VerificationError
from payd.models.changes import ChangeSet
from payd.models.discrepancy import DiscrepancyKind
from payd.models.evidence import PaymentEvidence
from payd.models.notification import NotificationRecord, NotificationResult, OpenedNotification, Step
from payd.models.states import PaymentEvent
from payd.plugin.settlement import Receipt
from payd.web.answered import log
from payd.web.handler import JSON, Handler

#: (original_type, event_type) that payd acts upon.
PAYMENT_EVENTS: Final = frozenset({("transaction", "TRANSACTION.SUCCESS")})
REFUND_EVENTS: Final = frozenset(
    {("refund", "REFUND.SUCCESS"), ("refund", "REFUND.ABNORMAL"), ("refund", "REFUND.CLOSED")}
)

#: What a failed check is called in metrics and the inspector, by its step.
RESULT_OF_STEP: Final = {
    "headers": NotificationResult.HEADERS_MISSING,
    "timestamp": NotificationResult.TIMESTAMP_SKEW,
    "serial": NotificationResult.SERIAL_UNKNOWN,
    "signature": NotificationResult.SIGNATURE_INVALID,
    "envelope": NotificationResult.BODY_INVALID,
    "decrypt": NotificationResult.DECRYPT_FAILED,
    "resource": NotificationResult.BODY_INVALID,
}


class WechatCallbackController(Handler):
    """POST /pay/notify/wechat: one callback.

    Answers in WeChat's shape; needs no key, for WeChat's signature says who calls.
    """

    #: What the books made of the callback; set when its row is made.
    verdict: NotificationResult | None = None

    def fail(self) -> None:
        """Answer that a mistake of ours is in the way: WeChat sends it again."""
        self._fail(500, "internal_error")

    async def wechat_notify(self) -> None:
        """Verify, apply, and answer, within the deadline; a commit under way then is not cut off, it may land."""
        if len(self.request.body) > limits.BODY_BYTES_MAX:
            self._fail(413, "body_too_large")
            return
        steps: list[Step] = []
        deadline = asyncio.get_running_loop().call_later(limits.NOTIFY_DEADLINE_SECONDS, self._send_again)
        try:
            await self._receive(steps)
        except VerificationError as error:
            deadline.cancel()  # the verdict stands: it is told even when its row takes a second
            await self._reject(error, steps)
        except StorageError:
            self._send_again()
        finally:
            deadline.cancel()

    def _send_again(self) -> None:
        """Tell WeChat to: the database cannot say, or not in time, that it has the callback."""
        if not self.answered:
            self._count(NotificationResult.STORAGE_UNAVAILABLE)
            self._fail(503, "storage unavailable, send again")

    async def _receive(self, steps: list[Step]) -> None:
        opened = await self.services.wechat.open_notification(self.request.headers, self.request.body, steps)
        kind = (opened.original_type, opened.event_type)
        if kind in PAYMENT_EVENTS:
            await self._receive_payment(opened, steps)
        elif kind in REFUND_EVENTS:
            await self._receive_refund(opened, steps)
        else:
            await self._foreign(opened, steps)
        assert self.verdict is not None, "every way through leaves a verdict"
        self._count(self.verdict)
        self.write(204, {}, b"")

    async def _receive_payment(self, opened: OpenedNotification, steps: list[Step]) -> None:
        evidence = self.services.wechat.payment_evidence(opened)
        _require_whole(evidence)
        if evidence.event is not PaymentEvent.PAID:  # TRANSACTION.SUCCESS that does not speak of success
            await self._foreign(opened, steps)
            return
        steps.append(_EVENT_OK)
        receipt = self._receipt(opened, steps, out_trade_no=evidence.out_trade_no, out_refund_no=None)
        await self.services.settlement.payment(evidence, request_id=self.request_id, receipt=receipt)

    async def _receive_refund(self, opened: OpenedNotification, steps: list[Step]) -> None:
        evidence = self.services.wechat.refund_evidence(opened)
        if evidence.status_word != opened.event_type.removeprefix("REFUND."):
            await self._foreign(opened, steps)
            return
        steps.append(_EVENT_OK)
        number = evidence.out_refund_no
        receipt = self._receipt(opened, steps, out_trade_no=evidence.out_trade_no, out_refund_no=number)
        await self.services.settlement.refund(evidence, request_id=self.request_id, receipt=receipt)

    def _receipt(
        self, opened: OpenedNotification, steps: list[Step], *, out_trade_no: str | None, out_refund_no: str | None
    ) -> Receipt:
        """Make the inspector's row once the verdict is known; it is committed with what the verdict writes."""
        told = self.told
        told["out_trade_no"], told["out_refund_no"] = out_trade_no, out_refund_no
        told["event_type"] = opened.event_type
        record_id, received_at = self.services.entropy.token_hex(12), self.services.clock.now()

        def receipt(result: NotificationResult) -> NotificationRecord:
            self.verdict = result
            return NotificationRecord(
                id=record_id,
                received_at=received_at,
                wechat_id=opened.wechat_id,
                event_type=opened.event_type,
                out_trade_no=out_trade_no,
                out_refund_no=out_refund_no,
                result=result,
                steps=(*steps, *_BOOK_STEPS_OF[result]),
            )

        return receipt

    async def _foreign(self, opened: OpenedNotification, steps: list[Step]) -> None:
        """Keep a verified callback that is not ours to act upon: nothing moves, a person is told, 204.

        Another product's, or one whose event and content contradict each other.
        """
        steps.append(Step(step="event", verdict=f"not ours: {opened.original_type} {opened.event_type}"[:200]))
        number = opened.resource.get("out_trade_no")
        number = number if isinstance(number, str) else None
        receipt = self._receipt(opened, steps, out_trade_no=number, out_refund_no=None)
        result = NotificationResult.EVENT_UNKNOWN
        found = new_discrepancy(
            DiscrepancyKind.EVENT_FOREIGN,
            out_trade_no=number,
            out_refund_no=None,
            transaction_id=None,
            detail={"original_type": opened.original_type[:32], "event_type": opened.event_type[:32]},
            now=self.services.clock.now(),
        )
        discrepancies = () if opened.original_type == "security" else (found,)
        await self.services.storage.commit(
            ChangeSet(open_discrepancies=discrepancies, notifications=(receipt(result),))
        )

    async def _reject(self, error: VerificationError, steps: list[Step]) -> None:
        """Answer what could not be verified or opened; keep a row for the inspector if the disk allows."""
        result = RESULT_OF_STEP.get(error.step, NotificationResult.BODY_INVALID)
        if error.reason == "probe":
            result = NotificationResult.PROBE
        self._count(result)
        if result is NotificationResult.DECRYPT_FAILED:  # WeChat signed it: no stranger can cause this line
            log.error("callback_not_opened", request_id=self.request_id,
                      cure="is wechat_pay.api_v3_key the APIv3 key of the merchant console?")  # fmt: skip
        if not steps or steps[-1].verdict == "ok":
            steps.append(Step(step=error.step, verdict=error.reason[:200]))
        record = NotificationRecord(
            id=self.services.entropy.token_hex(12),
            received_at=self.services.clock.now(),
            wechat_id=None,
            event_type=None,
            out_trade_no=None,
            out_refund_no=None,
            result=result,
            steps=tuple(steps),
        )
        if self.services.rejected.allow():
            try:
                async with asyncio.timeout(1):
                    await self.services.storage.commit(ChangeSet(notifications=(record,)))
            except (StorageError, TimeoutError):
                pass  # the refusal stands on its own: it needs no row
        self._fail(error.status, f"{error.step}: {error.reason}")

    def _count(self, result: NotificationResult) -> None:
        if self.answered:  # the deadline was quicker; WeChat sends it again and hears that it is done
            log.warning(
                "callback_concluded_late",
                result=result,
                request_id=self.request_id,
                out_trade_no=self.told.get("out_trade_no"),
            )
            return
        self.told["result"] = result
        self.services.metrics.notifications.add((result,))

    def _fail(self, status: int, message: str) -> None:
        """Answer in WeChat's shape."""
        self.write(status, {"Content-Type": JSON}, orjson.dumps({"code": "FAIL", "message": message[:256]}))


#: What a payment notification must say before it is compared with the books (contract 1.9).
NEEDED: Final = ("mchid", "appid", "total_fen", "currency", "transaction_id")


def _require_whole(evidence: PaymentEvidence) -> None:
    """Refuse a notification that leaves out what must be compared: an absent member agrees with nothing."""
    missing = [name for name in NEEDED if getattr(evidence, name) is None]
    if missing:
        raise VerificationError("resource", f"does not say {', '.join(missing)}", status=400)


#: The numbered checks against the books, in order; each result names the one that failed.
BOOK_STEPS: Final = ("merchant", "order", "amount", "apply")
FAILED_STEP: Final = {
    NotificationResult.MERCHANT_MISMATCH: "merchant",
    NotificationResult.ORDER_UNKNOWN: "order",
    NotificationResult.AMOUNT_MISMATCH: "amount",
    NotificationResult.CONTRADICTION: "apply",
}


def _book_steps(result: NotificationResult) -> tuple[Step, ...]:
    """Write the verdicts of the checks that the books made; those after a failed one were not reached."""
    if result is NotificationResult.EVENT_UNKNOWN:
        return ()
    failed = FAILED_STEP.get(result)
    written = []
    for name in BOOK_STEPS:
        if name == failed:
            written.append(Step(step=name, verdict=result.value))
            break
        written.append(Step(step=name, verdict=result.value if name == "apply" else "ok"))
    return tuple(written)


_BOOK_STEPS_OF: Final = {result: _book_steps(result) for result in NotificationResult}
_EVENT_OK: Final = Step(step="event", verdict="ok")
