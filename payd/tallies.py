"""Counters and histograms for the hot path: plain integers, turned into metric families only when a scrape asks.

The library's instruments take a lock and several calls for each of the fifteen counts of one callback. Everything that
counts here runs on the loop's thread, so a dictionary is enough. ``metrics.py`` exports them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

Labels = tuple[str, ...]


class Tally:
    """Counts by label values; `name` ends in ``_total``."""

    __slots__ = ("counts", "help", "labels", "name")

    def __init__(self, name: str, help: str, labels: Labels = (), *, start: Sequence[Labels] = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.counts: dict[Labels, int] = dict.fromkeys(start or ([()] if not labels else []), 0)

    def add(self, key: Labels = (), amount: int = 1) -> None:
        """Count ``amount`` more under these label values."""
        self.counts[key] = self.counts.get(key, 0) + amount


class Spread:
    """A histogram by label values. ``bounds`` are the upper ends of the buckets, ascending, without infinity."""

    __slots__ = ("bounds", "help", "labels", "name", "series")

    def __init__(
        self, name: str, help: str, labels: Labels = (), *, bounds: Sequence[float], start: Sequence[Labels] = ()
    ) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.bounds = tuple(bounds)
        self.series: dict[Labels, tuple[list[int], list[float]]] = {}
        for key in start or ([()] if not labels else []):
            self._begin(key)

    def _begin(self, key: Labels) -> tuple[list[int], list[float]]:
        begun = self.series[key] = ([0] * (len(self.bounds) + 1), [0.0])
        return begun

    def observe(self, value: float, key: Labels = ()) -> None:
        """Put one value into its bucket."""
        buckets, total = self.series.get(key) or self._begin(key)
        buckets[bisect_left(self.bounds, value)] += 1
        total[0] += value

    def cumulative(self) -> Iterator[tuple[Labels, list[tuple[str, int]], float]]:
        """Tell, per label values, the cumulative buckets as Prometheus wants them, and the sum of all values."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        for key, (buckets, total) in self.series.items():
            running, rows = 0, []
            for name, count in zip(names, buckets, strict=True):
                running += count
                rows.append((name, running))
            yield key, rows, total[0]
