"""How the reconciler does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run: how many were asked about, how many states moved, how many could not be asked."""

    asked: int
    settled: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileState:
    """The schedule and its last run; None before the first."""

    last_run_at: datetime | None
    last_run: RunReport | None
    enabled: bool
    interval_seconds: int
