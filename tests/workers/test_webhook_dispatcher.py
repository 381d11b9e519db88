"""The outbox's worker over real HTTP and real SQLite: order, fairness, retries, 410, crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from tornado.ioloop import IOLoop

from payd.config import WebhookConfig
from payd.core.schedules import WEBHOOK_LADDER
from payd.errors import RequestError, StorageUnavailable
from payd.limits import WEBHOOK_CONCURRENCY_MAX
from payd.models.changes import ChangeSet, Put
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus, WebhookEvent
from payd.ports import Storage
from payd.storage import SqliteStorage, open_storage
from payd.webhook.sender import HttpWebhookSender
from payd.workers.webhook_dispatcher import WebhookDispatcher
from tests.webhook.receiver import OTHER_SECRET, SECRET, Answer, CountingEntropy, ManualClock, Receiver

PENDING, DELIVERED, DEAD, DISABLED = (
    DeliveryStatus.PENDING,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.DEAD,
    DeliveryStatus.DISABLED,
)


class Shop:
    """One merchant's outbox: storage in a file, receivers on loopback, dispatchers that come and go."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.entropy = CountingEntropy()
        self.outcomes: list[str] = []
        self.path = path
        self.storage = self.open()
        self.receivers: list[Receiver] = []
        self.opened: list[WebhookDispatcher] = []
        self.senders: list[HttpWebhookSender] = []
        self._made = 0

    def open(self) -> SqliteStorage:
        return open_storage(self.path, mode="sandbox", clock=self.clock)

    def receiver(self) -> Receiver:
        self.receivers.append(Receiver())
        return self.receivers[-1]

    def dispatcher(
        self, *urls: str, storage: Storage | None = None, secrets: Sequence[str] = (SECRET,)
    ) -> WebhookDispatcher:
        chosen = tuple(SecretStr(secret) for secret in secrets)
        endpoints = [WebhookConfig(url=url, secrets=chosen, allow_private_addresses=True) for url in urls]
        self.senders.append(HttpWebhookSender(endpoints, clock=self.clock))
        made = WebhookDispatcher(
            storage=storage or self.storage,
            sender=self.senders[-1],
            endpoints=endpoints,
            clock=self.clock,
            entropy=self.entropy,
            on_attempt=self.outcomes.append,
        )
        self.opened.append(made)
        return made

    async def announce(self, url: str, *object_keys: str, name: str = "") -> list[Delivery]:
        """Commit one new delivery per object, due now, in one commit."""
        now = self.clock.now()
        made = []
        for key in object_keys:
            self._made += 1
            made.append(
                Delivery(
                    id=f"dlv_{self._made}", version=1, webhook_id=name or f"msg_{self._made}", url=url,
                    type=WebhookEvent.ORDER_PAID, object_key=key, out_trade_no=key, out_refund_no=None,
                    payload=f'{{"type":"order.paid","data":"{key}"}}'.encode(), status=PENDING, attempts=0,
                    created_at=now, updated_at=now, next_at=now,
                )
            )  # fmt: skip
        await self.storage.commit(ChangeSet(puts=tuple(Put(delivery, 0) for delivery in made)))
        return made

    async def now(self, delivery: Delivery) -> Delivery:
        """Load it as it is on disk."""
        found = await self.storage.load_delivery(delivery.id)
        assert found is not None
        return found

    async def attempts(self, delivery: Delivery) -> tuple[DeliveryAttempt, ...]:
        rows = await self.storage.list_deliveries(None, limit=100, after=None)
        return next(attempts for row, attempts in rows if row.id == delivery.id)

    async def close(self) -> None:
        for receiver in self.receivers:
            receiver.let_go()
        for dispatcher in self.opened:
            await dispatcher.close()
        for sender in self.senders:
            await sender.close()
        for receiver in self.receivers:
            await receiver.close()
        await self.storage.close()


@pytest.fixture
def shop(io_loop: IOLoop, tmp_path: Path) -> Iterator[Shop]:
    made: Shop = io_loop.run_sync(lambda: _coroutine(lambda: Shop(tmp_path / "payd.db")))
    yield made
    io_loop.run_sync(made.close)


async def _coroutine(make: Callable[[], Shop]) -> Shop:
    return make()


class Faulty:
    """The real storage with what one cannot provoke: refused commits, lists read too early, others that come first.

    ``meanwhile`` happens once, before the next commit is carried out.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.refuse_commits = False
        self.early_list: Sequence[Delivery] | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.wrote = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    async def commit(self, change: ChangeSet) -> None:
        if self.refuse_commits:
            raise StorageUnavailable("the disk is full")
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        await self._storage.commit(change)
        self.wrote.set()

    async def due_deliveries(self, now: object, *, limit: int, skip_urls: Collection[str] = ()) -> Sequence[Delivery]:
        if self.early_list is not None:
            listed, self.early_list = self.early_list, None
            return listed
        return await self._storage.due_deliveries(now, limit=limit, skip_urls=skip_urls)  # type: ignore[arg-type]


# -- sending ------------------------------------------------------------------------------------------------------


async def test_a_due_delivery_goes_out_signed_and_is_written(shop: Shop) -> None:
    """2xx: delivered, with its attempt."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")

    await shop.dispatcher(receiver.url()).run_until_idle()

    (request,) = receiver.received
    assert request.verify() == {"type": "order.paid", "data": "P1"}
    assert request.webhook_id == made.webhook_id
    after = await shop.now(made)
    assert (after.status, after.attempts, after.next_at) == (DELIVERED, 1, None)
    assert [(a.number, a.status, a.error) for a in await shop.attempts(made)] == [(1, 200, None)]
    assert shop.outcomes == ["ok"]


async def test_nothing_goes_out_before_its_time(shop: Shop) -> None:
    """Due is due by the clock, not by being there."""
    receiver = shop.receiver()
    dispatcher = shop.dispatcher(receiver.url())
    receiver.usual = Answer(500)
    (made,) = await shop.announce(receiver.url(), "P1")
    await dispatcher.run_until_idle()

    shop.clock.advance(WEBHOOK_LADDER[0] - 0.001)
    await dispatcher.run_until_idle()

    assert len(receiver.received) == 1
    assert (await shop.now(made)).attempts == 1


async def test_everything_due_goes_out_in_one_run(shop: Shop) -> None:
    """An attempt that ends makes room for the next: no waiting for the worker's interval."""
    receiver = shop.receiver()
    await shop.announce(receiver.url(), *(f"P{n}" for n in range(100)))

    await shop.dispatcher(receiver.url()).run_until_idle()

    assert {request.content["data"] for request in receiver.received} == {f"P{n}" for n in range(100)}
    assert len(receiver.received) == 100


async def test_what_is_told_about_one_object_arrives_in_order(shop: Shop) -> None:
    """The second event of an order waits until the first was taken; other orders do not wait."""
    receiver = shop.receiver()
    receiver.script = [Answer(500)]
    first, second = await shop.announce(receiver.url(), "P1", "P1")
    dispatcher = shop.dispatcher(receiver.url())

    await dispatcher.run_until_idle()
    before = [request.webhook_id for request in receiver.received]
    await shop.announce(receiver.url(), "P2", name="msg_other")
    await dispatcher.run_until_idle()
    shop.clock.advance(10)
    await dispatcher.run_until_idle()

    assert before == [first.webhook_id]
    assert [request.webhook_id for request in receiver.received] == [
        first.webhook_id, "msg_other", first.webhook_id, second.webhook_id,
    ]  # fmt: skip


async def test_a_slow_endpoint_never_delays_another(shop: Shop) -> None:
    """A hundred deliveries hang at one endpoint; what comes later for the other arrives and is written."""
    slow, quick = shop.receiver(), shop.receiver()
    slow.hold()
    stuck = await shop.announce(slow.url(), *(f"S{n}" for n in range(100)))
    dispatcher = shop.dispatcher(slow.url(), quick.url())
    await dispatcher.run()
    await slow.until(WEBHOOK_CONCURRENCY_MAX // 2)

    made = await shop.announce(quick.url(), *(f"Q{n}" for n in range(30)))
    await dispatcher.run()
    await quick.until(30)

    assert {request.content["data"] for request in quick.received} == {f"Q{n}" for n in range(30)}
    assert len(slow.received) == WEBHOOK_CONCURRENCY_MAX // 2
    slow.let_go()
    await dispatcher.run_until_idle()
    assert {(await shop.now(d)).status for d in [*made, *stuck]} == {DELIVERED}


async def test_attempts_at_once_are_bounded(shop: Shop) -> None:
    """A single endpoint has all places, and no more."""
    receiver = shop.receiver()
    receiver.hold()
    await shop.announce(receiver.url(), *(f"P{n}" for n in range(40)))
    dispatcher = shop.dispatcher(receiver.url())

    await dispatcher.run()
    await receiver.until(WEBHOOK_CONCURRENCY_MAX)
    await dispatcher.run()

    assert len(receiver.received) == WEBHOOK_CONCURRENCY_MAX
    receiver.let_go()
    await dispatcher.run_until_idle()
    assert len(receiver.received) == 40


async def test_what_is_under_way_is_not_started_again(shop: Shop) -> None:
    """A run during a slow attempt does not repeat it."""
    receiver = shop.receiver()
    receiver.hold()
    await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())

    await dispatcher.run()
    await receiver.until(1)
    await dispatcher.run()
    receiver.let_go()
    await dispatcher.run_until_idle()

    assert len(receiver.received) == 1


async def test_a_list_read_too_early_sends_nothing_twice(shop: Shop) -> None:
    """A delivery that was written as delivered while the list was being read does not go out again."""
    receiver = shop.receiver()
    listed = await shop.announce(receiver.url(), "P1")
    storage = Faulty(shop.storage)
    dispatcher = shop.dispatcher(receiver.url(), storage=storage)  # type: ignore[arg-type]
    await dispatcher.run_until_idle()

    storage.early_list = listed
    await dispatcher.run_until_idle()

    assert len(receiver.received) == 1
    assert shop.outcomes == ["ok"]


# -- failures -----------------------------------------------------------------------------------------------------


async def test_failures_are_repeated_for_three_days_and_then_dead(shop: Shop) -> None:
    """Every rung of the ladder, each under the same webhook-id; in the end a person must resend it."""
    receiver = shop.receiver()
    receiver.usual = Answer(503)
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    began = shop.clock.now()
    delays = []

    await dispatcher.run_until_idle()
    while (next_at := (await shop.now(made)).next_at) is not None:
        delays.append((next_at - shop.clock.now()).total_seconds())
        shop.clock.advance(delays[-1])
        await dispatcher.run_until_idle()

    after = await shop.now(made)
    assert delays == list(WEBHOOK_LADDER)
    assert (after.status, after.attempts) == (DEAD, len(WEBHOOK_LADDER) + 1)
    assert timedelta(days=2.5) < shop.clock.now() - began < timedelta(days=3.5)
    assert {request.webhook_id for request in receiver.received} == {made.webhook_id}
    assert shop.outcomes == ["failed"] * len(WEBHOOK_LADDER) + ["dead"]
    assert [a.number for a in await shop.attempts(made)] == list(range(1, len(WEBHOOK_LADDER) + 2))


async def test_an_endpoint_that_is_down_is_tried_again(shop: Shop) -> None:
    """No answer is a failure with its reason, and the next attempt may succeed."""
    receiver = shop.receiver()
    url = receiver.url()
    await receiver.close()
    (made,) = await shop.announce(url, "P1")
    dispatcher = shop.dispatcher(url)

    await dispatcher.run_until_idle()

    after = await shop.now(made)
    (attempt,) = await shop.attempts(made)
    assert (after.status, after.attempts) == (PENDING, 1)
    assert attempt.status is None
    assert attempt.error is not None
    assert attempt.error.startswith("cannot connect")


async def test_an_endpoint_that_left_the_configuration_gets_nothing(shop: Shop) -> None:
    """Its deliveries are dead with the reason; nothing is sent anywhere."""
    receiver, other = shop.receiver(), shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")

    await shop.dispatcher(other.url()).run_until_idle()

    after = await shop.now(made)
    (attempt,) = await shop.attempts(made)
    assert (after.status, after.next_at) == (DEAD, None)
    assert (attempt.status, attempt.error) == (None, "the endpoint is no longer in the configuration")
    assert receiver.received == other.received == []
    assert shop.outcomes == ["dead"]


async def test_a_changed_secret_holds_for_what_was_decided_before(shop: Shop) -> None:
    """Signatures are made when it goes out: after a restart with a new secret everything is signed with that."""
    receiver = shop.receiver()
    receiver.script = [Answer(500)]
    await shop.announce(receiver.url(), "P1")
    await shop.dispatcher(receiver.url()).run_until_idle()

    shop.clock.advance(10)
    await shop.dispatcher(receiver.url(), secrets=(OTHER_SECRET,)).run_until_idle()

    first, second = receiver.received
    first.verify(SECRET)
    second.verify(OTHER_SECRET)
    assert first.body == second.body


# -- 410 ----------------------------------------------------------------------------------------------------------


async def test_410_disables_the_endpoint_and_all_that_waits_for_it(shop: Shop) -> None:
    """One request is made, not one per delivery; the other endpoint goes on."""
    gone, other = shop.receiver(), shop.receiver()
    gone.usual = Answer(410)
    await shop.announce(gone.url(), "P0")
    waiting = await shop.announce(gone.url(), *["P0"] * 150)
    fine = await shop.announce(other.url(), "P1")
    dispatcher = shop.dispatcher(gone.url(), other.url())

    await dispatcher.run_until_idle()

    assert len(gone.received) == 1
    assert {(await shop.now(delivery)).status for delivery in waiting} == {DISABLED}
    assert (await shop.now(fine[0])).status is DELIVERED
    assert dispatcher.disabled == frozenset({gone.url()})


async def test_410_survives_a_restart(shop: Shop) -> None:
    """The next process knows it before it sends or makes anything."""
    receiver = shop.receiver()
    receiver.usual = Answer(410)
    (made,) = await shop.announce(receiver.url(), "P1")
    await shop.dispatcher(receiver.url()).run_until_idle()
    await shop.storage.close()
    shop.storage = shop.open()

    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.load_disabled()
    await dispatcher.run_until_idle()

    assert dispatcher.disabled == frozenset({receiver.url()})
    assert (await shop.now(made)).status is DISABLED
    assert len(receiver.received) == 1


async def test_what_was_decided_just_before_a_410_is_not_sent(shop: Shop) -> None:
    """A delivery that lands after the queue was cleared is disabled without an attempt."""
    receiver = shop.receiver()
    receiver.usual = Answer(410)
    await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()

    (late,) = await shop.announce(receiver.url(), "P2")
    await dispatcher.run_until_idle()

    after = await shop.now(late)
    assert (after.status, after.attempts) == (DISABLED, 0)
    assert len(receiver.received) == 1


async def test_an_attempt_under_way_when_its_endpoint_says_410_ends_by_itself(shop: Shop) -> None:
    """Its failure is not repeated; its success counts."""
    receiver = shop.receiver()
    receiver.hold()
    answers = {"P1": 410, "P2": 500, "P3": 200}

    async def answer(request: object) -> Answer:
        return Answer(answers[request.content["data"]])  # type: ignore[attr-defined]

    receiver.answer = answer
    first, second, third = await shop.announce(receiver.url(), "P1", "P2", "P3")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run()
    await receiver.until(3)

    receiver.let_go()
    await dispatcher.run_until_idle()
    shop.clock.advance(86_400)
    await dispatcher.run_until_idle()

    assert (await shop.now(first)).status is DISABLED
    assert (await shop.now(second)).status is DISABLED
    assert (await shop.now(third)).status is DELIVERED
    assert len(receiver.received) == 3


async def test_a_failure_that_is_being_written_when_its_endpoint_says_410_is_not_repeated(shop: Shop) -> None:
    """Judged before the 410 was known, written after it: disabled all the same."""
    receiver = shop.receiver()
    first, second = await shop.announce(receiver.url(), "P1", "P2")
    first_is_judged = asyncio.Event()

    async def answer(request: object) -> Answer:
        if request.content["data"] == "P1":  # type: ignore[attr-defined]
            return Answer(500)
        await first_is_judged.wait()
        return Answer(410)

    async def second_is_written() -> None:
        first_is_judged.set()
        while (await shop.now(second)).status is not DISABLED:
            await storage.wrote.wait()
            storage.wrote.clear()

    receiver.answer = answer
    storage = Faulty(shop.storage)
    storage.meanwhile = second_is_written
    dispatcher = shop.dispatcher(receiver.url(), storage=storage)  # type: ignore[arg-type]
    await dispatcher.run_until_idle()
    shop.clock.advance(86_400)
    await dispatcher.run_until_idle()

    after = await shop.now(first)
    assert (after.status, after.attempts) == (DISABLED, 1)
    assert len(receiver.received) == 2


async def test_retries_that_wait_when_their_endpoint_says_410_are_disabled_too(shop: Shop) -> None:
    """Not only what never went out: everything that is pending for it."""
    receiver = shop.receiver()
    receiver.usual = Answer(500)
    failing = await shop.announce(receiver.url(), *(f"P{n}" for n in range(120)))
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()
    receiver.usual = Answer(410)
    await shop.announce(receiver.url(), "P500")

    await dispatcher.run_until_idle()
    shop.clock.advance(86_400)
    await dispatcher.run_until_idle()

    assert {((await shop.now(d)).status, (await shop.now(d)).attempts) for d in failing} == {(DISABLED, 1)}
    assert len(receiver.received) == 121


async def test_an_endpoint_can_be_enabled_again(shop: Shop) -> None:
    """For ever, not only until the restart; what was disabled stays so until it is resent."""
    receiver = shop.receiver()
    receiver.script = [Answer(410)]
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()

    await dispatcher.enable(receiver.url())
    (later,) = await shop.announce(receiver.url(), "P2")
    await dispatcher.run_until_idle()

    assert ((await shop.now(made)).status, (await shop.now(later)).status) == (DISABLED, DELIVERED)
    restarted = shop.dispatcher(receiver.url())
    await restarted.load_disabled()
    assert restarted.disabled == frozenset()


async def test_only_configured_endpoints_can_be_enabled(shop: Shop) -> None:
    """A misspelt URL is said to be unknown."""
    with pytest.raises(RequestError) as refused:
        await shop.dispatcher("http://127.0.0.1:1/").enable("http://127.0.0.1:2/")

    assert refused.value.code == "not_found"


# -- resend -------------------------------------------------------------------------------------------------------


async def test_a_delivered_webhook_can_be_sent_again(shop: Shop) -> None:
    """Same webhook-id, same body: a receiver that has it drops it."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()

    answered = await dispatcher.resend(made.id)
    await dispatcher.run_until_idle()

    first, second = receiver.received
    assert (answered.status, answered.next_at) == (PENDING, shop.clock.now())
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert ((await shop.now(made)).status, (await shop.now(made)).attempts) == (DELIVERED, 2)


async def test_a_dead_webhook_can_be_sent_again(shop: Shop) -> None:
    """That is what dead letters are for."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    await shop.dispatcher().run_until_idle()
    assert (await shop.now(made)).status is DEAD

    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.resend(made.id)
    await dispatcher.run_until_idle()

    assert (await shop.now(made)).status is DELIVERED
    assert len(receiver.received) == 1


@pytest.mark.parametrize(("answer", "expected"), [(200, DELIVERED), (500, DISABLED), (410, DISABLED)])
async def test_a_resend_to_a_disabled_endpoint_goes_out_and_enables_nothing(
    shop: Shop, answer: int, expected: DeliveryStatus
) -> None:
    """One attempt for this one delivery; the endpoint stays off, and a failure is not repeated."""
    receiver = shop.receiver()
    receiver.script = [Answer(410), Answer(answer)]
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()

    await dispatcher.resend(made.id)
    await dispatcher.run_until_idle()
    shop.clock.advance(86_400)
    await dispatcher.run_until_idle()

    assert len(receiver.received) == 2
    assert (await shop.now(made)).status is expected
    assert dispatcher.disabled == frozenset({receiver.url()})


async def test_a_resend_brings_a_waiting_retry_forward(shop: Shop) -> None:
    """Pending ones go out now instead of at their time."""
    receiver = shop.receiver()
    receiver.script = [Answer(500)]
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run_until_idle()

    await dispatcher.resend(made.id)
    await dispatcher.run_until_idle()

    assert (await shop.now(made)).status is DELIVERED


async def test_a_resend_during_an_attempt_loses_nothing(shop: Shop) -> None:
    """The attempt's result is written on top of the resend."""
    receiver = shop.receiver()
    receiver.hold()
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run()
    await receiver.until(1)

    await dispatcher.resend(made.id)
    receiver.let_go()
    await dispatcher.run_until_idle()

    after = await shop.now(made)
    assert (after.status, after.attempts) == (DELIVERED, 1)
    assert len(await shop.attempts(made)) == 1


async def test_a_resend_while_the_result_is_being_written_loses_nothing(shop: Shop) -> None:
    """The result is judged again as the delivery is now, and the attempt is written once."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    storage = Faulty(shop.storage)
    dispatcher = shop.dispatcher(receiver.url(), storage=storage)  # type: ignore[arg-type]
    storage.meanwhile = lambda: dispatcher.resend(made.id)

    await dispatcher.run_until_idle()

    after = await shop.now(made)
    assert (after.status, after.attempts, after.version) == (DELIVERED, 1, 3)
    assert [attempt.number for attempt in await shop.attempts(made)] == [1]
    assert len(receiver.received) == 1


async def test_an_unknown_delivery_cannot_be_resent(shop: Shop) -> None:
    """not_found, and nothing moves."""
    receiver = shop.receiver()
    dispatcher = shop.dispatcher(receiver.url())

    with pytest.raises(RequestError) as refused:
        await dispatcher.resend("dlv_nothing")
    await dispatcher.run_until_idle()

    assert refused.value.code == "not_found"
    assert receiver.received == []


# -- crashes and mistakes -----------------------------------------------------------------------------------------


async def test_a_crash_between_answer_and_commit_sends_it_again_under_the_same_id(shop: Shop) -> None:
    """The receiver drops the repeat by its webhook-id."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    storage = Faulty(shop.storage)
    storage.refuse_commits = True
    with pytest.raises(StorageUnavailable):
        crashing = shop.dispatcher(receiver.url(), storage=storage)  # type: ignore[arg-type]
        await crashing.run_until_idle()
        await crashing.run()
    assert (await shop.now(made)).attempts == 0

    await shop.dispatcher(receiver.url()).run_until_idle()

    assert [request.webhook_id for request in receiver.received] == [made.webhook_id, made.webhook_id]
    assert (await shop.now(made)).status is DELIVERED


async def test_nothing_is_sent_while_results_cannot_be_written(shop: Shop) -> None:
    """A full disk does not become a flood of repeats: the answer is kept and written when there is room again."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    storage = Faulty(shop.storage)
    storage.refuse_commits = True
    dispatcher = shop.dispatcher(receiver.url(), storage=storage)  # type: ignore[arg-type]
    await dispatcher.run_until_idle()
    (waiting,) = await shop.announce(receiver.url(), "P2")

    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await dispatcher.run()
    assert len(receiver.received) == 1
    assert shop.outcomes == []
    storage.refuse_commits = False
    await dispatcher.run_until_idle()

    assert [request.content["data"] for request in receiver.received] == ["P1", "P2"]
    assert ((await shop.now(made)).status, (await shop.now(waiting)).status) == (DELIVERED, DELIVERED)


async def test_a_mistake_of_ours_is_said_once_and_not_repeated(shop: Shop) -> None:
    """A delivery that breaks the sender is set aside; the others go on; a resend tries it again."""
    receiver = shop.receiver()
    (bad,) = await shop.announce(receiver.url(), "P1")
    (good,) = await shop.announce(receiver.url(), "P2")
    dispatcher = shop.dispatcher(receiver.url())
    real_send = shop.senders[-1].send
    broken = True

    async def send(delivery: Delivery) -> object:
        if broken and delivery.id == bad.id:
            raise LookupError("a mistake")
        return await real_send(delivery)

    shop.senders[-1].send = send  # type: ignore[assignment, method-assign]

    with pytest.raises(LookupError):
        await dispatcher.run_until_idle()
    await dispatcher.run_until_idle()
    broken = False
    await dispatcher.run_until_idle()
    assert [request.content["data"] for request in receiver.received] == ["P2"]
    await dispatcher.resend(bad.id)
    await dispatcher.run_until_idle()

    assert [request.content["data"] for request in receiver.received] == ["P2", "P1"]
    assert ((await shop.now(bad)).status, (await shop.now(good)).status) == (DELIVERED, DELIVERED)


async def test_closing_cuts_off_what_hangs(shop: Shop) -> None:
    """An attempt that was cut off is still due: the next process sends it."""
    receiver = shop.receiver()
    receiver.hold()
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run()
    await receiver.until(1)

    await dispatcher.close(wait_seconds=0.01)
    receiver.let_go()
    await dispatcher.run_until_idle()

    after = await shop.now(made)
    assert (after.status, after.attempts) == (PENDING, 0)
    assert len(receiver.received) == 1


async def test_closing_waits_for_what_is_nearly_done(shop: Shop) -> None:
    """An answer that comes in time is still written."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run()

    await dispatcher.close()

    assert (await shop.now(made)).status is DELIVERED


async def test_closing_starts_nothing_more(shop: Shop) -> None:
    """What waits behind an attempt that ends meanwhile is left to the next process."""
    receiver = shop.receiver()
    receiver.hold()
    first, second = await shop.announce(receiver.url(), "P1", "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await dispatcher.run()
    await receiver.until(1)

    closing = asyncio.ensure_future(dispatcher.close(wait_seconds=60))
    await asyncio.sleep(0)
    receiver.let_go()
    await closing
    await dispatcher.run_until_idle()

    assert (await shop.now(first)).status is DELIVERED
    assert ((await shop.now(second)).status, (await shop.now(second)).attempts) == (PENDING, 0)
    assert len(receiver.received) == 1


async def test_while_the_storage_cannot_be_read_nothing_is_sent(shop: Shop) -> None:
    """The run says so, and the next one finds what was due."""
    receiver = shop.receiver()
    (made,) = await shop.announce(receiver.url(), "P1")
    dispatcher = shop.dispatcher(receiver.url())
    await shop.storage.close()

    with pytest.raises(StorageUnavailable):
        await dispatcher.run()
    assert receiver.received == []
    shop.storage = shop.open()
    await shop.dispatcher(receiver.url()).run_until_idle()

    assert (await shop.now(made)).status is DELIVERED
