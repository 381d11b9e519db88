"""What is told about a day's bills: from the database and the stored file; and the bill as CSV for people."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from payd import limits
from payd.core.bill_export import header_line, row_line
from payd.core.trade_bill import read_trade_bill
from payd.errors import Complaint, RequestError
from payd.models.bill import BillKind, BillRun, BillRunStatus
from payd.models.discrepancy import Discrepancy, DiscrepancyStatus
from payd.ports import Position
from payd.workers.bill_files import bill_lines, bill_path, file_sha1, in_turns


class BillOutcome(StrEnum):
    """How it went, or stands."""

    COMPARED = "compared"
    NO_STATEMENT = "no_statement"  #: WeChat says nothing happened that day
    DAMAGED = "damaged"  #: hash, form or totals of the file are wrong
    CREATING = "creating"  #: WeChat is still making the file
    UNAVAILABLE = "unavailable"  #: WeChat did not answer clearly, or refused
    NOT_FETCHED = "not_fetched"  #: not tried yet, or not with an end


#: Outcomes that may be better a little later (sysexits EX_TEMPFAIL).
TEMPORARY: Final = frozenset({BillOutcome.DAMAGED, BillOutcome.CREATING, BillOutcome.UNAVAILABLE})

OUTCOME_OF: Final[dict[BillRunStatus, BillOutcome]] = {
    BillRunStatus.DUE: BillOutcome.NOT_FETCHED,
    BillRunStatus.EMPTY: BillOutcome.NO_STATEMENT,
    BillRunStatus.COMPARED: BillOutcome.COMPARED,
    BillRunStatus.DAMAGED: BillOutcome.DAMAGED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BillReport:
    """One day. ``outcome`` and ``reason`` speak of the trade bill, or of a damaged fund-flow bill beside a good one.

    ``discrepancies`` are those that this day's bill opened. ``path`` is the stored file, None when there is none;
    ``intact`` whether its SHA-1 is still WeChat's (None: no file).
    """

    bill_date: date
    outcome: BillOutcome
    reason: str | None
    trade: BillRun | None
    fund_flow: BillRun | None
    discrepancies: tuple[Discrepancy, ...]
    path: Path | None
    intact: bool | None

    @property
    def differences(self) -> int:
        """Count what the comparison found, resolved or not."""
        return self.trade.differences if self.trade is not None else 0

    @property
    def exit_code(self) -> int:
        """Say how ``payd bill fetch`` ends: 75 not done yet, 1 differences, 0 agreed or no statement."""
        if self.outcome in TEMPORARY:
            return 75
        return 1 if self.differences else 0

    def view(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return {
            "bill_date": self.bill_date.isoformat(),
            "outcome": self.outcome.value,
            "reason": self.reason,
            "differences": self.differences,
            "path": str(self.path) if self.path is not None else None,
            "intact": self.intact,
            "trade": _run_view(self.trade),
            "fund_flow": _run_view(self.fund_flow),
            "discrepancies": [
                {
                    "id": found.id, "kind": found.kind.value, "status": found.status.value,
                    "out_trade_no": found.out_trade_no, "out_refund_no": found.out_refund_no,
                    "transaction_id": found.transaction_id, "detail": dict(found.detail),
                }
                for found in self.discrepancies
            ],
        }  # fmt: skip


class BillReads(Protocol):
    """What a report reads; ``open_for_reading`` gives it beside a running daemon."""

    async def load_bill_run(self, bill_date: date, kind: BillKind) -> BillRun | None: ...

    async def list_discrepancies(
        self, status: DiscrepancyStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[Discrepancy]: ...


async def report_bill(
    reads: BillReads, folder: Path, bill_date: date, *, outcome: BillOutcome | None = None, reason: str | None = None
) -> BillReport:
    """Tell how a day's bills stand; asks nobody. ``outcome`` and ``reason``: of a try that was just made."""
    trade = await reads.load_bill_run(bill_date, BillKind.TRADE)
    path = bill_path(folder, bill_date, BillKind.TRADE)
    stored = path.is_file()
    sha1 = trade.summary.get("sha1") if trade is not None else None
    intact = await asyncio.to_thread(file_sha1, path) == sha1 if stored and sha1 else None
    stands = OUTCOME_OF[trade.status] if trade is not None else BillOutcome.NOT_FETCHED
    return BillReport(
        bill_date=bill_date,
        outcome=outcome or stands,
        reason=reason or (trade.summary.get("reason") if trade is not None else None),
        trade=trade,
        fund_flow=await reads.load_bill_run(bill_date, BillKind.FUND_FLOW),
        discrepancies=tuple([found async for found in bill_discrepancies(reads, bill_date)]),
        path=path if stored else None,
        intact=intact,
    )


async def bill_discrepancies(reads: BillReads, bill_date: date) -> AsyncIterator[Discrepancy]:
    """Find what a day's bill opened, newest first, resolved ones too."""
    after, day = None, bill_date.isoformat()
    while True:
        page = await reads.list_discrepancies(None, limit=limits.PAGE_LIMIT_MAX, after=after)
        for found in page:
            if found.detail.get("bill_date") == day:
                yield found
        if len(page) < limits.PAGE_LIMIT_MAX:
            return
        after = Position(page[-1].opened_at, page[-1].id)


async def export_bill(reads: BillReads, folder: Path, bill_date: date, target: Path) -> int:
    """Write a day's stored trade bill as CSV with payd's findings; returns the number of rows.

    ``target`` (mode 0600) appears whole or not at all, and replaces what was there. Raises RequestError when no bill of
    that day is stored, BillDamaged when the stored file was changed.
    """
    path = bill_path(folder, bill_date, BillKind.TRADE)
    if not path.is_file():
        issue = f"no trade bill of {bill_date} is stored; payd bill fetch {bill_date} gets it"
        raise RequestError("invalid_request", complaints=[Complaint("date", issue)])
    found: dict[tuple[str | None, str | None], list[str]] = {}
    async for item in bill_discrepancies(reads, bill_date):
        found.setdefault((item.out_trade_no, item.out_refund_no), []).append(item.kind.value)
    part = target.with_name(f".{target.name}.part")
    try:
        writing = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with path.open("rb") as file, os.fdopen(writing, "wb") as sink:
            sink.write(b"\xef\xbb\xbf" + header_line().encode())
            reader = read_trade_bill(bill_lines(file))
            async for row in in_turns(reader):
                numbers = (row.out_trade_no, row.refund.out_refund_no if row.refund else None)
                sink.write(row_line(row, found.get(numbers, ())).encode())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return reader.rows


def _run_view(run: BillRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "status": run.status.value,
        "attempts": run.attempts,
        "rows": run.rows,
        "differences": run.differences,
        "summary": dict(run.summary),
        "next_at": run.next_at.isoformat().replace("+00:00", "Z") if run.next_at is not None else None,
    }
