"""Two bounds on callers: requests a second per key, and failed authentications a minute per address.

Both count on the monotonic clock, on the loop's thread, in bounded memory.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from payd.ports import Clock

WINDOW_SECONDS: Final = 60.0


class TokenBucket:
    """Allows ``per_second`` requests on average and as many at once."""

    def __init__(self, clock: Clock, per_second: int) -> None:
        self._clock = clock
        self._rate = float(per_second)
        self._tokens = float(per_second)
        self._filled_at = clock.monotonic()

    def take(self) -> int | None:
        """Take one token. None: it was there; else how many whole seconds to wait for one."""
        now = self._clock.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        return max(1, math.ceil((1.0 - self._tokens) / self._rate))


@dataclass(slots=True)
class _Window:
    began_at: float
    count: int


class FailureWindows:
    """Counts failures of each address in windows of a minute, which begin with the first failure.

    Windows lie in the order in which they began, so the oldest is always the first: finished windows are forgotten in
    passing, and when ``addresses_max`` are open the oldest goes. IPv6 counts by /64, the least a subscriber owns.
    """

    def __init__(self, clock: Clock, *, per_minute: int, addresses_max: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._addresses_max = addresses_max
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def fail(self, address: str) -> int | None:
        """Count one failure. None: it is within the bound; else how many whole seconds the window still lasts."""
        now = self._clock.monotonic()
        self._forget(now)
        name = address_block(address)
        window = self._windows.get(name)
        if window is None:
            while len(self._windows) >= self._addresses_max:
                self._windows.popitem(last=False)
            window = self._windows[name] = _Window(now, 0)
        window.count += 1
        if window.count <= self._per_minute:
            return None
        return max(1, math.ceil(window.began_at + WINDOW_SECONDS - now))

    def _forget(self, now: float) -> None:
        while self._windows:
            name, window = next(iter(self._windows.items()))
            if now - window.began_at < WINDOW_SECONDS:
                return
            del self._windows[name]

    def __len__(self) -> int:
        """Tell how many addresses are remembered."""
        return len(self._windows)


def address_block(address: str) -> str:
    """Name the block an address counts in: itself for IPv4 (mapped too), its /64 for IPv6, the text when it is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
