"""Running a command's work: on a loop of its own, or through the daemon when one owns the books."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from payd.config import Config
    from payd.daemon import Gateway
    from payd.storage import SqliteReads

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fastest loop there is."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def perform(config: Config, name: str, **arguments: str) -> dict[str, Any]:
    """Carry out an operation: in the daemon when one runs, else here, with parts opened for it alone.

    Raises what the operation raises, and StorageUnavailable when something else holds the books.
    """
    from payd.operator_client import ask_daemon

    answer = ask_daemon(config.storage.path, name, arguments)
    return answer if answer is not None else run(_perform_alone(config, name, arguments))


async def _perform_alone(config: Config, name: str, arguments: dict[str, str]) -> dict[str, Any]:
    from payd.daemon import open_parts
    from payd.operations import perform

    with naming_the_holder(config.storage.path):
        async with reach_gateway(config) as gateway, open_parts(config, gateway) as parts:
            return await perform(parts, name, arguments)


@asynccontextmanager
async def reach_gateway(config: Config) -> AsyncIterator[Gateway]:
    """Say whom to speak to; in mode sandbox start the simulator for the run, unless one listens there already."""
    from payd.checkup import CALLBACK_PATH
    from payd.daemon import open_gateway

    notify_url = config.server.own_url() + CALLBACK_PATH
    running = not config.livemode and await _somebody_listens(config.sandbox.port)
    async with open_gateway(config, notify_url=notify_url, with_simulator=not running) as gateway:
        yield gateway


async def _somebody_listens(port: int) -> bool:
    """Tell whether a loopback port is taken. What listens there is not asked: a wrong one cannot sign."""
    import asyncio

    if port == 0:
        return False
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def read_books(config: Config, work: Callable[[SqliteReads], Awaitable[T]]) -> T:
    """Read the books, beside a running daemon or alone. Raises ConfigError when there are none."""
    from payd.storage import open_for_reading

    async def read() -> T:
        books = open_for_reading(config.storage.path)
        try:
            return await work(books)
        finally:
            await books.close()

    try:
        return run(read())
    finally:
        remove_traces(config.storage.path)


def remove_traces(database: Path) -> None:
    """Remove the empty ``-wal`` and the ``-shm`` that reading a database at rest makes, and a reader may not remove.

    SQLite itself removes them, when a connection that may write is the last to close; beside a running daemon ours is
    not. A ``-wal`` with something in it, of a daemon that was killed, is left as it is.
    """
    from payd.storage.sqlite.connection import driver, open_checker

    with contextlib.suppress(OSError, driver.Error):
        if Path(f"{database}-wal").stat().st_size == 0:
            with contextlib.closing(open_checker(database)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()


@contextlib.contextmanager
def naming_the_holder(database: Path) -> Iterator[None]:
    """Name the process that holds the books, whatever a second payd stumbled over first, and the cure.

    Before the books it asks for its port (that stays the first complaint, exit code 78) and in mode sandbox for the
    simulator's book, whose "database is locked" helps nobody.
    """
    from payd.errors import Complaint, ConfigError, StorageUnavailable
    from payd.sandbox.errors import ListenRefused, SandboxError

    try:
        yield
    except (ConfigError, SandboxError, StorageUnavailable) as error:
        held = _holder(database)
        if held is None and isinstance(error, ListenRefused):
            cure = "ss -ltnp shows who has the port; stop it, or set sandbox.port (or PAYD_SANDBOX__PORT) to another"
            raise ListenRefused(f"the simulator {error}; {cure}") from error
        if held is None:
            raise
        if isinstance(error, ConfigError):
            if all(complaint.field != "server.port" for complaint in error.complaints):
                raise
            raise ConfigError([*error.complaints, Complaint("storage.path", held)]) from error
        raise StorageUnavailable(held) from error


def _holder(database: Path) -> str | None:
    """Say who holds the right to write; None when nobody does."""
    from payd.errors import StorageUnavailable
    from payd.storage.sqlite.connection import WriterLock

    if not Path(f"{database}.lock").exists():
        return None
    try:
        WriterLock(database).release()
    except StorageUnavailable as exc:
        return f"{exc}; end that one first, or give this one a storage.path, sandbox.dir and ports of its own"
    except OSError:
        return None  # the lock's file is another user's
    return None
