"""The frozen values the poller hands to the screens: what was heard, when, and what went wrong.

A `Part` keeps the last good data together with the failure that came after it, so a screen can always show
both the number and how far it may be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
AUTH = Want("auth", "/pay/metrics/auth", (), 5.0)
"""Counters any key may read; so this is also how a key is found good or bad."""

KEY_CHECK_SECONDS = 60.0
KEY_RETRY_SECONDS = 10.0
"""Between two asks of what was refused for the key: each refusal is counted by the daemon and looks like an attack."""
KEY_CAUSES = ("unauthorized", "forbidden", "no_key", "not_configured")
"""Causes of a failure that are the key's, not the line's."""
SCOPE_CHECKS: dict[str, Want] = {
    scope: Want(f"scope_{scope}", path, (("limit", "1"),), KEY_CHECK_SECONDS)
    for scope, path in (("order_query", "/pay/orders"), ("refund_query", "/pay/refunds"))
}
"""The scopes the screens need, each with the cheapest read that needs it."""
KEY_CHECKS = (replace(AUTH, every_seconds=KEY_CHECK_SECONDS), *SCOPE_CHECKS.values())
"""What the poller asks, rarely, whatever is on screen: the first screen shows public pages only and knows nothing of
the key."""


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
        """The answer to exactly this want, at its pace; an empty one when another filter was asked last."""
        found = self.parts.get(want.name)
        if found is not None and (found.want.path, found.want.params) == (want.path, want.params):
            return found if found.want == want else replace(found, want=want)
        return Part(want)

    def key_failure(self) -> Failure | None:
        """Why our API key does not do, which is shown like a lost line. The key's own check is believed before what a
        screen heard some time ago; without one (an old recording) any refusal counts."""
        auth = self.parts.get(AUTH.name)
        if auth is not None and not auth.known and auth.failure is not None and auth.failure.cause == "busy":
            return auth.failure  # a good key is served however busy the daemon is with bad ones
        checks = [self.parts[want.name] for want in KEY_CHECKS if want.name in self.parts]
        for part in checks or self.parts.values():
            if part.failure is not None and part.failure.cause in KEY_CAUSES:
                return part.failure
        return None

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """The scopes the key was found to lack."""
        parts = {scope: self.parts.get(want.name) for scope, want in SCOPE_CHECKS.items()}
        return tuple(
            scope for scope, part in parts.items() if part and part.failure and part.failure.cause == "forbidden"
        )


def is_stale(at: float | None, now: float, interval_seconds: float) -> bool:
    """Whether a number of time `at` is older than three intervals (and therefore must say so)."""
    return at is not None and now - at > STALE_AFTER_INTERVALS * interval_seconds
