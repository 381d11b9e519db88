"""When to ask again: tables of seconds, and the functions that read them. Jitter is the worker's business."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

#: After create, WeChat is asked after these seconds; then half-hourly until expiry (doc 4012075249's advice).
PAYMENT_LADDER: Final = (5, 30, 60, 180, 300, 600, 1_800)

#: While a close is unclear: an expired order is asked and closed again after these seconds.
CLOSE_LADDER: Final = (5, 30, 60, 180, 300, 600, 1_800)

#: A closed or failed order is still asked about, these seconds after its end: money may have come late.
LATE_WATCH: Final = (600, 3_600, 21_600, 86_400)

#: Refunds: each minute for five minutes, then 5, 10, 20, 30 minutes (WeChat refund query page), then half-hourly.
REFUND_LADDER: Final = (60, 60, 60, 60, 60, 300, 600, 1_200, 1_800)

#: A refund whose answer was unclear is asked sooner.
UNCLEAR_REFUND_LADDER: Final = (5, 30, 60, 60, 60, 300, 600, 1_200, 1_800)

#: Webhook retries after a failed attempt, in seconds: the first within 10 s, all within three days.
WEBHOOK_LADDER: Final = (5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 64_800, 86_400)

#: Spread of every webhook retry, as a share of its delay (uniform, upwards and downwards).
WEBHOOK_JITTER: Final = 0.2


def rung(ladder: tuple[int, ...], checks: int) -> timedelta:
    """Read a ladder; past its end the last rung repeats."""
    return timedelta(seconds=ladder[min(checks, len(ladder) - 1)])


def next_payment_check(*, now: datetime, checks: int, expires_at: datetime, close_requested: bool) -> datetime:
    """Say when an open payment is asked about again: by the ladder, but never later than its expiry."""
    if close_requested or now >= expires_at:
        return now + rung(CLOSE_LADDER, checks)
    return min(now + rung(PAYMENT_LADDER, checks), expires_at)


def next_late_check(*, now: datetime, ended_at: datetime) -> datetime | None:
    """Say when an ended, unpaid order is asked about again; None after a day."""
    passed = (now - ended_at).total_seconds()
    return next((ended_at + timedelta(seconds=s) for s in LATE_WATCH if s > passed), None)


def next_refund_check(*, now: datetime, checks: int, unclear: bool) -> datetime:
    """Say when an open refund is asked about again."""
    return now + rung(UNCLEAR_REFUND_LADDER if unclear else REFUND_LADDER, checks)


def next_webhook_attempt(*, now: datetime, attempts: int, spread: float) -> datetime | None:
    """Say when a failed delivery goes out again; None: it is dead. ``spread`` is uniform in -1..1."""
    if attempts > len(WEBHOOK_LADDER):
        return None
    delay = WEBHOOK_LADDER[attempts - 1] * (1 + WEBHOOK_JITTER * spread)
    return now + timedelta(seconds=delay)
