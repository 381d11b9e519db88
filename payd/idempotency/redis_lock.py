"""The lock in Redis: ``SET key owner NX EX lease``, given back by compare-and-delete. The only file that knows redis.

It spares work, it never decides: whatever goes wrong is None, go on without it, within ``timeout_ms``. Two rules keep
it from ever refusing the rightful owner:

* no retries. A SET whose answer was lost may have been carried out; redis-py's own repeat would find the key and say
  "not set" to the very caller that holds it.
* on "not set" the stored owner decides. The same owner is told True again, and its lease begins anew.

Only commands of Redis 6.2 (``SET NX EX``, ``EVAL``) are used.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from payd.errors import Complaint, ConfigError
from payd.idempotency.circuit import Circuit
from payd.ports import Clock

#: What every key in Redis begins with.
KEY_PREFIX: Final = "payd:idempotency:"
#: Seconds without the lock after a failure, before one request tries it again.
PAUSE_SECONDS: Final = 3.0
#: Connections to Redis at most; who waits for one waits inside its ``timeout_ms``.
CONNECTIONS_MAX: Final = 32
#: Looks at a key that others take and let go in between, before going on without the lock.
LOOKS_MAX: Final = 3

#: What _RENEW answers about a key that is there.
_VERDICTS: Final = {1: True, 0: False}

_RENEW: Final = """
local owner = redis.call('GET', KEYS[1])
if not owner then return -1 end
if owner ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

#: Everything that a Redis which is down, slow, full, not ready, or no Redis at all does to a caller. A TimeoutError is
#: an OSError; an answer that is not RESP may be a ValueError.
_TROUBLE: Final = (RedisError, OSError, ValueError)

T = TypeVar("T")


class RedisLock:
    """``ports.IdempotencyLock`` over one Redis. Opens no connection before it is asked. Lives on one loop.

    ``lease_seconds`` is rounded up to whole seconds: after it the lock of a dead process is free. ``on_state`` hears
    after each question whether Redis answered. Raises ConfigError: ``url`` is no Redis URL.
    """

    def __init__(
        self, url: str, *, timeout_ms: int, lease_seconds: float, clock: Clock, on_state: Callable[[bool], None]
    ) -> None:
        self._timeout_seconds = timeout_ms / 1_000
        self._lease_seconds = math.ceil(lease_seconds)
        self._on_state = on_state
        self._circuit = Circuit(clock, pause_seconds=PAUSE_SECONDS)
        self._redis = Redis.from_pool(_pool(url, self._timeout_seconds))

    async def acquire(self, scope_key: str, owner: str) -> bool | None:
        """True: ours, again too. False: somebody else holds it. None: not to be known now; go on without it."""
        return await self._ask(lambda: self._take(KEY_PREFIX + scope_key, owner))

    async def release(self, scope_key: str, owner: str) -> None:
        """Give it back if it is still ours; never raises. What cannot be given back ends with its lease."""
        await self._ask(lambda: self._give_back(KEY_PREFIX + scope_key, owner))

    async def close(self) -> None:
        """Close every connection; never raises."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._redis.aclose()
        except _TROUBLE:
            return

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Ask within the time limit. A question cut off half-way takes its connection along (redis-py closes it)."""
        if not self._circuit.admits():
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await question()
        except _TROUBLE:
            self._circuit.failed()
            self._on_state(False)
            return None
        except asyncio.CancelledError:
            self._circuit.abandoned()
            raise
        self._circuit.answered()
        self._on_state(True)
        return answer

    async def _take(self, key: str, owner: str) -> bool | None:
        for _ in range(LOOKS_MAX):
            if await self._redis.set(key, owner, nx=True, ex=self._lease_seconds):
                return True
            found = await self._redis.eval(_RENEW, 1, key, owner, self._lease_seconds)
            if isinstance(found, int) and found in _VERDICTS:
                return _VERDICTS[found]
        return None  # taken and let go between our looks, three times: whoever it was, it is not in the way

    async def _give_back(self, key: str, owner: str) -> None:
        await self._redis.eval(_RELEASE, 1, key, owner)


def _pool(url: str, timeout_seconds: float) -> BlockingConnectionPool:
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            protocol=2,  # what 6.2 speaks without a greeting: a new connection costs no round trip
            driver_info=None,
        )
        pool.connection_class(**pool.connection_kwargs)  # connects nothing; refuses options that do not exist
    except (RedisError, TypeError, ValueError):
        # The cause is not shown: its message may quote the URL, and that holds the password.
        complaint = Complaint("redis.url", "is no Redis URL; such as redis://:password@127.0.0.1:6379/0")
        raise ConfigError([complaint]) from None
    return pool


__all__ = ["KEY_PREFIX", "PAUSE_SECONDS", "RedisLock"]
