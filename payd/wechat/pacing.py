"""Staying below WeChat's published rates. A call that would have to wait too long is not made at all.

Source: WeChat Pay v3, the rate given on each API page, per mchid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from payd.limits import (
    BILLS_PER_SECOND,
    FAILING_REFUNDS_PER_SECOND,
    PACE_WAIT_SECONDS_MAX,
    REFUND_QUERIES_PER_SECOND,
    REFUNDS_PER_SECOND,
)
from payd.ports import Clock
from payd.wechat.requests import Operation


@dataclass(frozen=True, slots=True)
class Pace:
    """So many a second, so many at once."""

    per_second: int
    burst: int


PACES: Final = {
    Operation.REFUND: Pace(REFUNDS_PER_SECOND, REFUNDS_PER_SECOND),
    Operation.ABNORMAL_REFUND: Pace(REFUNDS_PER_SECOND, REFUNDS_PER_SECOND),
    Operation.REFUND_QUERY: Pace(REFUND_QUERIES_PER_SECOND, REFUND_QUERIES_PER_SECOND),
    Operation.BILL: Pace(BILLS_PER_SECOND, BILLS_PER_SECOND),
}

#: While refunds fail: WeChat counts failing ones apart and blocks the merchant's good ones beyond this rate.
FAILING_REFUNDS: Final = Pace(FAILING_REFUNDS_PER_SECOND, 1)
FAILING_SECONDS: Final = 10.0


class Pacer:
    """Hands out the moment each call may go. One virtual queue per operation (generic cell rate)."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._next_free: dict[Operation, float] = {}
        self._failing_until = float("-inf")

    def delay(self, operation: Operation) -> float | None:
        """Reserve a place; returns the seconds to wait before sending. None: too long, nothing was reserved."""
        pace = self._pace(operation)
        if pace is None:
            return 0.0
        now = self._clock.monotonic()
        interval = 1 / pace.per_second
        free = max(self._next_free.get(operation, now), now)
        wait = max(0.0, free - now - interval * (pace.burst - 1))
        if wait > PACE_WAIT_SECONDS_MAX:
            return None
        self._next_free[operation] = free + interval
        return wait

    def heard(self, operation: Operation, *, failed: bool) -> None:
        """Slow refunds down after one failed, for ten seconds; the next good one ends that."""
        if operation is Operation.REFUND:
            self._failing_until = self._clock.monotonic() + FAILING_SECONDS if failed else float("-inf")

    def _pace(self, operation: Operation) -> Pace | None:
        if operation is Operation.REFUND and self._clock.monotonic() < self._failing_until:
            return FAILING_REFUNDS
        return PACES.get(operation)
