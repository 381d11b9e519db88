"""The machine's own time and randomness, behind the ports."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

#: How much randomness is fetched at once, in bytes.
POOL_BYTES: Final = 1024


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Tell the wall clock, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Tell seconds since some start; never jumps back."""
        return time.monotonic()


class FollowingClock(SystemClock):
    """The wall clock moved forward by a simulator: in mode sandbox, payd's days pass when the simulator's do.

    Only for what payd writes into its books. What goes over the wire is always signed with the real time.
    """

    def __init__(self, offset_seconds: Callable[[], float]) -> None:
        self._offset_seconds = offset_seconds

    def now(self) -> datetime:
        """Tell the wall clock plus the simulator's offset."""
        return datetime.now(UTC) + timedelta(seconds=self._offset_seconds())


class SystemEntropy:
    """The operating system's randomness; jitter from a quick generator seeded by it."""

    def __init__(self) -> None:
        self._pool = b""
        self._jitter = random.Random(secrets.randbits(64))  # noqa: S311 -- spreads retries, guards nothing

    def token_hex(self, byte_count: int) -> str:
        """Draw random bytes as lower-case hex, cryptographically strong.

        Taken from the system in larger pieces, each byte used once: a call to the kernel for every request id costs
        more than all else about it. Not for several threads.
        """
        if len(self._pool) < byte_count:
            self._pool = os.urandom(max(POOL_BYTES, byte_count))
        drawn, self._pool = self._pool[:byte_count], self._pool[byte_count:]
        return drawn.hex()

    def uniform(self, low: float, high: float) -> float:
        """Draw a float for jitter."""
        return self._jitter.uniform(low, high)
