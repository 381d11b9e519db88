"""Bills: one run of fetching and comparing, and the rows of a trade bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class BillKind(StrEnum):
    """Which of WeChat's daily files."""

    TRADE = "trade"
    FUND_FLOW = "fundflow"


class BillRunStatus(StrEnum):
    """Where a run stands."""

    DUE = "due"  #: to be fetched at ``next_at``
    EMPTY = "empty"  #: NO_STATEMENT_EXIST: nothing happened that day
    COMPARED = "compared"  #: fetched, checked and compared
    DAMAGED = "damaged"  #: hash or totals wrong; tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRun:
    """One bill of one Beijing day (table ``bill_runs``, key ``(bill_date, kind)``).

    ``summary`` holds counts and sums in fen, made by the comparison. ``differences`` counts what was opened.
    """

    bill_date: date
    kind: BillKind
    version: int
    status: BillRunStatus
    attempts: int
    rows: int
    differences: int
    summary: Mapping[str, Any]
    path: str | None
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None
