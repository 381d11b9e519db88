"""The dashboard's own log of this session: links lost and found, restarts, alerts, actions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

LINES_KEPT = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `text` is already in words and literal, `role` names its style."""

    number: int
    at: float
    role: str
    text: str


class Journal:
    """The newest lines, oldest dropped first."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=LINES_KEPT)
        self._counter = 0

    def add(self, at: float, role: str, text: str) -> None:
        """Append a line."""
        self._counter += 1
        self.entries.append(Entry(self._counter, at, role, text))
