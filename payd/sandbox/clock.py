"""The simulator's two clocks.

The *book's* clock can be moved forward by the control API: it rules expiry, retries, refunds, automatic
closing and bills. The *wire's* clock (Authorization window, ``Date``, ``Wechatpay-Timestamp``) is always
the wall clock, or else a merchant whose own clock stands still could not talk to the simulator after a jump.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8), "CST")


class BookClock:
    """Wall clock plus an offset that only grows; instants are Unix seconds as floats."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self.offset_seconds = 0.0

    def now(self) -> float:
        """The book's present instant."""
        return self.wall() + self.offset_seconds

    def move_to(self, instant: float) -> None:
        """Let ``instant`` be now; an instant in the past leaves the clock alone."""
        self.offset_seconds = max(self.offset_seconds, instant - self.wall())


def beijing(instant: float) -> datetime:
    """``instant`` as an aware Beijing time."""
    return datetime.fromtimestamp(instant, BEIJING)


def rfc3339(instant: float) -> str:
    """WeChat's spelling of a time: ``2026-11-23T21:05:09+08:00`` (section 0)."""
    return beijing(instant).isoformat(timespec="seconds")


def beijing_day(instant: float) -> str:
    """The Beijing calendar day of ``instant``: ``2026-11-23``."""
    return beijing(instant).strftime("%Y-%m-%d")


def parse_rfc3339(text: str) -> float | None:
    """The instant that ``text`` names, or None when it is no RFC 3339 time with a zone."""
    if len(text) < 20 or text[10] != "T":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
