"""Which of WeChat's two hosts is asked first: a memory of how the main host did, and the way back to it.

Every call may be repeated once on the other host when the first could not be reached. Source: WeChat Pay v3,
"cross-city failover": switch when 3 of 5 probes fail, return when the main host is healthy.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from payd.limits import WECHAT_FAILURES_TO_SWITCH, WECHAT_PROBE_SPACING_SECONDS, WECHAT_PROBES_TO_RETURN
from payd.ports import Clock
from payd.wechat.requests import READ_ONLY, Operation

_REMEMBERED: Final = 5


class Hosts:
    """The main host and the backup. After a switch only read-only calls probe the main host, so no payment waits."""

    def __init__(self, main: str, backup: str | None, *, clock: Clock) -> None:
        self._main = main
        self._backup = backup
        self._clock = clock
        self._recent: deque[bool] = deque(maxlen=_REMEMBERED)
        self._switched = False
        self._next_probe = 0.0

    @property
    def switched(self) -> bool:
        """Tell whether the backup is asked first."""
        return self._switched

    def order(self, operation: Operation) -> tuple[str, ...]:
        """Name the hosts to try, in order; a second one only where there is a backup."""
        if self._backup is None:
            return (self._main,)
        if not self._switched:
            return (self._main, self._backup)
        if operation in READ_ONLY and self._clock.monotonic() >= self._next_probe:
            self._next_probe = self._clock.monotonic() + WECHAT_PROBE_SPACING_SECONDS
            return (self._main, self._backup)
        return (self._backup, self._main)

    def heard(self, base: str, *, reached: bool) -> None:
        """Remember whether a host answered at all; what it answered does not matter here."""
        if base != self._main or self._backup is None:
            return
        self._recent.append(reached)
        if not self._switched and self._recent.count(False) >= WECHAT_FAILURES_TO_SWITCH:
            self._switch(to_backup=True)
        elif self._switched and self._recent.count(True) >= WECHAT_PROBES_TO_RETURN:
            self._switch(to_backup=False)

    def _switch(self, *, to_backup: bool) -> None:
        self._switched = to_backup
        self._recent.clear()
        self._next_probe = self._clock.monotonic() + WECHAT_PROBE_SPACING_SECONDS
