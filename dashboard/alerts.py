"""Remembers findings over time: since when one fires, whether it was acknowledged, what is over."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from dashboard.findings import Finding

HISTORY_KEPT = 200
ATTENTION_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Alert:
    """One firing of a rule, from its beginning to its end (None: it fires now)."""

    key: str
    finding: Finding
    began_at: float
    ended_at: float | None = None
    acknowledged: bool = False


class Alerts:
    """The alerts of this session. Acknowledging is for the session; the daemon knows nothing of it."""

    def __init__(self) -> None:
        self._firing: dict[str, Alert] = {}
        self._past: deque[Alert] = deque(maxlen=HISTORY_KEPT)
        self._counter = 0

    def update(self, findings: tuple[Finding, ...], now: float) -> tuple[list[Alert], list[Alert]]:
        """Take in what fires now; returns what began and what ended with it."""
        began: list[Alert] = []
        present = {finding.id: finding for finding in findings}
        ended = [replace(alert, ended_at=now) for name, alert in self._firing.items() if name not in present]
        self._past.extendleft(ended)
        before, self._firing = self._firing, {}
        for name, finding in present.items():
            known = before.get(name)
            if known is None:
                self._counter += 1
                known = Alert(f"{self._counter}", finding, now)
                began.append(known)
            self._firing[name] = replace(known, finding=finding)
        return began, ended

    def acknowledge(self, key: str) -> None:
        """Mark one firing alert as seen."""
        for name, alert in self._firing.items():
            if alert.key == key:
                self._firing[name] = replace(alert, acknowledged=True)

    @property
    def all(self) -> tuple[Alert, ...]:
        """Firing ones first (in the order of the rules), then the past, newest first."""
        return (*self._firing.values(), *self._past)

    @property
    def unacknowledged(self) -> tuple[Alert, ...]:
        """Firing and not yet seen."""
        return tuple(alert for alert in self._firing.values() if not alert.acknowledged)

    @property
    def attention(self) -> tuple[Finding, ...]:
        """What the overview lists."""
        return tuple(alert.finding for alert in self._firing.values())[:ATTENTION_SHOWN]
