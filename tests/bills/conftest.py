"""A bill reconciler over real books in a file, the real room for evidence, and a counterpart that serves files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from payd.config import BillsConfig
from payd.metrics import Metrics
from payd.models.bill import BillKind, BillRun
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import Discrepancy
from payd.plugin.settlement import Merchant, Settlement
from payd.storage import SqliteStorage, open_storage
from payd.workers.bill_reconciler import BillReconciler

from . import books
from .counterpart import Counterpart, HandClock


@dataclass
class House:
    """Everything a bill run touches."""

    folder: Path
    clock: HandClock
    wechat: Counterpart
    storage: SqliteStorage
    bills: BillReconciler = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, config: BillsConfig | None = None) -> None:
        """Build the reconciler anew, as a new process would."""
        settlement = Settlement(
            storage=self.storage, wechat=self.wechat, merchant=Merchant(books.MCHID, books.APPID, False),  # type: ignore[arg-type]
            clock=self.clock, metrics=Metrics(mode="sandbox"),  # type: ignore[arg-type]
            announcer=lambda announcements, snapshot, now: (), late_payment_policy="hold", on_delivery=lambda: None,
        )  # fmt: skip
        self.bills = BillReconciler(
            storage=self.storage, wechat=self.wechat, settlement=settlement, clock=self.clock,  # type: ignore[arg-type]
            config=config or BillsConfig(), folder=self.folder / "bills", mchid=books.MCHID, appid=books.APPID,
        )  # fmt: skip

    async def enter(self, *snapshots: OrderSnapshot) -> None:
        """Write orders into the books."""
        await self.storage.commit(books.puts(*snapshots))

    async def run(self, kind: BillKind = BillKind.TRADE, day: date = books.DAY) -> BillRun:
        """Load a run that must be there."""
        run = await self.storage.load_bill_run(day, kind)
        assert run is not None
        return run

    async def discrepancies(self) -> list[Discrepancy]:
        """List every discrepancy."""
        return list(await self.storage.list_discrepancies(None, limit=1000, after=None))

    def ledger(self) -> dict[str, int]:
        """Sum the ledger by account, read from the file itself."""
        import sqlite3

        connection = sqlite3.connect(f"file:{self.folder / 'payd.db'}?mode=ro", uri=True)
        try:
            return dict(connection.execute("SELECT account, SUM(amount_fen) FROM ledger_entries GROUP BY account"))
        finally:
            connection.close()


@pytest.fixture
def house(tmp_path: Path, io_loop: IOLoop) -> Iterator[House]:
    clock = HandClock()
    served = tmp_path / "wechat"
    served.mkdir()

    async def open_it() -> House:
        storage = open_storage(tmp_path / "payd.db", mode="sandbox", clock=clock)  # type: ignore[arg-type]
        return House(tmp_path, clock, Counterpart(served), storage)

    opened = io_loop.run_sync(open_it)
    yield opened
    io_loop.run_sync(opened.storage.close)
