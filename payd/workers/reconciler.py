"""The reconciler: asks WeChat about whatever stayed open, oldest due first, and closes what has expired.

A lost notification, an unclear answer, a crash, a day of downtime: all look the same from here, a row whose due time
has come. One run takes at most ``batch_size`` of each kind; runs never overlap (`Periodic`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from payd import limits
from payd.errors import PaydError
from payd.logs import get_logger
from payd.metrics import Metrics
from payd.models.reconcile import ReconcileState, RunReport
from payd.ports import Clock, Storage

log = get_logger("payd.reconciler")


class Reconciler:
    """Follows due payments and refunds. ``follow_*`` are PayPlugin's; they return whether a state moved."""

    def __init__(
        self,
        *,
        storage: Storage,
        follow_payment: Callable[[str], Awaitable[bool]],
        follow_refund: Callable[[str], Awaitable[bool]],
        clock: Clock,
        metrics: Metrics,
        batch_size: int,
        interval_seconds: int,
        enabled: bool,
    ) -> None:
        self._storage = storage
        self._follow_payment = follow_payment
        self._follow_refund = follow_refund
        self._clock = clock
        self._metrics = metrics
        self._batch_size = batch_size
        self._interval_seconds = interval_seconds
        self._enabled = enabled
        self._last: RunReport | None = None
        self._last_at: datetime | None = None

    async def run(self) -> None:
        """Do one run for the schedule."""
        await self.run_once()

    async def run_once(self) -> RunReport:
        """Do one run: a batch of refunds and a batch of payments. Errors of single rows are counted, not raised."""
        now = self._clock.now()
        refunds = await self._storage.due_refunds(now, limit=self._batch_size)
        payments = await self._storage.due_payments(now, limit=self._batch_size)
        self._metrics.reconcile_backlog.set(len(refunds) + len(payments))
        turns = asyncio.Semaphore(limits.RECONCILE_CONCURRENCY)
        outcomes = await asyncio.gather(
            *(self._follow(turns, self._follow_refund, number) for number in refunds),
            *(self._follow(turns, self._follow_payment, number) for number in payments),
        )
        report = RunReport(len(outcomes), outcomes.count("settled"), outcomes.count("failed"))
        self._last, self._last_at = report, self._clock.now()
        self._metrics.reconcile_runs.labels("error" if report.failed else "ok").inc()
        self._metrics.reconcile_corrections.inc(report.settled)
        if not report.failed:
            self._metrics.reconcile_last_success.set(self._last_at.timestamp())
        if report.asked:
            log.info("reconciled", asked=report.asked, settled=report.settled, failed=report.failed)
        return report

    async def _follow(self, turns: asyncio.Semaphore, follow: Callable[[str], Awaitable[bool]], number: str) -> str:
        async with turns:
            try:
                return "settled" if await follow(number) else "open"
            except PaydError as error:
                log.warning("reconcile_failed", number=number, error=str(error))
                return "failed"

    def state(self) -> ReconcileState:
        """Tell the last run, for the summary and the dashboard."""
        return ReconcileState(
            last_run_at=self._last_at,
            last_run=self._last,
            enabled=self._enabled,
            interval_seconds=self._interval_seconds,
        )
