"""Redis down, slow, hung, restarted, full, or no Redis: None within the time limit, and never False for the owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from payd.idempotency.redis_lock import KEY_PREFIX, PAUSE_SECONDS
from tests.faults.fault_proxy import SOUND, Fault, FaultProxy
from tests.faults.redis_server import RedisServer
from tests.idempotency.conftest import Locks, StillClock

#: For questions that must run out of time.
SHORT_MS = 400
KEY = KEY_PREFIX + "a"

FAULTS = {
    "slow": Fault(latency_seconds=60),
    "hung": Fault(hang=True),
    "reply late": Fault(late_replies=True),
    "reply lost": Fault(drop_replies=True),
    "cut before the reply": Fault(cut_after=0),
    "cut within the reply": Fault(cut_after=2),
    "reset": Fault(reset=True),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_whatever_the_wire_does_the_owner_is_never_refused(
    proxy: FaultProxy, locks: Locks, clock: StillClock, name: str
) -> None:
    """None while it lasts; True as soon as Redis can be asked again, whether or not the SET had got through."""
    lock = locks.make(proxy.port, timeout_ms=SHORT_MS)
    await proxy.set(FAULTS[name])

    during = await lock.acquire("a", "me")
    await lock.release("b", "me")
    await proxy.set(SOUND)
    clock.seconds += PAUSE_SECONDS
    after = await lock.acquire("a", "me")

    assert (during, after) == (None, True)
    assert locks.states == [False, True]


@pytest.mark.parametrize("fault", [Fault(drop_replies=True), Fault(cut_after=0), Fault(cut_after=2)])
async def test_a_lock_whose_reply_was_lost_is_still_ours(
    redis_server: RedisServer, proxy: FaultProxy, locks: Locks, clock: StillClock, fault: Fault
) -> None:
    """Redis carried the SET out: others are refused, the owner is not, and only the owner gives it back."""
    mine, theirs = locks.make(proxy.port, timeout_ms=SHORT_MS), locks.make(redis_server.port)
    await proxy.set(fault)
    assert await mine.acquire("a", "me") is None
    await proxy.set(SOUND)
    assert redis_server.do("GET", KEY) == "me"

    clock.seconds += PAUSE_SECONDS
    assert await theirs.acquire("a", "you") is False
    assert await mine.acquire("a", "me") is True
    await mine.release("a", "me")
    assert redis_server.locks() == []


async def test_one_question_is_asked_once(redis_server: RedisServer, proxy: FaultProxy, locks: Locks) -> None:
    """No retries: a SET that is repeated behind our back would meet itself."""
    lock = locks.make(proxy.port, timeout_ms=SHORT_MS)
    redis_server.do("CONFIG", "RESETSTAT")
    await proxy.set(Fault(cut_after=0))

    assert await lock.acquire("a", "me") is None
    assert redis_server.do("INFO", "commandstats")["cmdstat_set"]["calls"] == 1
    assert proxy.connections == 1


async def test_a_late_answer_is_not_taken_for_the_next_one(
    redis_server: RedisServer, proxy: FaultProxy, locks: Locks, clock: StillClock
) -> None:
    """The +OK of a question that ran out of time must not say True to another one."""
    lock = locks.make(proxy.port, timeout_ms=SHORT_MS)
    redis_server.do("SET", KEY_PREFIX + "theirs", "you")
    await proxy.set(Fault(late_replies=True))
    assert await lock.acquire("a", "me") is None
    assert proxy.replied_bytes > 0
    await proxy.set(SOUND)

    clock.seconds += PAUSE_SECONDS
    assert [await lock.acquire("theirs", "me") for _ in range(3)] == [False, False, False]
    assert await lock.acquire("a", "me") is True


async def test_an_answer_that_comes_after_the_asker_left_is_not_taken_for_the_next_one(
    redis_server: RedisServer, proxy: FaultProxy, locks: Locks
) -> None:
    """The same for a request that was cancelled in the middle of its question."""
    lock = locks.make(proxy.port)
    redis_server.do("SET", KEY_PREFIX + "theirs", "you")
    assert await lock.acquire("warm", "me") is True
    await proxy.set(Fault(late_replies=True))
    heard = proxy.replied_bytes
    asking = asyncio.ensure_future(lock.acquire("a", "me"))
    await proxy.until(lambda: proxy.replied_bytes > heard)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await proxy.set(SOUND)

    assert [await lock.acquire("theirs", "me") for _ in range(3)] == [False, False, False]
    assert await lock.acquire("a", "me") is True
    assert False not in locks.states


async def test_down_from_the_start(redis_server: RedisServer, locks: Locks, clock: StillClock) -> None:
    """Nobody listens: None; when it comes up it is used."""
    redis_server.kill()
    lock = locks.make(redis_server.port)

    assert await lock.acquire("a", "me") is None
    await lock.release("a", "me")
    redis_server.start()
    clock.seconds += PAUSE_SECONDS
    assert await lock.acquire("a", "me") is True
    assert locks.states == [False, True]


async def test_restarted_between_two_questions(redis_server: RedisServer, locks: Locks, clock: StillClock) -> None:
    """Connections are dead, locks are gone: the owner gets its own again, after a pause at the latest."""
    lock = locks.make(redis_server.port)
    await asyncio.gather(*(lock.acquire(f"k{n}", "me") for n in range(20)))
    redis_server.restart()

    answers = [await lock.acquire("k1", "me")]
    clock.seconds += PAUSE_SECONDS
    answers.append(await lock.acquire("k1", "me"))

    assert answers[0] in (True, None)
    assert answers[1] is True
    assert redis_server.do("GET", KEY_PREFIX + "k1") == "me"


async def test_a_frozen_server_costs_one_time_limit(redis_server: RedisServer, locks: Locks, clock: StillClock) -> None:
    """The kernel accepts, nobody answers: all who ask get None; thawed, it is ours."""
    lock = locks.make(redis_server.port, timeout_ms=SHORT_MS)
    assert await lock.acquire("a", "me") is True
    redis_server.freeze()

    answers = await asyncio.gather(*(lock.acquire(f"k{n}", "me") for n in range(100)), lock.acquire("a", "me"))
    redis_server.thaw()
    clock.seconds += PAUSE_SECONDS
    after = [await lock.acquire("a", "me"), await lock.acquire("k1", "me")]

    assert answers == [None] * 101
    assert after == [True, True]


# -- the circuit --------------------------------------------------------------------------------------------------


async def test_after_a_failure_nobody_asks_until_the_pause_is_over(
    redis_server: RedisServer, proxy: FaultProxy, locks: Locks, clock: StillClock
) -> None:
    """None at once, nothing on the wire, not even to give back; then one is let through and all are again."""
    lock = locks.make(proxy.port)
    await proxy.set(Fault(cut_after=0))
    assert await lock.acquire("a", "me") is None
    await proxy.set(SOUND)
    asked = (proxy.connections, proxy.asked_bytes)

    clock.seconds += PAUSE_SECONDS - 0.001
    answers = [await lock.acquire("a", "me"), await lock.acquire("b", "me"), await lock.release("a", "me")]
    assert answers == [None, None, None]
    assert (proxy.connections, proxy.asked_bytes) == asked
    assert redis_server.do("GET", KEY) == "me"

    clock.seconds += 0.001
    assert await lock.acquire("a", "me") is True
    assert await lock.acquire("b", "me") is True
    assert locks.states == [False, True, True]


async def test_a_shut_circuit_is_probed_by_one(proxy: FaultProxy, locks: Locks, clock: StillClock) -> None:
    """The others do not wait for the probe; a failed probe begins a new pause."""
    lock = locks.make(proxy.port, timeout_ms=SHORT_MS)
    await proxy.set(Fault(hang=True))
    assert await lock.acquire("a", "me") is None
    before = proxy.connections

    clock.seconds += PAUSE_SECONDS
    answers = await asyncio.gather(*(lock.acquire(f"k{n}", "me") for n in range(50)))
    await proxy.set(SOUND)
    in_pause = await lock.acquire("a", "me")
    clock.seconds += PAUSE_SECONDS

    assert answers == [None] * 50
    assert proxy.connections == before + 1
    assert in_pause is None
    assert await lock.acquire("a", "me") is True
    assert locks.states == [False, False, True]


# -- a server that answers, but not what is needed ----------------------------------------------------------------


async def _full(redis_server: RedisServer) -> None:
    redis_server.do("CONFIG", "SET", "maxmemory", "1")


async def _locked_up(redis_server: RedisServer) -> None:
    redis_server.do("CONFIG", "SET", "requirepass", "changed")


async def _another_type(redis_server: RedisServer) -> None:
    redis_server.do("RPUSH", KEY, "somebody's list")


async def _read_only(redis_server: RedisServer) -> None:
    redis_server.do("REPLICAOF", "127.0.0.1", "1")


@pytest.mark.parametrize("trouble", [_full, _locked_up, _another_type, _read_only])
async def test_an_error_reply_is_no_answer(
    redis_server: RedisServer, locks: Locks, trouble: Callable[[RedisServer], Awaitable[None]]
) -> None:
    """Out of memory, wrong password, somebody else's key, a replica: go on without it."""
    lock = locks.make(redis_server.port)
    await trouble(redis_server)

    assert await lock.acquire("a", "me") is None
    assert locks.states == [False]


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b":not a number\r\n",
    b"$9999999999\r\n",
    b"$-5\r\n",
    b"*-7\r\n",
    b"\x00" * 100_000,
    b"\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda said: repr(said[:12]))
async def test_what_is_no_redis_is_no_answer(locks: Locks, garbage: bytes) -> None:
    """Whatever listens there and says, the question ends with None."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            writer.write(garbage)
            await writer.drain()
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    lock = locks.make(server.sockets[0].getsockname()[1])
    answer = await lock.acquire("a", "me")
    await lock.close()
    server.close()
    await ended.wait()

    assert answer is None
    assert locks.states == [False]
