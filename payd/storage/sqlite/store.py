"""The storage on SQLite: the reads, and the writer behind them."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Final

from payd.errors import StorageUnavailable
from payd.models.changes import ChangeSet, OrderSnapshot
from payd.ports import Clock
from payd.storage.sqlite import queries
from payd.storage.sqlite.connection import WriterLock, create_file, driver, open_writer, opening
from payd.storage.sqlite.reads import SqliteReads
from payd.storage.sqlite.recent import RecentOrders
from payd.storage.sqlite.rows import microseconds
from payd.storage.sqlite.schema import prepare
from payd.storage.sqlite.statements import BATCH_VIEW, encode_change
from payd.storage.sqlite.writer import OnCommit, Writer

#: Rows deleted per transaction: commits of money wait for one step at most.
PURGE_STEP: Final = 500


class SqliteStorage(SqliteReads):
    """The books in one SQLite file. Made by ``open_storage``; holds the right to write until ``close``."""

    def __init__(self, path: Path, *, mode: str, clock: Clock, on_commit: OnCommit | None) -> None:
        create_file(path)
        with contextlib.ExitStack() as undo:
            self._lock = WriterLock(path)
            undo.callback(self._lock.release)
            with opening(path):
                self._writing = open_writer(path)
                undo.callback(self._writing.close)
                prepare(self._writing, path, mode=mode, clock=clock)
                for sql in BATCH_VIEW:
                    self._writing.execute(sql)
            super().__init__(path)
            undo.pop_all()
        self.mode: Final = mode
        self._recent = RecentOrders()
        self._clock = clock
        self._writer = Writer(self._writing, monotonic=clock.monotonic, on_commit=on_commit)

    async def commit(self, change: ChangeSet) -> None:
        """Write a ChangeSet durably or not at all (``ports.Storage.commit``).

        A caller that is cancelled while it waits cannot know: the ChangeSet may land.
        """
        piece = encode_change(change, self._now)
        if not piece:
            return
        future = self._writer.submit(piece)
        claim = self._recent.begin(change)
        if claim is None:
            await future
            return
        landed = False
        try:
            await future
            landed = True
        finally:
            self._recent.end(claim, change, landed=landed)

    async def load_order(self, out_trade_no: str) -> OrderSnapshot | None:
        """Load an order with its payment and refunds, from memory when it was written lately."""
        return self._recent.get(out_trade_no) or await super().load_order(out_trade_no)

    def _now(self) -> int:
        return microseconds(self._clock.now())

    async def purge(self, *, now: datetime, notifications_before: datetime) -> int:
        """Delete expired idempotency keys and old inspector rows, ``PURGE_STEP`` rows per transaction."""
        return await self._purge(queries.PURGE_KEYS, now) + await self._purge(
            queries.PURGE_NOTIFICATIONS, notifications_before
        )

    async def _purge(self, sql: str, before: datetime) -> int:
        def step(connection: driver.Connection) -> int:
            return connection.execute(sql, (microseconds(before), PURGE_STEP)).rowcount

        gone = 0
        while True:
            count = await self._writer.perform(step)
            gone += count
            if count < PURGE_STEP:
                return gone

    def _queue_depth(self) -> int:
        return self._writer.depth

    async def close(self) -> None:
        """Finish the queue, checkpoint, close. Safe to call twice."""
        self._writer.refuse("the storage is closed")
        await super().close()

    def _finish(self) -> None:
        self._writer.stop()
        super()._finish()
        try:
            # The readers are gone, so the whole WAL can be copied back and the file stands alone.
            self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except driver.Error as exc:
            raise StorageUnavailable(f"the database could not be checkpointed: {exc}") from exc
        finally:
            self._writing.close()
            self._lock.release()
