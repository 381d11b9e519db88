"""The one loop that asks the daemon: metrics and readiness each tick, and what the screen in front needs.

It posts a frozen Snapshot after each tick and keeps the last good data of everything it ever asked. A lost
daemon is asked again after 1, 2, 5, then every 10 seconds. Whether the key is good is asked at the start and then
rarely, and what was refused for the key is asked again only after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from dashboard.api_client import RequestFailed, Source
from dashboard.snapshots import (
    KEY_CAUSES,
    KEY_RETRY_SECONDS,
    METRICS,
    READY,
    Link,
    Part,
    Snapshot,
    Want,
)

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)
_PARTS_KEPT = 40


class Poller:
    """Asks `source`, calls `post` with each Snapshot. `clock` gives Unix seconds; `wants` what is on screen.

    `key_checks` are asked whatever is on screen, at their own pace: the first tells whether the key is good, the
    others, asked only then, whether it has its scopes.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float],
        post: Callable[[Snapshot], None],
        wants: Callable[[], Iterable[Want]],
        interval_seconds: float,
        key_checks: Sequence[Want] = (),
    ) -> None:
        self._source = source
        self._clock = clock
        self._post = post
        self._wants = wants
        self._key_checks = tuple(key_checks)
        self._wake = asyncio.Event()
        self._parts: dict[str, Part] = {}
        self._asked_at: dict[str, float] = {}
        self.paused = False
        self.snapshot = Snapshot(interval_seconds=interval_seconds)

    @property
    def interval_seconds(self) -> float:
        """Seconds between two ticks while all is well."""
        return self.snapshot.interval_seconds

    @interval_seconds.setter
    def interval_seconds(self, seconds: float) -> None:
        self.snapshot = replace(self.snapshot, interval_seconds=seconds)
        self._wake.set()

    @property
    def delay_seconds(self) -> float:
        """Seconds until the next tick: the interval, or the retry ladder while the daemon is lost."""
        link = self.snapshot.link
        if link.state != "lost":
            return self.interval_seconds
        return RETRY_SECONDS[min(link.attempts, len(RETRY_SECONDS)) - 1]

    def wake(self, *, forget: bool = False) -> None:
        """Ask now instead of at the next tick; `forget` also asks what was asked a moment ago."""
        if forget:
            self._asked_at.clear()
        self._wake.set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            self._wake.clear()
            await self.poll_once()
            await self._rest()
            while self.paused:
                self._wake.clear()
                await self._wake.wait()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self.delay_seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def poll_once(self) -> Snapshot:
        """One tick: ask, build the Snapshot, post it, return it."""
        now = self._clock()
        due = [want for want in self._wants() if self._is_due(want, now)]
        answers = await asyncio.gather(*(self.ask(want) for want in (METRICS, READY, *due)))
        metrics, ready = answers[0], answers[1]
        for part in answers[2:]:
            self._keep(part)
        for part in await self._check_key(answers[2:]):
            self._keep(part)
        now = self._clock()
        self.snapshot = replace(
            self.snapshot,
            at=now,
            link=self._link(now, metrics, ready),
            metrics=metrics,
            ready=ready,
            parts=dict(self._parts),
        )
        self._post(self.snapshot)
        return self.snapshot

    async def _check_key(self, answers: Sequence[Part]) -> list[Part]:
        """What is due of the checks of the key; at once after a lost line, and when a key believed good was refused."""
        if not self._key_checks:
            return []
        first, *others = self._key_checks
        doubted = self._key_is_good() and any(_refused(part) for part in answers)
        if doubted or self.snapshot.link.state == "lost":
            for want in self._key_checks:
                self._asked_at.pop(want.name, None)
        asked = any(part.want.name == first.name for part in answers)
        parts = [await self.ask(first)] if not asked and self._is_due(first, self._clock()) else []
        checked = parts[0] if parts else self._parts.get(first.name)
        if checked is None or checked.failure is not None:
            return parts
        due = [want for want in others if self._is_due(want, self._clock())]
        return [*parts, *await asyncio.gather(*map(self.ask, due))]

    def _key_is_good(self) -> bool:
        kept = [self._parts.get(want.name) for want in self._key_checks]
        return all(part is not None and not _refused(part) for part in kept)

    async def ask(self, want: Want) -> Part:
        """One read. A failure keeps the last good data of the same question beside it."""
        before = self._before(want)
        try:
            data = await self._source.read(want)
        except RequestFailed as exc:
            return replace(before, want=want, failure=exc.failure)
        return Part(want, data, self._clock())

    def _before(self, want: Want) -> Part:
        if want.name == METRICS.name:
            return self.snapshot.metrics
        if want.name == READY.name:
            return self.snapshot.ready
        return self.snapshot.part(want)

    def _is_due(self, want: Want, now: float) -> bool:
        kept = self._parts.get(want.name)
        if kept is not None and (kept.want.path, kept.want.params) == (want.path, want.params):
            asked = self._asked_at.get(want.name)
            if asked is not None and 0 <= now - asked < _pace_seconds(kept, want):
                return False
        self._asked_at[want.name] = now
        return True

    def _keep(self, part: Part) -> None:
        self._parts.pop(part.want.name, None)
        self._parts[part.want.name] = part
        while len(self._parts) > _PARTS_KEPT:
            self._parts.pop(next(iter(self._parts)))

    def _link(self, now: float, metrics: Part, ready: Part) -> Link:
        before = self.snapshot.link
        if metrics.failure is None or ready.failure is None:
            return before if before.state == "up" else Link("up", now)
        attempts = before.attempts + 1 if before.state == "lost" else 1
        since = before.since if before.state == "lost" else now
        wait = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
        return Link("lost", since, metrics.failure, now + wait, attempts)


def _refused(part: Part) -> bool:
    return part.failure is not None and part.failure.cause in KEY_CAUSES


def _pace_seconds(kept: Part, want: Want) -> float:
    """Seconds between two asks of `want`: its own pace; after a failure what is rare is asked sooner, and what was
    refused for the key later."""
    if _refused(kept):
        return KEY_RETRY_SECONDS
    return min(want.every_seconds, KEY_RETRY_SECONDS) if kept.failure is not None else want.every_seconds
