"""Repeated work: it never overlaps, never dies silently, and its end waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from payd.workers.periodic import Periodic

HOUR = 3_600


class Work:
    """Work whose runs a test lets go one by one."""

    def __init__(self, *, gated: bool = False) -> None:
        self.begun = 0
        self.ended = 0
        self.running = 0
        self.most_at_once = 0
        self.errors: list[tuple[str, BaseException]] = []
        self.fail_with: list[Exception] = []
        self.gate = asyncio.Semaphore(0) if gated else None
        self.progress = asyncio.Condition()

    async def __call__(self) -> None:
        self.begun += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            async with self.progress:
                self.progress.notify_all()
            if self.gate is not None:
                await self.gate.acquire()
            if self.fail_with:
                raise self.fail_with.pop(0)
            self.ended += 1
        finally:
            self.running -= 1
            async with self.progress:
                self.progress.notify_all()

    def report(self, name: str, error: BaseException) -> None:
        self.errors.append((name, error))

    async def until(self, true: Callable[[], bool]) -> None:
        async with self.progress:
            await self.progress.wait_for(true)


def periodic(work: Callable[[], Awaitable[None]], report: Work, *, seconds: float = HOUR, **more: float) -> Periodic:
    return Periodic("work", work, interval_seconds=seconds, on_error=report.report, **more)


async def test_the_schedule_runs_again_and_again(io_loop: object) -> None:
    """Started work runs every interval."""
    work = Work()
    every = periodic(work, work, seconds=0.001)

    every.start()
    await work.until(lambda: work.ended >= 3)
    await every.stop()

    assert work.most_at_once == 1
    assert work.errors == []


async def test_a_failure_is_reported_and_does_not_end_the_schedule(io_loop: object) -> None:
    """An exception is counted and told with the name of the work; the next run comes."""
    work = Work()
    work.fail_with = [ValueError("first"), KeyError("second")]
    every = periodic(work, work, seconds=0.001)

    every.start()
    await work.until(lambda: work.ended >= 1)
    await every.stop()

    assert [(name, type(error)) for name, error in work.errors] == [("work", ValueError), ("work", KeyError)]
    assert every.failures == 2


async def test_a_run_by_hand_waits_for_the_run_in_progress(io_loop: object) -> None:
    """Runs never overlap, whoever asks for them."""
    work = Work(gated=True)
    every = periodic(work, work)
    first, second = asyncio.ensure_future(every.run_once()), asyncio.ensure_future(every.run_once())
    await work.until(lambda: work.begun == 1)
    assert work.gate is not None

    work.gate.release()
    work.gate.release()
    results = await asyncio.gather(first, second)

    assert results == [True, True]
    assert work.most_at_once == 1
    assert every.runs == 2


async def test_a_run_by_hand_says_that_it_failed(io_loop: object) -> None:
    """run_once answers False for a failed run and reports it; it does not raise."""
    work = Work()
    work.fail_with = [ValueError("no")]

    went_well = await periodic(work, work).run_once()

    assert went_well is False
    assert len(work.errors) == 1


async def test_kicks_before_a_run_are_one_run(io_loop: object) -> None:
    """Kicks coalesce: many commits at once lead to one look at the database."""
    work = Work()
    every = periodic(work, work)
    every.start()

    for _ in range(10):
        every.kick()
    await work.until(lambda: work.ended >= 1)
    await every.stop()

    assert every.runs == 1


async def test_a_kick_during_a_run_leads_to_one_more_run(io_loop: object) -> None:
    """What was committed while a run was reading is seen by the next run, not an interval later."""
    work = Work(gated=True)
    every = periodic(work, work)
    every.start()
    every.kick()
    await work.until(lambda: work.begun == 1)
    assert work.gate is not None

    every.kick()
    every.kick()
    work.gate.release()
    await work.until(lambda: work.begun == 2)
    work.gate.release()
    await work.until(lambda: work.ended == 2)
    await every.stop()

    assert every.runs == 2
    assert work.most_at_once == 1


async def test_a_kick_does_nothing_unless_started(io_loop: object) -> None:
    """Before start and after stop there are no runs."""
    work = Work()
    every = periodic(work, work)

    every.kick()
    every.start()
    await every.stop()
    every.kick()
    await asyncio.sleep(0)

    assert every.runs == 0


async def test_stop_waits_for_the_run_in_progress(io_loop: object) -> None:
    """After stop nothing of the work is still going on."""
    work = Work(gated=True)
    every = periodic(work, work)
    every.start()
    every.kick()
    await work.until(lambda: work.begun == 1)
    assert work.gate is not None

    stopping = asyncio.ensure_future(every.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    work.gate.release()
    await stopping

    assert work.ended == 1
    assert work.errors == []


async def test_stop_gives_up_on_a_run_that_hangs(io_loop: object) -> None:
    """A run that does not end is cancelled and reported; stop itself ends."""
    work = Work(gated=True)
    every = periodic(work, work)
    every.start()
    every.kick()
    await work.until(lambda: work.begun == 1)

    await every.stop(wait_seconds=0.01)

    assert work.running == 0
    assert work.ended == 0
    assert [type(error) for _, error in work.errors] == [asyncio.CancelledError]


async def test_a_run_over_its_time_limit_is_cancelled(io_loop: object) -> None:
    """A time-boxed run ends with a reported TimeoutError and the schedule goes on."""
    work = Work(gated=True)
    every = periodic(work, work, time_limit_seconds=0.01)
    assert work.gate is not None

    went_well = await every.run_once()
    work.gate.release()
    went_well_then = await every.run_once()

    assert (went_well, went_well_then) == (False, True)
    assert [type(error) for _, error in work.errors] == [TimeoutError]


async def test_cancelling_a_run_by_hand_cancels_the_work(io_loop: object) -> None:
    """Who asked for a run and goes away takes the work along; that is no failure of the work."""
    work = Work(gated=True)
    every = periodic(work, work)
    run = asyncio.ensure_future(every.run_once())
    await work.until(lambda: work.begun == 1)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await work.until(lambda: work.running == 0)

    assert work.errors == []
    assert work.ended == 0


async def test_starting_twice_is_a_mistake(io_loop: object) -> None:
    """A second start would double the schedule."""
    work = Work()
    every = periodic(work, work)
    every.start()

    with pytest.raises(AssertionError):
        every.start()
    await every.stop()

    assert every.runs == 0
