"""Housekeeping: refreshes the gauges that need the database, refreshes WeChat's keys, and throws old rows away."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from payd import limits
from payd.metrics import Metrics
from payd.models.ids import BEIJING
from payd.models.states import OrderState, RefundState
from payd.ports import Clock, Storage, WechatPay

#: The loop is asked to wake up after this long; how late it does is its lag.
LAG_PROBE_SECONDS: Final = 0.05


class Housekeeping:
    """One run of everything that is nobody else's work."""

    def __init__(self, *, storage: Storage, wechat: WechatPay, clock: Clock, metrics: Metrics) -> None:
        self._storage = storage
        self._wechat = wechat
        self._clock = clock
        self._metrics = metrics
        self._purged_at: datetime | None = None

    async def run(self) -> None:
        """Do one run."""
        now = self._clock.now()
        await self._gauge_money(now)
        await self._gauge_work(now)
        await self._gauge_machine()
        await self._wechat.refresh_keys()
        self._gauge_keys(now)
        if self._purged_at is None or now - self._purged_at > timedelta(hours=1):
            self._purged_at = now
            kept = timedelta(days=limits.NOTIFICATION_ROWS_KEPT_DAYS)
            await self._storage.purge(now=now, notifications_before=now - kept)

    async def _gauge_money(self, now: datetime) -> None:
        midnight = now.astimezone(BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
        totals, metrics = await self._storage.totals(midnight), self._metrics
        for order_state in OrderState:
            metrics.orders.labels(order_state.value).set(totals.orders.get(order_state, 0))
        for refund_state in RefundState:
            metrics.refunds.labels(refund_state.value).set(totals.refunds.get(refund_state, 0))
        metrics.day_created.set(totals.created_orders)
        metrics.day_paid.set(totals.paid_orders)
        metrics.day_paid_fen.set(totals.paid_fen)
        metrics.day_refunded_fen.set(totals.refunded_fen)

    async def _gauge_work(self, now: datetime) -> None:
        work, metrics = await self._storage.open_work(now), self._metrics
        for subject, oldest in (("payment", work.oldest_payment_at), ("refund", work.oldest_refund_at)):
            metrics.oldest_open.labels(subject).set(oldest.timestamp() if oldest else 0)
        metrics.reconcile_backlog.set(work.due_now)
        metrics.discrepancies_open.set(work.open_discrepancies)
        metrics.webhook_backlog.set(work.pending_deliveries)
        metrics.webhook_oldest.set(work.oldest_delivery_at.timestamp() if work.oldest_delivery_at else 0)

    async def _gauge_machine(self) -> None:
        status, metrics = await self._storage.status(), self._metrics
        metrics.file_bytes.set(status.file_bytes)
        metrics.wal_bytes.set(status.wal_bytes)
        metrics.free_bytes.set(status.free_bytes)
        metrics.queue_depth.set(status.queue_depth)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(LAG_PROBE_SECONDS)
        metrics.loop_lag.set(max(0.0, loop.time() - before - LAG_PROBE_SECONDS))
        skew = self._wechat.clock_skew_seconds()
        if skew is not None:
            metrics.clock_skew.set(skew)

    def _gauge_keys(self, now: datetime) -> None:
        not_after = self._wechat.key_status().not_after
        if not_after is not None:
            self._metrics.watch_key_days().set((not_after - now).total_seconds() / 86_400)
