"""Takes due deliveries from the storage, sends them, and commits what became of them.

The database is the queue. A crash between the answer and the commit sends the delivery again, under the same
``webhook-id``. Per order and endpoint the storage lists only the oldest pending delivery: order is kept by that alone.
Every endpoint has a lane of its own, so one that hangs never delays another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from payd.config import WebhookConfig
from payd.errors import AlreadyExists, RequestError, StaleVersion, StorageError, StorageUnavailable
from payd.limits import COMMIT_ATTEMPTS_MAX, CONTENDED_ATTEMPTS_MAX, PAGE_LIMIT_MAX, WEBHOOK_CONCURRENCY_MAX
from payd.models.changes import ChangeSet, Put
from payd.models.webhook import Delivery, DeliveryStatus
from payd.ports import Clock, Entropy, Position, Storage, WebhookAnswer, WebhookSender
from payd.webhook.attempts import judge_attempt, says_gone
from payd.webhook.disabled import DisabledEndpoints

#: Seconds that `WebhookDispatcher.close` waits for attempts under way: one that is cut off just goes out again.
CLOSE_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """An attempt that was made; ``answer`` is what must be written."""

    delivery_id: str
    url: str
    answer: WebhookAnswer
    began_at: datetime


class WebhookDispatcher:
    """The outbox's worker. `run` is the work of a ``Periodic``; kick that after every commit that made deliveries.

    At most ``WEBHOOK_CONCURRENCY_MAX`` attempts run at once, shared evenly among the configured endpoints, at least one
    each. ``on_attempt`` is told ``ok``, ``failed`` or ``dead`` after the commit of each attempt. Lives on one loop.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        sender: WebhookSender,
        endpoints: Sequence[WebhookConfig],
        clock: Clock,
        entropy: Entropy,
        on_attempt: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._sender = sender
        self._configured = frozenset(endpoint.url for endpoint in endpoints)
        self._disabled = DisabledEndpoints(self._configured)
        self._clock = clock
        self._entropy = entropy
        self._on_attempt = on_attempt
        self._lane_width = max(1, WEBHOOK_CONCURRENCY_MAX // max(1, len(self._configured)))
        self._list_limit = 4 * max(WEBHOOK_CONCURRENCY_MAX, len(self._configured))  # more than can be under way
        self._under_way: dict[str, str] = {}  # delivery id -> url, between its start and the end of its commit
        self._lanes: Counter[str] = Counter()  # url -> attempts under way
        self._sweeping: set[str] = set()  # endpoints that just said 410 and whose queue is being cleared
        self._unwritten: dict[str, _Sent] = {}  # attempts made whose result the storage could not take yet
        self._set_aside: set[str] = set()  # deliveries whose attempt ended in a mistake of ours: not tried again
        self._mistakes: list[BaseException] = []  # what these mistakes were; `run` raises them
        self._tasks: set[asyncio.Task[None]] = set()
        self._listing = False  # a look for due deliveries is under way
        self._look_again = False  # and must be repeated, because something changed meanwhile
        self._closing = False

    @property
    def disabled(self) -> frozenset[str]:
        """The endpoints that said 410: the outbox makes no deliveries for them."""
        return self._disabled.urls

    async def load_disabled(self) -> None:
        """Read which endpoints said 410 in earlier runs. Before the first `run`."""
        await self._disabled.load(self._storage)

    async def run(self) -> None:
        """Start what is due and has a free place; does not wait for the answers.

        Each attempt that ends looks for more by itself. Raises StorageUnavailable, and once whatever a sending task
        raised by mistake: its delivery is set aside until a restart rather than sent again and again.
        """
        await self._start_due()
        if self._mistakes:
            raise self._mistakes.pop(0)

    async def run_until_idle(self) -> None:
        """Send everything that is due now, and wait until it is written. For the command line and tests."""
        await self.run()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._mistakes:
            raise self._mistakes.pop(0)

    async def resend(self, delivery_id: str) -> Delivery:
        """Make a delivery due now, whatever became of it, under its ``webhook-id``; kick `run` afterwards.

        It waits its turn behind older pending ones about the same order. To an endpoint that said 410 this one delivery
        goes out all the same, and the endpoint stays off.
        Raises RequestError ``not_found``, StorageUnavailable.
        """
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            delivery = await self._storage.load_delivery(delivery_id)
            if delivery is None:
                raise RequestError("not_found")
            now = self._clock.now()
            after = replace(
                delivery, version=delivery.version + 1, status=DeliveryStatus.PENDING, next_at=now, updated_at=now
            )
            try:
                await self._storage.commit(ChangeSet(puts=(Put(after, delivery.version),)))
            except StaleVersion:
                continue
            self._set_aside.discard(delivery_id)
            return after
        raise StaleVersion("deliveries", delivery_id)

    async def enable(self, url: str) -> None:
        """Forget an endpoint's 410. What was disabled meanwhile stays so until it is resent.

        Raises RequestError ``not_found`` for a URL that is not configured, StorageUnavailable.
        """
        if url not in self._configured:
            raise RequestError("not_found")
        await self._storage.commit(ChangeSet(meta=(self._disabled.on_row(url),)))
        self._disabled.switch_on(url)

    async def close(self, *, wait_seconds: float = CLOSE_WAIT_SECONDS) -> None:
        """Start nothing more and wait for what is under way; what takes longer is cut off and goes out again."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- taking ---------------------------------------------------------------------------------------------------

    async def _start_due(self) -> None:
        """Look for due deliveries until there is nothing more to start. One look at a time; others make it go round."""
        self._look_again = True
        if self._listing:
            return
        self._listing = True
        try:
            while self._look_again:
                self._look_again = False
                await self._write_unwritten()
                while await self._start_some():
                    pass
        finally:
            self._listing = False

    async def _start_some(self) -> bool:
        """Start one list's worth; True when there may be more to start."""
        full = {url for url, count in self._lanes.items() if count >= self._lane_width}
        due = await self._storage.due_deliveries(
            self._clock.now(), limit=self._list_limit, skip_urls=full | self._sweeping
        )
        started = [delivery for delivery in due if self._start(delivery)]
        return bool(started) and len(due) == self._list_limit

    def _start(self, delivery: Delivery) -> bool:
        taken = delivery.id in self._under_way or delivery.id in self._unwritten or delivery.id in self._set_aside
        url = delivery.url
        if self._closing or taken or url in self._sweeping or self._lanes[url] >= self._lane_width:
            return False
        self._under_way[delivery.id] = url
        self._lanes[url] += 1
        task = asyncio.ensure_future(self._carry(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._carried)
        return True

    async def _carry(self, delivery: Delivery) -> None:
        ended = False
        try:
            await self._deliver(delivery)
            ended = True
        except StorageError:
            ended = True
            return  # nothing was sent, it is still due; the next `run` meets the same trouble and says so
        finally:
            if not ended:
                self._set_aside.add(delivery.id)
            del self._under_way[delivery.id]
            self._lanes[delivery.url] -= 1
        try:
            await self._start_due()  # what waited for this place in the lane, or behind this one
        except StorageError:
            return  # the same

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._mistakes.append(mistake)

    # -- sending and writing --------------------------------------------------------------------------------------

    async def _deliver(self, listed: Delivery) -> None:
        delivery = await self._storage.load_delivery(listed.id)
        if delivery is None or delivery.status is not DeliveryStatus.PENDING or not self._is_due(delivery):
            return  # the list was read before an earlier attempt was written
        if delivery.url in self._disabled and delivery.version == 1:
            # Decided just before the 410 was known. Later versions were asked for by `resend` and do go out.
            await self._disable([delivery])
            return
        began_at = self._clock.now()
        answer = await self._sender.send(delivery)  # without an attempt on the wire when its endpoint is not configured
        sent = _Sent(delivery.id, delivery.url, answer, began_at)
        try:
            await self._write(sent)
        except StorageError:
            self._unwritten[delivery.id] = sent  # `_write_unwritten` tries again; until then it is not sent again

    async def _write_unwritten(self) -> None:
        """Write what could not be written before. Raises StorageError while that lasts: nothing new is sent then."""
        for sent in list(self._unwritten.values()):
            await self._write(sent)
            del self._unwritten[sent.delivery_id]

    async def _write(self, sent: _Sent) -> None:
        gone = says_gone(sent.answer) and sent.url in self._configured
        if gone:
            self._disabled.switch_off(sent.url)
            await self._clear_queue(sent.url)
        for _ in range(COMMIT_ATTEMPTS_MAX):
            delivery = await self._storage.load_delivery(sent.delivery_id)
            assert delivery is not None, "deliveries are never deleted"
            now = self._clock.now()
            judged = judge_attempt(
                delivery,
                sent.answer,
                began_at=sent.began_at,
                now=now,
                spread=self._entropy.uniform(-1.0, 1.0),
                endpoint_off=self._endpoint_off(sent.url),
            )
            meta = (self._disabled.off_row(sent.url, at=now),) if gone else ()
            try:
                put = Put(judged.after, delivery.version)
                await self._storage.commit(ChangeSet(puts=(put,), attempts=(judged.attempt,), meta=meta))
            except (StaleVersion, AlreadyExists):
                continue  # a resend or a cleared queue came in between: judge it as it is now
            self._on_attempt(judged.outcome)
            if judged.after.status is DeliveryStatus.PENDING and sent.url in self._disabled:
                await self._disable([judged.after])  # its endpoint said 410 to another while this was being written
            return
        raise StorageUnavailable(f"delivery {sent.delivery_id} changes faster than it can be written")

    def _is_due(self, delivery: Delivery) -> bool:
        return delivery.next_at is not None and delivery.next_at <= self._clock.now()

    def _endpoint_off(self, url: str) -> DeliveryStatus | None:
        if url not in self._configured:
            return DeliveryStatus.DEAD
        return DeliveryStatus.DISABLED if url in self._disabled else None

    # -- 410 ------------------------------------------------------------------------------------------------------

    async def _clear_queue(self, url: str) -> None:
        """Disable everything that waits for an endpoint, before its 410 is written: a crash in between asks again."""
        self._sweeping.add(url)
        try:
            after: Position | None = None
            while True:
                rows = await self._storage.list_deliveries(DeliveryStatus.PENDING, limit=PAGE_LIMIT_MAX, after=after)
                waiting = [row for row, _ in rows if row.url == url and row.id not in self._under_way]
                await self._disable(waiting)
                if len(rows) < PAGE_LIMIT_MAX:
                    return
                after = Position(rows[-1][0].created_at, rows[-1][0].id)
        finally:
            self._sweeping.discard(url)

    async def _disable(self, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        puts = tuple(Put(_disabled(delivery, now), delivery.version) for delivery in deliveries)
        try:
            if puts:
                await self._storage.commit(ChangeSet(puts=puts))
        except StaleVersion:
            for delivery in deliveries if len(deliveries) > 1 else ():
                await self._disable([delivery])  # one by one: only those that were changed meanwhile are left alone


def _disabled(delivery: Delivery, now: datetime) -> Delivery:
    return replace(delivery, version=delivery.version + 1, status=DeliveryStatus.DISABLED, next_at=None, updated_at=now)
