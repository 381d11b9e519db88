"""The lock over real Redis servers: who holds what, and never a wrong no."""

from __future__ import annotations

import asyncio

import pytest

from payd.errors import ConfigError
from payd.idempotency.redis_lock import CONNECTIONS_MAX, KEY_PREFIX, PAUSE_SECONDS, RedisLock
from tests.faults.fault_proxy import FaultProxy
from tests.faults.redis_server import RedisServer
from tests.idempotency.conftest import Locks, StillClock

#: For questions that must run out of time.
SHORT_MS = 400
KEY = KEY_PREFIX + "a"


async def test_the_first_wins_and_the_second_is_told_so(redis_server: RedisServer, locks: Locks) -> None:
    """SET NX EX: one holder, with a lease, whatever process asks."""
    one, other = locks.make(redis_server.port), locks.make(redis_server.port)

    assert await one.acquire("a", "me") is True
    assert await other.acquire("a", "you") is False
    assert await other.acquire("b", "you") is True
    assert redis_server.do("GET", KEY) == "me"
    assert 0 < redis_server.do("TTL", KEY) <= 20
    assert locks.states == [True, True, True]


async def test_the_owner_may_ask_again(redis_server: RedisServer, locks: Locks) -> None:
    """Acquiring is idempotent per key and owner, and the lease begins anew."""
    lock = locks.make(redis_server.port)
    await lock.acquire("a", "me")
    redis_server.do("EXPIRE", KEY, 5)

    assert await lock.acquire("a", "me") is True
    assert 5 < redis_server.do("TTL", KEY) <= 20
    assert redis_server.do("GET", KEY) == "me"


async def test_a_refusal_leaves_the_holder_as_it_was(redis_server: RedisServer, locks: Locks) -> None:
    """Neither the owner nor the lease of the holder moves."""
    lock = locks.make(redis_server.port)
    await lock.acquire("a", "me")
    redis_server.do("EXPIRE", KEY, 5)

    assert await lock.acquire("a", "you") is False
    assert redis_server.do("GET", KEY) == "me"
    assert 0 < redis_server.do("TTL", KEY) <= 5


async def test_only_the_owner_gives_it_back(redis_server: RedisServer, locks: Locks) -> None:
    """Compare and delete: a late release of somebody else's changes nothing."""
    lock = locks.make(redis_server.port)
    await lock.acquire("a", "me")

    await lock.release("a", "you")
    assert redis_server.do("GET", KEY) == "me"
    await lock.release("a", "me")
    assert redis_server.locks() == []
    assert await lock.acquire("a", "you") is True


async def test_a_lock_ends_with_its_lease(redis_server: RedisServer, locks: Locks) -> None:
    """What a dead process holds is free then; its late release does not hurt the next holder."""
    lock = locks.make(redis_server.port)
    await lock.acquire("a", "dead")
    redis_server.do("PEXPIRE", KEY, 0)

    assert await lock.acquire("a", "me") is True
    await lock.release("a", "dead")
    assert redis_server.do("GET", KEY) == "me"


async def test_of_many_askers_one_wins(redis_server: RedisServer, locks: Locks) -> None:
    """Two hundred owners, one key."""
    processes = [locks.make(redis_server.port) for _ in range(4)]

    answers = await asyncio.gather(*(processes[n % 4].acquire("a", f"owner{n}") for n in range(200)))

    assert sorted(answers) == [False] * 199 + [True]
    assert redis_server.do("GET", KEY) == f"owner{answers.index(True)}"


async def test_many_keys_share_few_connections(proxy: FaultProxy, locks: Locks) -> None:
    """Who finds all connections taken waits for one."""
    lock = locks.make(proxy.port)

    answers = await asyncio.gather(*(lock.acquire(f"k{n}", "me") for n in range(300)))

    assert answers == [True] * 300
    assert 1 <= proxy.connections <= CONNECTIONS_MAX


async def test_wiped_redis_takes_nothing_from_the_owner(redis_server: RedisServer, locks: Locks) -> None:
    """FLUSHALL: the owner gets it again, and giving back what is not there is nothing."""
    lock = locks.make(redis_server.port)
    await lock.acquire("a", "me")
    await lock.acquire("b", "me")
    redis_server.do("FLUSHALL")
    redis_server.do("SCRIPT", "FLUSH")

    assert await lock.acquire("a", "me") is True
    await lock.release("b", "me")
    assert redis_server.locks() == [KEY]
    assert False not in locks.states


async def test_cancelling_the_asker_is_no_failure_of_redis(
    redis_server: RedisServer, locks: Locks, clock: StillClock
) -> None:
    """Who goes away while the circuit is being probed leaves the probe to the next one."""
    redis_server.kill()
    lock = locks.make(redis_server.port, timeout_ms=SHORT_MS)
    assert await lock.acquire("a", "me") is None
    redis_server.start()
    redis_server.freeze()
    clock.seconds += PAUSE_SECONDS
    asking = asyncio.ensure_future(lock.acquire("a", "me"))
    await asyncio.sleep(0)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    redis_server.thaw()

    assert await lock.acquire("a", "me") is True
    assert locks.states == [False, True]


async def test_closing_closes_every_connection(redis_server: RedisServer, proxy: FaultProxy, locks: Locks) -> None:
    """Twice, and with Redis gone, too."""
    lock, gone = locks.make(proxy.port), locks.make(redis_server.port)
    await asyncio.gather(*(lock.acquire(f"k{n}", "me") for n in range(20)))
    await gone.acquire("b", "me")

    await lock.close()
    await lock.close()
    redis_server.kill()
    await gone.close()

    assert proxy.connections > 0


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:6379", "127.0.0.1:6379", "redis://:hush@127.0.0.1:x/0", "redis://:hush@127.0.0.1/0?hush=1", ""],
)
def test_a_url_that_is_none_is_a_configuration_error(clock: StillClock, url: str) -> None:
    """Said at the start, without showing the password."""
    with pytest.raises(ConfigError) as refused:
        RedisLock(url, timeout_ms=200, lease_seconds=20, clock=clock, on_state=lambda up: None)

    assert [complaint.field for complaint in refused.value.complaints] == ["redis.url"]
    assert "hush" not in str(refused.value)
