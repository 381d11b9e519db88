"""Plays a recording where the poller would ask a daemon: same surface, the past instead of the present."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from dashboard.snapshots import Failure, Part, Snapshot, Want


class ReplayPoller:
    """Posts the Snapshots of a recording at its own pace; `now` is the recording's time."""

    def __init__(self, snapshots: Iterator[Snapshot], *, post: Callable[[Snapshot], None]) -> None:
        self._snapshots = snapshots
        self._post = post
        self._wake = asyncio.Event()
        self._pace: float | None = None
        self.paused = False
        self.finished = False
        self.snapshot = Snapshot()

    @property
    def interval_seconds(self) -> float:
        """Seconds between two steps: as recorded, or as chosen since."""
        return self._pace or self.snapshot.interval_seconds

    @interval_seconds.setter
    def interval_seconds(self, seconds: float) -> None:
        self._pace = seconds
        self._wake.set()

    def now(self) -> float:
        """The time of the frame on screen."""
        return self.snapshot.at

    def wake(self, *, forget: bool = False) -> None:
        """Nothing can be asked of the past; the next frame comes at its time (`forget`: now)."""
        if forget:
            self._wake.set()

    async def run(self) -> None:
        """Play to the end; the last frame stays."""
        while not self.finished:
            self._wake.clear()
            await self.poll_once()
            try:
                async with asyncio.timeout(self.interval_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            while self.paused:
                self._wake.clear()
                await self._wake.wait()

    async def poll_once(self) -> Snapshot:
        """One step. At the end the same frame again, with `finished` set."""
        following = next(self._snapshots, None)
        if following is None:
            self.finished = True
            return self.snapshot
        self.snapshot = following
        self._post(following)
        return following

    async def ask(self, want: Want) -> Part:
        """Only what was recorded."""
        return replace(self.snapshot.part(want), want=want, failure=Failure("replay", want.path))
