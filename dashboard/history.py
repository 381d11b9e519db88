"""What the plots show: rates and latencies made from the differences between scrapes.

Counters only mean something as differences, and a difference across a restart of the daemon means nothing:
there the history has a gap and remembers a restart, never a negative or an invented rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.metrics import Buckets, Metrics, quantile

NOTIFY_ROUTES = frozenset({"/pay/notify/wechat"})
API_ROUTES = frozenset({"/pay/create", "/pay/query", "/pay/close", "/pay/refund", "/pay/refund/query"})
"""What merchants call; the lists are mostly this dashboard's own reading."""
SERIES = ("api", "notify", "wechat")
WINDOW_POINTS = 180
MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Mark:
    """The counters at one moment, cumulated since the daemon's start."""

    at: float
    epoch: float | None
    created: float | None
    paid: float | None
    requests: float | None
    errors: float | None
    unknown: float | None
    asked: float | None
    notified: float | None
    forged: float | None
    buckets: tuple[Buckets, Buckets, Buckets]


@dataclass(frozen=True, slots=True)
class Point:
    """One interval of the plots. None is a gap: nothing was observed, or the daemon restarted."""

    at: float
    created_per_minute: float | None
    paid_per_minute: float | None
    requests_per_second: float | None
    p50: tuple[float | None, ...] = (None, None, None)
    p95: tuple[float | None, ...] = (None, None, None)
    restarted: bool = False


def mark_of(metrics: Metrics, at: float) -> Mark:
    """The counters the plots need, taken out of one scrape."""
    created = metrics.value("payd_transitions_total", subject="order", state="PAYING")
    http = "payd_http_request_duration_seconds"
    return Mark(
        at=at,
        epoch=metrics.epoch,
        created=created,
        paid=metrics.value("payd_paid_orders_total"),
        requests=metrics.value("payd_http_requests_total"),
        errors=metrics.value("payd_http_requests_total", status="5xx"),
        unknown=metrics.value("payd_wechat_requests_total", outcome="unknown"),
        asked=metrics.value("payd_wechat_requests_total"),
        notified=metrics.value("payd_notifications_total", result="applied"),
        forged=metrics.value("payd_notifications_total", result="signature_invalid"),
        buckets=(
            metrics.buckets(http, where=("route", API_ROUTES)),
            metrics.buckets(http, where=("route", NOTIFY_ROUTES)),
            metrics.buckets("payd_wechat_request_duration_seconds"),
        ),
    )


def point_between(earlier: Mark, later: Mark) -> Point:
    """The rates and quantiles between two marks; a gap with `restarted` when the process is another one."""
    if earlier.epoch != later.epoch:
        return Point(later.at, None, None, None, restarted=True)
    seconds = later.at - earlier.at
    pairs = list(zip(earlier.buckets, later.buckets, strict=True))
    return Point(
        at=later.at,
        created_per_minute=_per(MINUTE_SECONDS, earlier.created, later.created, seconds),
        paid_per_minute=_per(MINUTE_SECONDS, earlier.paid, later.paid, seconds),
        requests_per_second=_per(1.0, earlier.requests, later.requests, seconds),
        p50=tuple(quantile(0.50, before, after) for before, after in pairs),
        p95=tuple(quantile(0.95, before, after) for before, after in pairs),
    )


class History:
    """The last fifteen minutes or so, one point per step, plus a sliding minute for the present rates."""

    def __init__(self, *, step_seconds: float = 5.0) -> None:
        self.step_seconds = step_seconds
        self.points: deque[Point] = deque(maxlen=WINDOW_POINTS)
        self.restarted_at: float | None = None
        self._recent: deque[Mark] = deque(maxlen=150)
        self._base: Mark | None = None
        self.version = 0
        """Counts finished points, so a plot is redrawn only when it has something new to say."""

    def add(self, metrics: Metrics, at: float) -> bool:
        """Take in one scrape. True when the daemon was seen to have restarted since the last one."""
        mark = mark_of(metrics, at)
        restarted = self._base is not None and self._base.epoch != mark.epoch
        if self._base is None or restarted:
            if restarted and self._base is not None:
                self.restarted_at = at
                self.points.append(point_between(self._base, mark))
                self.version += 1
            self._recent.clear()
            self._base = mark
        elif at - self._base.at >= self.step_seconds:
            self.points.append(point_between(self._base, mark))
            self._base = mark
            self.version += 1
        while self._recent and at - self._recent[0].at > MINUTE_SECONDS * 1.5:
            self._recent.popleft()
        if not self._recent or at > self._recent[-1].at:
            self._recent.append(mark)
        return restarted

    def lately(self) -> Point | None:
        """Rates and quantiles over about the last minute; None until two scrapes of one process exist."""
        if len(self._recent) < 2:
            return None
        return point_between(self._recent[0], self._recent[-1])

    def grown(self, name: str) -> float | None:
        """By how much the counter `name` (a field of Mark) grew in about the last minute."""
        if len(self._recent) < 2:
            return None
        earlier, later = getattr(self._recent[0], name), getattr(self._recent[-1], name)
        return None if earlier is None or later is None or later < earlier else later - earlier

    def series(self, values: Sequence[float | None]) -> tuple[list[float], list[float]]:
        """Seconds before the newest point (negative) and values, without the gaps."""
        newest = self.points[-1].at if self.points else 0.0
        known = [
            (point.at - newest, value) for point, value in zip(self.points, values, strict=True) if value is not None
        ]
        return [at for at, _ in known], [value for _, value in known]


def _per(unit_seconds: float, before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or seconds <= 0 or after < before:
        return None
    return (after - before) * unit_seconds / seconds
