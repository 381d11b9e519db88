"""Repeated work: Tornado's ``PeriodicCallback``, wrapped once.

``PeriodicCallback`` only logs exceptions and its ``stop()`` does not wait. `Periodic` never overlaps itself, counts and
reports every failure, keeps its schedule whatever happens, can be asked for a run soon, and waits at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tornado.ioloop import PeriodicCallback

from payd.limits import DRAIN_SECONDS

#: Told of every failed run: the name of the work, and why. Must not raise.
OnError = Callable[[str, BaseException], None]


class Periodic:
    """Runs ``work`` every ``interval_seconds``, on the loop it is started on. Not for use from other threads.

    ``jitter`` is the share of the interval by which it varies (0.1: five per cent up or down).
    ``time_limit_seconds`` cancels a run that takes longer and reports TimeoutError; None lets it take its time.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        interval_seconds: float,
        on_error: OnError,
        jitter: float = 0.1,
        time_limit_seconds: float | None = None,
    ) -> None:
        self.name = name
        self.runs = 0  #: runs that began
        self.failures = 0  #: runs that ended with an exception
        self._work = work
        self._on_error = on_error
        self._time_limit_seconds = time_limit_seconds
        self._timer = PeriodicCallback(self._tick, interval_seconds * 1000, jitter=jitter)
        self._turn = asyncio.Lock()  # held by the run in progress
        self._current: asyncio.Future[None] | None = None  # the work in progress; None between runs
        self._kicked: asyncio.Task[bool] | None = None  # a kick that has not begun its run yet
        self._tasks: set[asyncio.Task[bool]] = set()  # runs begun by kicks
        self._started = False

    def start(self) -> None:
        """Begin the schedule; the first run comes after one interval (`kick` brings it forward)."""
        assert not self._started, f"{self.name} runs already"
        self._started = True
        self._timer.start()

    def kick(self) -> None:
        """Run soon, without waiting for the interval.

        Kicks that come before that run begins are one; a kick during a run leads to one more run after it, so what was
        committed before the kick is always seen. Does nothing unless started.
        """
        if not self._started or self._kicked is not None:
            return
        self._kicked = asyncio.ensure_future(self._run_kicked())
        self._tasks.add(self._kicked)
        self._kicked.add_done_callback(self._tasks.discard)

    async def run_once(self) -> bool:
        """Run by hand, after the run in progress if there is one. True when the work ended without an exception.

        Never raises for a failure of the work: that is counted and reported like any other.
        """
        async with self._turn:
            return await self._run()

    async def stop(self, *, wait_seconds: float = DRAIN_SECONDS) -> None:
        """End the schedule and wait for the run in progress; after ``wait_seconds`` it is cancelled and reported."""
        self._started = False
        self._timer.stop()
        if self._kicked is not None:
            self._kicked.cancel()
            self._kicked = None
        if self._current is not None:
            await asyncio.wait({self._current}, timeout=wait_seconds)
        if self._current is not None:
            self._current.cancel()
        async with self._turn:  # the cancelled run has reported itself when it gives up its turn
            pass
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tick(self) -> None:
        if not self._turn.locked():  # a run by kick or by hand counts as this interval's
            await self.run_once()

    async def _run_kicked(self) -> bool:
        async with self._turn:
            self._kicked = None  # from here on a kick means one more run
            return await self._run()

    async def _run(self) -> bool:
        self.runs += 1
        current = asyncio.ensure_future(self._work())
        self._current = current
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                await current
        except asyncio.CancelledError as exc:
            current.cancel()
            if _is_being_cancelled():
                raise
            self._failed(exc)  # stop() gave up waiting: the work was cancelled, not the one who asked for it
            return False
        except Exception as exc:
            self._failed(exc)
            return False
        finally:
            self._current = None
        return True

    def _failed(self, exc: BaseException) -> None:
        self.failures += 1
        self._on_error(self.name, exc)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
