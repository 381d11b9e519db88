"""The bill reconciler: fetches each day's bills from WeChat the morning after, and compares them with the books.

Every day and kind is a row (`BillRun`) with a due time, so a standstill, a crash or a bill that is not ready needs no
special path: what is due is tried, oldest day first. `fetch` does the same by hand, at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from payd import limits
from payd.config import BillsConfig
from payd.core.bill_format import BillDamaged
from payd.core.bill_lines import day_bounds
from payd.errors import AlreadyExists, Complaint, RequestError
from payd.logs import get_logger
from payd.models.bill import BillKind, BillRun, BillRunStatus
from payd.models.changes import ABSENT, ChangeSet, Put
from payd.models.ids import BEIJING
from payd.models.wechat import Refused, Unclear
from payd.ports import Clock, OrderFilter, Storage, WechatPay
from payd.workers.bill_comparer import BillComparer, Compared, Settlement
from payd.workers.bill_files import bill_path
from payd.workers.bill_report import TEMPORARY, BillOutcome, BillReport, export_bill, report_bill

log = get_logger("payd.bills")

#: Seconds until the next try, by the number of tries so far; the last repeats.
RETRY_SECONDS: Final = (60, 300, 900, 1_800, 3_600, 7_200, 14_400)

#: WeChat's refusals that are answers: code -> what they mean.
ANSWERS: Final[dict[str, BillOutcome]] = {
    "NO_STATEMENT_EXIST": BillOutcome.NO_STATEMENT,
    "STATEMENT_CREATING": BillOutcome.CREATING,
}
_DONE: Final = frozenset({BillRunStatus.COMPARED, BillRunStatus.EMPTY})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    """What WeChat gave: COMPARED with a file (to be compared), NO_STATEMENT, or why there is nothing.

    ``refused``: WeChat said no, signed; to repeat the question for ever is of no use.
    """

    outcome: BillOutcome
    path: Path | None = None
    sha1: str | None = None
    reason: str | None = None
    refused: bool = False


class BillReconciler:
    """Plans, fetches and compares bills. One at a time; a run by hand waits for the one in progress.

    ``folder`` keeps the files as WeChat sent them, next to the database.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        wechat: WechatPay,
        settlement: Settlement,
        clock: Clock,
        config: BillsConfig,
        folder: Path,
        mchid: str,
        appid: str,
    ) -> None:
        self._storage = storage
        self._wechat = wechat
        self._clock = clock
        self._enabled = config.enabled
        self._fetch_at = time.fromisoformat(config.fetch_at)
        self._folder = folder
        self._comparer = BillComparer(storage=storage, settlement=settlement, clock=clock, mchid=mchid, appid=appid)
        self._planned_to: date | None = None  # the last day whose rows are there
        self._turn = asyncio.Lock()

    async def run_due(self) -> None:
        """Plan the days that have ended, and try every bill whose time has come."""
        if not self._enabled:
            return
        async with self._turn:
            await self._plan()
            due = await self._storage.due_bill_runs(self._clock.now())
            for run in sorted(due, key=lambda run: (run.bill_date, run.kind is not BillKind.TRADE)):
                await self._try(run)

    async def fetch(self, bill_date: date) -> BillReport:
        """Fetch and compare one day's bills now, whatever was there before.

        Raises RequestError when that day is not over in Beijing, or WeChat no longer keeps it.
        """
        self._check_date(bill_date)
        async with self._turn:
            tried = {kind: await self._try(await self._row(bill_date, kind)) for kind in BillKind}
        worst = tried[BillKind.TRADE]
        if tried[BillKind.FUND_FLOW].outcome is BillOutcome.DAMAGED and worst.outcome not in TEMPORARY:
            worst = tried[BillKind.FUND_FLOW]
        return await report_bill(self._storage, self._folder, bill_date, outcome=worst.outcome, reason=worst.reason)

    async def show(self, bill_date: date) -> BillReport:
        """Tell how a day's bills stand, from the database and the stored file; asks nobody."""
        return await report_bill(self._storage, self._folder, bill_date)

    async def export_csv(self, bill_date: date, target: Path) -> int:
        """Write the stored trade bill of a day as CSV; see `export_bill`."""
        return await export_bill(self._storage, self._folder, bill_date, target)

    # -- planning -------------------------------------------------------------------------------------------------

    def _check_date(self, bill_date: date) -> None:
        age = (self._clock.now().astimezone(BEIJING).date() - bill_date).days
        if 1 <= age <= limits.BILL_DAYS_AT_WECHAT:
            return
        issue = "is not over in Beijing" if age < 1 else f"is {age} days ago: WeChat keeps {limits.BILL_DAYS_AT_WECHAT}"
        raise RequestError("invalid_request", complaints=[Complaint("date", f"{bill_date} {issue}")])

    async def _plan(self) -> None:
        """Make the rows of every day that ended since the first order, a month back at most."""
        beijing = self._clock.now().astimezone(BEIJING)
        last = beijing.date() - timedelta(days=1 if beijing.time() >= self._fetch_at else 2)
        if self._planned_to == last:
            return
        day = await self._first_day(last)
        while day <= last:
            for kind in BillKind:
                await self._row(day, kind)
            day += timedelta(days=1)
        self._planned_to = last

    async def _first_day(self, last: date) -> date:
        """Find the day to begin with: the first order's, a month back at most; the day after ``last``: no order yet."""
        first = last - timedelta(days=limits.BILL_CATCH_UP_DAYS - 1)
        for offset in range(limits.BILL_CATCH_UP_DAYS):
            day = first + timedelta(days=offset)
            if await self._storage.list_orders(OrderFilter(created_to=day_bounds(day)[1]), limit=1, after=None):
                return day
        return last + timedelta(days=1)

    async def _row(self, bill_date: date, kind: BillKind) -> BillRun:
        """Load a day's row, or make it, due at once."""
        found = await self._storage.load_bill_run(bill_date, kind)
        if found is not None:
            return found
        now = self._clock.now()
        run = BillRun(
            bill_date=bill_date, kind=kind, version=1, status=BillRunStatus.DUE, attempts=0, rows=0, differences=0,
            summary={}, path=None, created_at=now, updated_at=now, next_at=now,
        )  # fmt: skip
        try:
            await self._storage.commit(ChangeSet(puts=(Put(run, ABSENT),)))
        except AlreadyExists:
            found = await self._storage.load_bill_run(bill_date, kind)
            assert found is not None, "rows are never deleted"
            return found
        return run

    # -- one bill -------------------------------------------------------------------------------------------------

    async def _try(self, run: BillRun) -> _Fetched:
        """Fetch and compare one bill, and write how it went."""
        fetched = await self._fetch(run)
        if fetched.outcome in (BillOutcome.COMPARED, BillOutcome.NO_STATEMENT):
            try:
                compared = await self._compare(run, fetched)
            except BillDamaged as damage:
                fetched = _Fetched(outcome=BillOutcome.DAMAGED, reason=str(damage))
            else:
                await self._finish(compared, fetched)
                return fetched
        await self._postpone(run, fetched)
        return fetched

    async def _fetch(self, run: BillRun) -> _Fetched:
        offer = await self._wechat.apply_bill(run.bill_date, run.kind)
        if isinstance(offer, Refused):
            outcome = ANSWERS.get(offer.code, BillOutcome.UNAVAILABLE)
            refused = outcome is BillOutcome.UNAVAILABLE
            return _Fetched(outcome=outcome, reason=f"{offer.code}: {offer.message}", refused=refused)
        if isinstance(offer, Unclear):
            return _Fetched(outcome=BillOutcome.UNAVAILABLE, reason=_heard(offer))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = bill_path(self._folder, run.bill_date, run.kind)
        trouble = await self._wechat.download_bill(offer, path)
        if trouble is None:
            return _Fetched(outcome=BillOutcome.COMPARED, path=path, sha1=offer.hash_value)
        outcome = BillOutcome.DAMAGED if trouble.reason == "malformed" else BillOutcome.UNAVAILABLE
        return _Fetched(outcome=outcome, reason=_heard(trouble))

    async def _compare(self, run: BillRun, fetched: _Fetched) -> Compared:
        if run.kind is BillKind.FUND_FLOW:
            return await self._comparer.fund_flow(run, fetched.path)
        final = run.attempts + 1 >= limits.BILL_ATTEMPTS_MAX
        return await self._comparer.trade(run, fetched.path, sha1=fetched.sha1, final=final)

    async def _finish(self, compared: Compared, fetched: _Fetched) -> None:
        """Write the end of a run. Numbers that WeChat could not be asked about: once more, later."""
        run = compared.run
        again = compared.unasked > 0 and run.attempts + 1 < limits.BILL_ATTEMPTS_MAX
        await self._save(
            run,
            status=BillRunStatus.COMPARED if fetched.path is not None else BillRunStatus.EMPTY,
            attempts=run.attempts + 1 if again else 0,
            rows=compared.rows,
            differences=compared.differences,
            summary={**compared.summary, "sha1": fetched.sha1},
            path=fetched.path.name if fetched.path is not None else None,
            next_at=self._later(run) if again else None,
        )
        log.info(
            "bill_compared", bill_date=run.bill_date.isoformat(), kind=run.kind.value, rows=compared.rows,
            differences=compared.differences, unasked=compared.unasked,
        )  # fmt: skip

    async def _postpone(self, run: BillRun, fetched: _Fetched) -> None:
        """Write that there is nothing yet, and when to try again. What was compared before stays compared."""
        stored = await self._storage.load_bill_run(run.bill_date, run.kind)
        assert stored is not None, "the row was there before the try"
        damaged = fetched.outcome is BillOutcome.DAMAGED
        attempts = stored.attempts + (fetched.outcome is not BillOutcome.CREATING)
        due = stored.next_at is not None or stored.status not in _DONE
        given_up = not due or self._is_hopeless(stored, damaged or fetched.refused, attempts)
        next_at = None if given_up else self._later(stored)
        if fetched.outcome is BillOutcome.CREATING and not given_up:
            next_at = self._clock.now() + timedelta(seconds=limits.BILL_CREATING_SECONDS)
        status = stored.status
        if status not in _DONE:
            status = BillRunStatus.DAMAGED if damaged else BillRunStatus.DUE
        summary = stored.summary if stored.status in _DONE else {**stored.summary, "reason": fetched.reason}
        await self._save(stored, status=status, attempts=attempts, summary=summary, next_at=next_at)
        tell = log.error if given_up and due else log.warning
        tell(
            "bill_not_compared", bill_date=run.bill_date.isoformat(), kind=run.kind.value,
            outcome=fetched.outcome.value, reason=fetched.reason, given_up=given_up,
        )  # fmt: skip

    def _is_hopeless(self, run: BillRun, counts: bool, attempts: int) -> bool:
        """Tell whether only a person can help: WeChat no longer has it, or it was damaged or refused too often."""
        age = (self._clock.now().astimezone(BEIJING).date() - run.bill_date).days
        return age > limits.BILL_DAYS_AT_WECHAT or (counts and attempts >= limits.BILL_ATTEMPTS_MAX)

    def _later(self, run: BillRun) -> datetime:
        return self._clock.now() + timedelta(seconds=RETRY_SECONDS[min(run.attempts, len(RETRY_SECONDS) - 1)])

    async def _save(self, run: BillRun, **changes: Any) -> None:
        written = replace(run, version=run.version + 1, updated_at=self._clock.now(), **changes)
        await self._storage.commit(ChangeSet(puts=(Put(written, run.version),)))


def _heard(unclear: Unclear) -> str:
    return ": ".join(text for text in (unclear.reason, unclear.code, unclear.message) if text)
