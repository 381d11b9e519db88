"""The frozen values the poller hands to the screens: what was heard, when, and what went wrong.

A `Part` keeps the last good data together with the failure that came after it, so a screen can always show
both the number and how far it may be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STALE_AFTER_INTERVALS = 3
"""Older than this many poll intervals a number is marked stale."""


@dataclass(frozen=True, slots=True)
class Want:
    """One read the screen in front needs: `name` is the slot its answer fills."""

    name: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    every_seconds: float = 0.0
    """At least this long between two asks; 0 means each tick."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer did not come. `cause` is a key of the wording table (`cause_<cause>`)."""

    cause: str
    detail: str = ""
    status: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one `Want`: the last good data, its time (Unix seconds), and the failure since."""

    want: Want
    data: Any = None
    at: float | None = None
    failure: Failure | None = None

    @property
    def known(self) -> bool:
        """Whether there ever was an answer."""
        return self.at is not None


@dataclass(frozen=True, slots=True)
class Link:
    """The line to the daemon: `connecting`, `up` or `lost` (with cause and next attempt), since when."""

    state: str = "connecting"
    since: float = 0.0
    failure: Failure | None = None
    retry_at: float | None = None
    attempts: int = 0


METRICS = Want("metrics", "/metrics")
READY = Want("ready", "/readyz")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known at one moment. Replaced as a whole; never changed."""

    at: float = 0.0
    link: Link = Link()
    metrics: Part = Part(METRICS)
    ready: Part = Part(READY)
    parts: Mapping[str, Part] = field(default_factory=dict)
    interval_seconds: float = 2.0

    def part(self, want: Want) -> Part:
        """The answer to exactly this want; an empty one when another filter was asked last."""
        found = self.parts.get(want.name)
        if found is not None and (found.want.path, found.want.params) == (want.path, want.params):
            return found
        return Part(want)

    def key_failure(self) -> Failure | None:
        """The first refusal of our API key among the parts, which is shown like a lost line."""
        for part in self.parts.values():
            if part.failure is not None and part.failure.cause in ("unauthorized", "forbidden", "no_key"):
                return part.failure
        return None


def is_stale(at: float | None, now: float, interval_seconds: float) -> bool:
    """Whether a number of time `at` is older than three intervals (and therefore must say so)."""
    return at is not None and now - at > STALE_AFTER_INTERVALS * interval_seconds
