"""The writer: one thread, one connection, one fsync for all ChangeSets that wait.

Group commit. The thread takes what waits in its queue, up to a batch, and answers every caller after the one fsync. A
batch is one statement and so its own transaction: SQLite takes the right to write, applies every row, syncs. When any
row is refused, nothing of it is left, and the batch goes through a second transaction, halved inside savepoints until
the refused ChangeSet stands alone and gets its own error, and all others land. No artificial waiting: what comes in
during an fsync is the next batch.

After an error of the disk the transaction is rolled back, every caller of the batch hears StorageUnavailable, and the
thread goes on. It ends only with ``close`` or through a bug; then every caller, present and future, is refused.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from payd.errors import AlreadyExists, StaleVersion, StorageError, StorageUnavailable
from payd.limits import WRITE_BATCH_MAX, WRITE_QUEUE_MAX
from payd.storage.sqlite.apply import apply_fitting, apply_together
from payd.storage.sqlite.connection import driver

#: Hears of each commit: outcome (ok, stale, exists, refused, unavailable), seconds it took, ChangeSets in its batch.
OnCommit = Callable[[str, float, int], None]


class Work:
    """One ChangeSet that waits, as its piece of a batch. ``error`` is set by the writer, read after the commit."""

    __slots__ = ("error", "future", "piece", "since")

    def __init__(self, piece: bytes, future: asyncio.Future[None], since: float) -> None:
        self.piece = piece
        self.future = future
        self.since = since
        self.error: StorageError | None = None


class Chore:
    """A piece of maintenance that needs the writing connection, outside of any ChangeSet."""

    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[driver.Connection], int], future: asyncio.Future[int]) -> None:
        self.run = run
        self.future = future


class Writer:
    """Owns the writing connection from ``start`` to ``stop``. All methods are called on the loop's thread."""

    def __init__(
        self, connection: driver.Connection, *, monotonic: Callable[[], float], on_commit: OnCommit | None
    ) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._on_commit = on_commit
        self._queue: Final[queue.SimpleQueue[Work | Chore | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="payd-writer", daemon=True)
        self._refusal: str | None = None  # set: nothing is taken any more, and why
        self._thread.start()

    @property
    def depth(self) -> int:
        """ChangeSets that wait and are not yet in a batch."""
        return self._queue.qsize()

    def submit(self, piece: bytes) -> asyncio.Future[None]:
        """Queue an encoded ChangeSet; the future ends after its fsync. Raises StorageUnavailable: full, or closed."""
        self._require_open()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(Work(piece, future, self._monotonic()))
        if self._refusal is not None:  # the thread ended between the check and the put
            self._fail_rest([])
        return future

    def perform(self, run: Callable[[driver.Connection], int]) -> asyncio.Future[int]:
        """Queue a chore; it runs inside a transaction of its own."""
        self._require_open()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(Chore(run, future))
        return future

    def refuse(self, reason: str) -> None:
        """Take nothing more; what waits is still done."""
        self._refusal = self._refusal or reason

    def stop(self) -> None:
        """Finish the queue and end the thread. Blocks; call it off the loop."""
        self.refuse("the storage is closed")
        self._queue.put(None)
        self._thread.join()

    def _require_open(self) -> None:
        if self._refusal is not None:
            raise StorageUnavailable(self._refusal)
        if self._queue.qsize() >= WRITE_QUEUE_MAX:
            raise StorageUnavailable("too many writes are waiting")

    # -- on the writer's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        batch: list[Work] = []
        try:
            while True:
                batch, then = self._take()
                if batch:
                    self._write(batch)
                    self._answer(batch)
                    batch = []
                if isinstance(then, Chore):
                    self._perform(then)
                elif then is None:
                    return
        finally:
            # Normally nothing is left. After a bug everybody who waits is refused, instead of waiting for ever.
            self.refuse("the storage's writer has ended")
            self._fail_rest(batch)

    def _take(self) -> tuple[list[Work], Chore | Work | None]:
        """Take a batch, and what ended it: a chore, None for "stop", or its last ChangeSet."""
        item = self._queue.get()
        batch: list[Work] = []
        while isinstance(item, Work):
            batch.append(item)
            if len(batch) == WRITE_BATCH_MAX:
                break
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
        return batch, item

    def _write(self, batch: list[Work]) -> None:
        """Commit a batch. Afterwards each Work has its error, or none and is on disk."""
        error: StorageError | None = None
        try:
            apply_together(self._connection, batch)
        except StorageError:  # one does not fit: it is found in a second transaction, and all others land
            error = self._in_transaction(lambda connection: apply_fitting(connection, batch))
        except driver.Error as exc:
            error = self._cannot_write(exc, begun=not _is_locked(exc))
        if error is not None:
            for work in batch:
                work.error = error

    def _in_transaction(self, run: Callable[[driver.Connection], None]) -> StorageUnavailable | None:
        """Run and commit. When the database refuses, nothing of it is left behind and the reason is returned.

        A StorageError of ``run`` itself is passed on; nothing of it is left behind either.
        """
        begun = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
            run(self._connection)
            self._connection.execute("COMMIT")
        except StorageError:
            try:
                self._connection.execute("ROLLBACK")
            except driver.Error as exc:
                return self._cannot_write(exc, begun=True)
            raise
        except driver.Error as exc:
            return self._cannot_write(exc, begun=begun)
        return None

    def _cannot_write(self, error: driver.Error, *, begun: bool) -> StorageUnavailable:
        """Leave nothing behind and say why. Not ``begun``: another process holds the right to write."""
        if begun:
            self._roll_back()
        return StorageUnavailable(f"the database cannot write: {error}")

    def _roll_back(self) -> None:
        """Leave no transaction open and nothing of it behind.

        SQLite has already rolled back after most errors of the disk. A COMMIT whose fsync failed leaves its frames in
        the WAL file, where the recovery after a crash would find them: the next write transaction overwrites them, so
        one is made here, before anybody is told that nothing was written.
        """
        connection = self._connection
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE meta SET updated_at = updated_at + 1 WHERE key = 'mode'")
            connection.execute("COMMIT")
        except driver.Error:
            # Still no space or still locked: the next batch overwrites instead, and fails until it can.
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _perform(self, chore: Chore) -> None:
        results: list[int] = []
        error = self._in_transaction(lambda connection: results.append(chore.run(connection)))
        _on_loop(chore.future, lambda: _settle(chore.future, results[-1] if results else None, error))

    def _answer(self, batch: list[Work]) -> None:
        """Wake all callers of a batch, with one call into their loop."""
        loops = {work.future.get_loop(): work.future for work in batch}
        for loop, future in loops.items():
            mine = batch if len(loops) == 1 else [work for work in batch if work.future.get_loop() is loop]
            _on_loop(future, lambda mine=mine: self._resolve(mine, len(batch)))  # type: ignore[misc]

    def _fail_rest(self, batch: list[Work]) -> None:
        rest: list[Work | Chore] = list(batch)
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is not None:
                rest.append(item)
        for item in rest:
            error = StorageUnavailable("the storage's writer has ended")
            _on_loop(item.future, lambda item=item, error=error: _settle(item.future, None, error))  # type: ignore[misc]

    # -- back on the loop -----------------------------------------------------------------------------------------

    def _resolve(self, batch: list[Work], size: int) -> None:
        for work in batch:
            _settle(work.future, None, work.error)
        if self._on_commit is not None:
            now = self._monotonic()
            for work in batch:
                self._on_commit(_OUTCOMES[type(work.error)], now - work.since, size)


def _is_locked(error: driver.Error) -> bool:
    """Tell whether SQLite did not begin at all, because of another process's transaction."""
    return getattr(error, "sqlite_errorcode", None) == driver.SQLITE_BUSY


_OUTCOMES: Final[dict[type, str]] = {
    type(None): "ok",
    StaleVersion: "stale",
    AlreadyExists: "exists",
    StorageError: "refused",
    StorageUnavailable: "unavailable",
}


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    """End a future, unless its caller was cancelled: then what was written stays written and nobody is told."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _on_loop(future: asyncio.Future[Any], call: Callable[[], None]) -> None:
    try:
        future.get_loop().call_soon_threadsafe(call)
    except RuntimeError:
        return  # the loop is closed: nobody waits there any more
