"""Callbacks: what is announced, when it is sent, when it is sent again (section 8).

A send is one POST with a fresh timestamp, nonce and signature. It counts as delivered when 200 or 204 comes
back within five seconds; everything else is tried again by the table, with the same ``id``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from payd.sandbox import envelope, views
from payd.sandbox.envelope import Tampering
from payd.sandbox.faults import Fault, Faults
from payd.sandbox.loopback_poster import Heard, LoopbackPoster, is_loopback_url
from payd.sandbox.records import Notification, Order, Refund
from payd.sandbox.world import World

#: schedule -> seconds before each further send: section 8.5 for payments and refunds, 1.7 for the echo
RETRY_SECONDS: dict[str, tuple[int, ...]] = {
    "transaction": (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600),
    "echo": (15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600),
}
#: refund status -> (event_type, summary)
REFUND_EVENTS = {
    "SUCCESS": ("REFUND.SUCCESS", "退款成功"),
    "ABNORMAL": ("REFUND.ABNORMAL", "退款异常"),
    "CLOSED": ("REFUND.CLOSED", "退款关闭"),
}
#: fault kind -> what it tampers with; these sends are wrong and the true one follows by the table
_FORGERIES = {
    "probe": Tampering(probe=True),
    "wrong_signature": Tampering(wrong_signature=True),
    "wrong_serial": Tampering(wrong_serial=True),
    "unsigned": Tampering(unsigned=True),
}
_TRUE = Tampering()


class Notifier:
    """Makes notifications and sends them through the agenda."""

    def __init__(self, world: World, faults: Faults, poster: LoopbackPoster) -> None:
        self._world = world
        self._faults = faults
        self._poster = poster
        self._held: list[str] = []
        self._sending: set[str] = set()

    def announce_payment(self, order: Order, now: float) -> Notification:
        """TRANSACTION.SUCCESS to the order's own ``notify_url``."""
        return self.announce(
            now,
            event_type="TRANSACTION.SUCCESS",
            original_type="transaction",
            summary="支付成功",
            plaintext=views.payment_event(order, self._world.merchant),
            url=order.request["notify_url"],
            out_trade_no=order.out_trade_no,
        )

    def announce_refund(self, record: Refund, now: float) -> Notification | None:
        """REFUND.* to the refund's ``notify_url``; without one WeChat would send nothing in v3 form (7.1)."""
        url = record.request.get("notify_url")
        if url is None:
            return None
        event_type, summary = REFUND_EVENTS[record.status]
        return self.announce(
            now,
            event_type=event_type,
            original_type="refund",
            summary=summary,
            plaintext=views.refund_event(record, self._world.merchant),
            url=url,
            out_trade_no=record.out_trade_no,
            out_refund_no=record.out_refund_no,
        )

    def announce(
        self,
        now: float,
        *,
        event_type: str,
        original_type: str,
        summary: str,
        plaintext: dict[str, Any],
        url: str,
        schedule: str = "transaction",
        out_trade_no: str | None = None,
        out_refund_no: str | None = None,
    ) -> Notification:
        """Put a notification into the book and send it as soon as the agenda turns."""
        allowed = is_loopback_url(url)
        notification = Notification(
            id=self._world.identifiers.notification_id(),
            event_type=event_type,
            original_type=original_type,
            summary=summary,
            plaintext=plaintext,
            url=url,
            schedule=schedule,
            created_at=now,
            state="waiting" if allowed else "refused_by_guard",
            next_at=now if allowed else None,
            out_trade_no=out_trade_no,
            out_refund_no=out_refund_no,
        )
        self._world.book.put(notification)
        if allowed:
            self._world.agenda.at(now, "notification", notification.id)
        return notification

    async def send_due(self, key: str, due: float) -> None:
        """The agenda's action: one send by the table, with the faults that hit it."""
        notification = self._world.book.notifications[key]
        if notification.next_at != due or key in self._sending:
            return
        fault = self._fault(notification)
        if fault is not None and fault.kind in ("late", "reorder"):
            self._put_off(notification, fault, due)
            return
        # next_at stands until the send is judged, so that a simulator killed now sends again when it is back.
        self._sending.add(key)
        try:
            await self._send_with(fault, key, due)
        finally:
            self._sending.discard(key)
        self._release_held(key, due)
        self._world.commit()

    async def _send_with(self, fault: Fault | None, key: str, due: float) -> None:
        if fault is not None and fault.kind == "dropped":
            self._record(key, None, fault="dropped")
            self._end(key, "dropped")
        elif fault is not None and fault.kind == "lost":
            self._record(key, None, fault="lost")
            self._plan_retry(key, due)
        else:
            await self._send_and_judge(key, due, fault)

    def _fault(self, notification: Notification) -> Fault | None:
        subjects = (notification.out_trade_no or "", notification.out_refund_no or "", notification.id)
        fault = self._faults.find("notify", subjects)
        if fault is not None:
            self._faults.use(fault)
            return fault
        return self._faults.nuisance("notify", self._world.switches.nuisance_rate)

    def _put_off(self, notification: Notification, fault: Fault, due: float) -> None:
        next_at = due + max(fault.seconds, 0.001)
        self._world.book.put(replace(notification, next_at=next_at))
        self._world.agenda.at(next_at, "notification", notification.id)
        if fault.kind == "reorder":
            self._held.append(notification.id)
        self._world.commit()

    def _release_held(self, sent: str, now: float) -> None:
        """Another notification was sent: what was held back for it follows now."""
        for key in [key for key in self._held if key != sent]:
            self._held.remove(key)
            notification = self._world.book.notifications[key]
            if notification.next_at is not None:
                self._world.book.put(replace(notification, next_at=now))
                self._world.agenda.at(now, "notification", key)

    async def _send_and_judge(self, key: str, due: float, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        tampering = _FORGERIES.get(kind or "", _TRUE)
        if fault is not None and kind == "stale":
            tampering = Tampering(stale_seconds=int(fault.seconds))
        copies = 2 if kind == "duplicate" else 1
        heard = await asyncio.gather(*(self._send(key, tampering, fault=kind) for _ in range(copies)))
        if any(item.status in (200, 204) for item in heard) and not tampering.forged:
            self._end(key, "delivered")
        else:
            self._plan_retry(key, due)

    def _end(self, key: str, state: str) -> None:
        """Nothing more is sent of this notification by itself."""
        self._world.book.put(replace(self._world.book.notifications[key], state=state, next_at=None))

    def _plan_retry(self, key: str, due: float) -> None:
        notification = self._world.book.notifications[key]
        table = RETRY_SECONDS[notification.schedule]
        if notification.retries >= len(table):
            self._end(key, "given_up")
            return
        next_at = due + table[notification.retries]
        self._world.book.put(replace(notification, next_at=next_at, retries=notification.retries + 1))
        self._world.agenda.at(next_at, "notification", key)

    async def resend(self, key: str, tampering: Tampering) -> list[Heard]:
        """Send once more by hand, ``duplicate`` times at once; the retry table is not touched."""
        notification = self._world.book.notifications[key]
        if not is_loopback_url(notification.url):
            return [self._record(key, None, fault="refused_by_guard")]
        heard = await asyncio.gather(*(self._send(key, tampering, fault="resend") for _ in range(tampering.duplicate)))
        self._world.commit()
        return list(heard)

    async def _send(self, key: str, tampering: Tampering, *, fault: str | None) -> Heard:
        notification = self._world.book.notifications[key]
        signer = self._world.keys.callback_signer(len(notification.attempts))
        headers, body = envelope.build(
            notification,
            tampering,
            key=signer,
            api_v3_key=self._world.merchant.api_v3_key,
            wall_now=self._world.clock.wall(),
        )
        heard = await self._poster.post(notification.url, headers, body)
        return self._record(key, heard, fault=fault, serial=headers.get("Wechatpay-Serial"))

    def _record(self, key: str, heard: Heard | None, *, fault: str | None, serial: str | None = None) -> Heard:
        """Write one attempt into the book; None was never put on the wire."""
        notification = self._world.book.notifications[key]
        outcome = heard or Heard(None, "", f"not sent: {fault}", 0.0)
        attempt = {
            "number": len(notification.attempts) + 1,
            "at": self._world.clock.now(),
            "status": outcome.status,
            "body": outcome.body,
            "error": outcome.error,
            "duration_ms": outcome.duration_ms,
            "fault": fault,
            "serial": serial,
        }
        self._world.book.put(replace(notification, attempts=(*notification.attempts, attempt)))
        return outcome
