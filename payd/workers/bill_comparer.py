"""One bill through all its steps: read and check, compare, ask WeChat, compare again, open discrepancies, book fees.

Everything here may be done again from the beginning at any time: discrepancies carry ids that follow from what they
say, and how far the fees are booked is committed with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from payd import limits
from payd.core.bill_lines import Finding, Tally, day_bounds
from payd.core.bill_match import BillMatch
from payd.core.fund_flow_bill import read_fund_flow_bill
from payd.core.fund_flow_match import FundFlowMatch
from payd.core.trade_bill import read_trade_bill
from payd.errors import AlreadyExists
from payd.models.bill import BillRun
from payd.models.changes import ChangeSet, Put
from payd.models.ledger import Account, LedgerEntry
from payd.models.wechat import Unclear
from payd.ports import Clock, Storage
from payd.workers.bill_files import bill_lines, in_turns, taking_turns


class Settlement(Protocol):
    """The one room, as far as bills need it: ask WeChat about a number and apply the answer.

    `Unclear` comes back when WeChat could not be asked; anything else counts as asked.
    """

    async def ask_payment(self, out_trade_no: str) -> object: ...

    async def ask_refund(self, out_refund_no: str) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison came to. ``unasked``: numbers that could not be judged because WeChat did not answer."""

    run: BillRun
    rows: int
    differences: int
    unasked: int
    summary: dict[str, Any]


class BillComparer:
    """Compares bills with the books. One bill at a time; memory is bounded by a share of its rows."""

    def __init__(self, *, storage: Storage, settlement: Settlement, clock: Clock, mchid: str, appid: str) -> None:
        self._storage = storage
        self._settlement = settlement
        self._clock = clock
        self._mchid = mchid
        self._appid = appid

    async def trade(self, run: BillRun, path: Path | None, *, sha1: str | None, final: bool) -> Compared:
        """Compare a trade bill; ``path`` None: WeChat has none, so nothing was paid or refunded there.

        ``final``: findings that WeChat could not be asked about are opened as well. Raises BillDamaged before
        anything was concluded, and StorageUnavailable half-way (then do it again).
        """
        size = path.stat().st_size if path is not None else 0
        shares = max(1, -(-size // (limits.BILL_ROWS_IN_MEMORY * limits.BILL_ROW_BYTES)))
        fees = _FeeProgress.of(run, sha1, shares)
        tally, rows = Tally(), 0
        sums: dict[str, Any] = {}
        for share in range(shares):
            match = BillMatch(run.bill_date, mchid=self._mchid, appid=self._appid, share=share, shares=shares)
            if path is not None:
                rows, sums = await _read_trade(path, match)
            await self._compare(match, run.bill_date)
            await self._heal(match, final=final)
            await self._open(match.findings, run.bill_date)
            if path is not None:
                run, fees = await self._book_fees(run, match, fees, share)
            tally.take(match.counts, match.findings)
        summary = {**tally.summary(), "bill": sums, **fees.summary()}
        differences = sum(tally.differences.values())
        return Compared(run=run, rows=rows, differences=differences, unasked=tally.counts["unasked"], summary=summary)

    async def fund_flow(self, run: BillRun, path: Path | None) -> Compared:
        """Check a fund-flow bill and link its movements to the books. Raises BillDamaged."""
        if path is None:
            return Compared(run=run, rows=0, differences=0, unasked=0, summary={})
        match = FundFlowMatch()
        with path.open("rb") as file:
            reader = read_fund_flow_bill(bill_lines(file))
            async for row in in_turns(reader):
                match.add(row)
        start, end = day_bounds(run.bill_date)
        async for snapshot in taking_turns(self._storage.orders_settled_between(start, end)):
            match.see_order(snapshot.order)
        async for refund in taking_turns(self._storage.refunds_created_between(start, end)):
            match.see_refund(refund)
        summary = {**match.summary(), "bill": _plain(reader.sums)}
        return Compared(run=run, rows=reader.rows, differences=0, unasked=0, summary=summary)

    async def _compare(self, match: BillMatch, day: date) -> None:
        """Hold the rows against the day's books, then against whatever else the books know of these numbers."""
        start, end = day_bounds(day)
        async for snapshot in taking_turns(self._storage.orders_settled_between(start, end)):
            match.see_order(snapshot)
        async for refund in taking_turns(self._storage.refunds_created_between(start, end)):
            match.see_refund(refund)
        async for number in in_turns(list(match.unseen_payments())):
            match.look_payment(number, await self._storage.load_order(number), asked=False)
        async for number, order_number in in_turns(list(match.unseen_refunds())):
            await self._look_refund(match, number, order_number, asked=False)
        for number in match.missing_refunds:
            owner = await self._storage.load_order_of_refund(number)
            missing = owner.refund(number) if owner is not None else None
            if owner is not None and missing is not None:
                match.look_missing_refund(missing, owner.order)

    async def _look_refund(self, match: BillMatch, number: str, order_number: str, *, asked: bool) -> None:
        snapshot = await self._storage.load_order_of_refund(number)
        known = snapshot is not None or await self._storage.load_order(order_number) is not None
        match.look_refund(number, snapshot, order_known=known, asked=asked)

    async def _heal(self, match: BillMatch, *, final: bool) -> None:
        """Ask WeChat where it knows more than we do, and look a second time."""
        async for number, asked in self._asked(match.ask_payments, self._settlement.ask_payment):
            match.counts.unasked += not asked
            if asked or final:
                before = len(match.findings)
                match.look_payment(number, await self._storage.load_order(number), asked=True)
                match.counts.healed_payments += len(match.findings) == before
        async for number, asked in self._asked(match.ask_refunds, self._settlement.ask_refund):
            match.counts.unasked += not asked
            if asked or final:
                before = len(match.findings)
                await self._look_refund(match, number, "", asked=True)
                match.counts.healed_refunds += len(match.findings) == before

    async def _asked(
        self, numbers: Sequence[str], ask: Callable[[str], Awaitable[object]]
    ) -> AsyncIterator[tuple[str, bool]]:
        """Ask about numbers, a few at a time; yields (number, whether WeChat answered)."""
        size = limits.RECONCILE_CONCURRENCY
        for first in range(0, len(numbers), size):
            few = numbers[first : first + size]
            answers = await asyncio.gather(*(ask(number) for number in few))
            for number, answer in zip(few, answers, strict=True):
                yield number, not isinstance(answer, Unclear)

    async def _open(self, findings: Sequence[Finding], day: date) -> None:
        """Open the discrepancies; those that are there already stay as they are."""
        now = self._clock.now()
        for first in range(0, len(findings), limits.BILL_COMMIT_ROWS):
            some = findings[first : first + limits.BILL_COMMIT_ROWS]
            opened = {d.id: d for d in (finding.discrepancy(day, now) for finding in some)}
            await self._storage.commit(ChangeSet(open_discrepancies=tuple(opened.values())))

    async def _book_fees(
        self, run: BillRun, match: BillMatch, fees: _FeeProgress, share: int
    ) -> tuple[BillRun, _FeeProgress]:
        """Book the fees of this share from where the last run stopped; each commit carries its own progress."""
        if share < fees.share:
            return run, fees
        done = fees.done if share == fees.share else 0
        fees = replace(fees, share=share, done=done)
        postings = match.fee_postings(self._clock.now(), skip=done)
        while some := list(islice(postings, limits.BILL_COMMIT_ROWS)):
            done += len(some)
            run, fees = await self._post(run, [posting for posting in some if posting], fees, done=done)
            fees = replace(fees, done=done)
        return run, replace(fees, share=share + 1, done=0)

    async def _post(
        self, run: BillRun, postings: Sequence[tuple[LedgerEntry, ...]], fees: _FeeProgress, *, done: int
    ) -> tuple[BillRun, _FeeProgress]:
        """Commit postings with the progress; one that is booked already is left out, found by halving."""
        entries = tuple(entry for posting in postings for entry in posting)
        fen = sum(entry.amount_fen for entry in entries if entry.account is Account.WECHAT_FEES)
        after = replace(fees, done=done, rows=fees.rows + len(postings), fen=fees.fen + fen)
        summary = {**run.summary, **after.summary()}
        written = replace(run, version=run.version + 1, updated_at=self._clock.now(), summary=summary)
        try:
            await self._storage.commit(ChangeSet(ledger=entries, puts=(Put(written, run.version),)))
        except AlreadyExists:
            if len(postings) == 1:
                return run, fees
            half = len(postings) // 2
            run, fees = await self._post(run, postings[:half], fees, done=fees.done)
            return await self._post(run, postings[half:], fees, done=done)
        return written, after


async def _read_trade(path: Path, match: BillMatch) -> tuple[int, dict[str, Any]]:
    with path.open("rb") as file:
        reader = read_trade_bill(bill_lines(file))
        async for row in in_turns(reader):
            match.add(row)
    return reader.rows, _plain(reader.sums)


def _plain(sums: dict[str, Any]) -> dict[str, Any]:
    """Write sums as JSON values: fen as integers, the exact sum of the fees in yuan as text."""
    return {name: value if isinstance(value, int) else f"{value:f}" for name, value in sums.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _FeeProgress:
    """How far the fees of one file are booked: ``done`` rows of ``share`` of ``shares``.

    ``rows`` postings so far, ``fen`` what they charge less what they give back.
    """

    sha1: str | None
    shares: int
    share: int = 0
    done: int = 0
    rows: int = 0
    fen: int = 0

    @staticmethod
    def of(run: BillRun, sha1: str | None, shares: int) -> _FeeProgress:
        """Read the progress of this very file; another file, or another way to share it out, begins anew."""
        stored = run.summary.get("fees")
        if stored and stored["sha1"] == sha1 and stored["shares"] == shares:
            return _FeeProgress(**stored)
        return _FeeProgress(sha1=sha1, shares=shares)

    def summary(self) -> dict[str, Any]:
        return {
            "fees": {
                "sha1": self.sha1, "shares": self.shares, "share": self.share, "done": self.done, "rows": self.rows,
                "fen": self.fen,
            }
        }  # fmt: skip
