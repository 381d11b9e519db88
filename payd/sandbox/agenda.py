"""What happens by itself and when: retries, refunds that settle, orders that close.

In normal running a timer fires what is due. ``advance`` moves the book's clock and fires everything that
falls due on the way, one after the other and in order, so the same advance always gives the same history.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from payd.sandbox.clock import BookClock

Action = Callable[[str, float], Awaitable[None] | None]


class Agenda:
    """Due actions by instant of the book's clock, plus the tasks that are still running."""

    def __init__(self, clock: BookClock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, str, str]] = []
        self._sequence = 0
        self._actions: dict[str, Action] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0  # the instant the timer is set to; meaningful while there is one
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._advancing = asyncio.Lock()

    def register(self, kind: str, action: Action) -> None:
        """Let ``action(key, due)`` be done for entries of ``kind``; it must ignore entries gone stale."""
        self._actions[kind] = action

    def at(self, due: float, kind: str, key: str) -> None:
        """Enter ``kind`` for ``key``. Entries are never removed: a stale one is ignored when it fires."""
        self._sequence += 1
        heapq.heappush(self._entries, (due, self._sequence, kind, key))
        if self._timer is None or due < self._armed_for:
            self._arm()

    def start(self) -> None:
        """Begin to fire; what fell due while nothing ran is fired now."""
        self._running = True
        self._arm()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside everything else; ``stop`` and ``advance`` wait for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Fire nothing more, also in an advance under way, and wait for what is running."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.settled()

    async def settled(self) -> None:
        """Return when nothing that was started is still running."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def advance(self, seconds: float) -> int:
        """Move the book's clock forward by ``seconds``; return how many entries were fired on the way."""
        async with self._advancing:
            target = self._clock.now() + seconds
            fired = 0
            await self.settled()
            while self._running and self._entries and self._entries[0][0] <= target:
                due, _, kind, key = heapq.heappop(self._entries)
                self._clock.move_to(due)
                outcome = self._actions[kind](key, due)
                if outcome is not None:
                    await outcome
                await self.settled()
                fired += 1
            if self._running:
                self._clock.move_to(target)
        self._arm()
        return fired

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running and self._entries and not self._advancing.locked():
            self._armed_for = self._entries[0][0]
            pause = max(0.0, self._armed_for - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(pause, self._fire)

    def _fire(self) -> None:
        """Start everything that is due; slow actions run beside each other, as WeChat's would."""
        self._timer = None
        while self._entries and self._entries[0][0] <= self._clock.now():
            due, _, kind, key = heapq.heappop(self._entries)
            outcome = self._actions[kind](key, due)
            if outcome is not None:
                self.spawn(_awaited(outcome))
        self._arm()


async def _awaited(outcome: Awaitable[None]) -> None:
    await outcome
