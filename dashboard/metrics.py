"""Reads Prometheus text into plain sums, and histogram buckets into quantiles.

Parsing itself is prometheus_client's; this file only keeps what the screens ask for. A family that was
announced without samples counts as zero (nothing happened yet); a family that is absent is unknown (None).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
Buckets = tuple[tuple[float, float], ...]
_WANTED = ("payd_", "pay_", "process_start_time_seconds", "process_resident_memory_bytes")


class Metrics:
    """One scrape: sample name -> labels -> value."""

    __slots__ = ("families", "samples")

    def __init__(self, samples: dict[str, dict[Labels, float]], families: frozenset[str]) -> None:
        self.samples = samples
        self.families = families

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of all samples with these labels; 0 for a known family without them, None if unknown."""
        found = self.samples.get(name)
        if found is None:
            return 0.0 if name.removesuffix("_total") in self.families or name in self.families else None
        wanted = set(labels.items())
        return sum((value for key, value in found.items() if wanted <= set(key)), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums per value of one label."""
        sums: dict[str, float] = {}
        for key, value in self.samples.get(name, {}).items():
            for key_name, key_value in key:
                if key_name == label:
                    sums[key_value] = sums.get(key_value, 0.0) + value
        return sums

    def labels(self, name: str) -> dict[str, str]:
        """The labels of the first sample of `name`, as an information metric carries them."""
        return dict(next(iter(self.samples.get(name, {})), ()))

    def buckets(self, name: str, *, where: tuple[str, Iterable[str]] | None = None) -> Buckets:
        """Cumulative bucket counts by upper bound, summed over samples whose label is among `where`."""
        sums: dict[float, float] = {}
        for key, value in self.samples.get(name + "_bucket", {}).items():
            labels = dict(key)
            if where is not None and labels.get(where[0]) not in where[1]:
                continue
            bound = _number(labels.get("le"))
            if bound is not None:
                sums[bound] = sums.get(bound, 0.0) + value
        return tuple(sorted(sums.items()))

    @property
    def epoch(self) -> float | None:
        """When the daemon's process started; another value means that every counter began again."""
        return self.value("process_start_time_seconds")


def parse_metrics(text: str) -> Metrics:
    """Parse the exposition format. Raises ValueError when it is not that."""
    samples: dict[str, dict[Labels, float]] = {}
    families: set[str] = set()
    for family in text_string_to_metric_families("\n".join(filter(_is_worth_parsing, text.splitlines())) + "\n"):
        if not family.name.startswith(_WANTED):
            continue
        families.add(family.name)
        for sample in family.samples:
            if isfinite(sample.value):
                samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    if not families:
        raise ValueError("no payd metrics in the answer")
    return Metrics(samples, frozenset(families))


def _is_worth_parsing(line: str) -> bool:
    """Most lines of a scrape are help, creation times and series at zero; without them the parser has little to do.

    A series at zero adds nothing to any sum: its family is announced, so it still counts as zero, not as unknown.
    Metrics without labels are kept whatever they say, because their mere presence is asked for.
    """
    if line.startswith("#"):
        return line.startswith("# TYPE")
    name = line[:end] if (end := line.find("{")) >= 0 else line.partition(" ")[0]
    if not name.startswith(_WANTED) or name.endswith(("_created", "_sum")):
        return False
    return not (end >= 0 and line.endswith(" 0.0"))


def metrics_to_json(metrics: Metrics) -> dict[str, Any]:
    """The scrape as JSON values, for a recording."""
    return {
        "families": sorted(metrics.families),
        "samples": [
            [name, dict(key), value] for name, found in metrics.samples.items() for key, value in found.items()
        ],
    }


def metrics_from_json(value: dict[str, Any]) -> Metrics:
    """The inverse of `metrics_to_json`. Raises KeyError, TypeError or ValueError on anything else."""
    samples: dict[str, dict[Labels, float]] = {}
    for name, labels, number in value["samples"]:
        samples.setdefault(str(name), {})[tuple(sorted(labels.items()))] = float(number)
    return Metrics(samples, frozenset(value["families"]))


def quantile(share: float, earlier: Buckets, later: Buckets) -> float | None:
    """The `share` quantile, in seconds, of what was observed between two scrapes; None if nothing was.

    Linear inside a bucket, as Prometheus' histogram_quantile; the last finite bound for what lies beyond.
    """
    before = dict(earlier)
    deltas = [(bound, number - before.get(bound, 0.0)) for bound, number in later]
    if not deltas or any(number < 0 for _, number in deltas) or deltas[-1][1] <= 0:
        return None
    rank = share * deltas[-1][1]
    lower_bound, lower_count = 0.0, 0.0
    for bound, number in deltas:
        if number >= rank and number > lower_count:
            if bound == inf:
                return lower_bound
            return lower_bound + (bound - lower_bound) * (rank - lower_count) / (number - lower_count)
        lower_bound, lower_count = (lower_bound if bound == inf else bound), number
    return lower_bound


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
