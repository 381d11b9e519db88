"""The published limits of section 10.5 as token buckets.

WeChat publishes rates but neither window nor burst (section 15 no. 25); here a bucket holds two seconds'
worth and never less than ten, so that only a client that keeps exceeding the rate is refused.
"""

from __future__ import annotations

from collections.abc import Callable

#: api -> requests per second
RATES: dict[str, float] = {
    "prepay_jsapi": 500,
    "refund": 150,
    "refund_failing": 6,
    "refund_query": 300,
    "abnormal_refund": 150,
    "certificates": 1000,
    "trade_bill": 3,
    "fund_bill": 3,
}
BURST_SECONDS = 2.0
MINIMUM_BURST = 10.0


class RateLimits:
    """One bucket per limited API; ``wall`` is the wall clock, since limits do not follow the book's."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._buckets = {name: (max(rate * BURST_SECONDS, MINIMUM_BURST), wall()) for name, rate in RATES.items()}

    def take(self, name: str) -> bool:
        """Use one request of ``name``; False when the limit is exceeded. Unlimited APIs always may."""
        if name not in RATES:
            return True
        tokens = self._filled(name)
        allowed = tokens >= 1
        self._buckets[name] = (tokens - 1 if allowed else tokens, self._wall())
        return allowed

    def exhausted(self, name: str) -> bool:
        """True when the next request of ``name`` would be refused; uses nothing."""
        return self._filled(name) < 1

    def _filled(self, name: str) -> float:
        tokens, since = self._buckets[name]
        full = max(RATES[name] * BURST_SECONDS, MINIMUM_BURST)
        return min(full, tokens + max(0.0, self._wall() - since) * RATES[name])
