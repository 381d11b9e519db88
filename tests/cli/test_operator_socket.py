"""The daemon's door for the command line: who may use it, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from payd.config import load_config
from payd.daemon import open_gateway, open_parts
from payd.errors import ConfigError, RequestError, StorageUnavailable
from payd.operator_client import PATH_BYTES_MAX, DaemonFailed, ask_daemon, socket_path
from payd.operator_socket import operator_socket


@pytest.fixture
def config(sandbox_config):
    return load_config(sandbox_config, {})


@pytest.fixture
def parts(io_loop, config):
    """The daemon's parts with an empty database and a simulator that runs beside them."""
    stack = AsyncExitStack()

    async def enter():
        gateway = await stack.enter_async_context(
            open_gateway(config, notify_url="http://127.0.0.1:1/", with_simulator=True)
        )
        return await stack.enter_async_context(open_parts(config, gateway))

    yield io_loop.run_sync(enter)
    io_loop.run_sync(stack.aclose)


def _ask(database, name, **arguments):
    return asyncio.to_thread(ask_daemon, database, name, arguments)


class Failing:
    """A part whose every use raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run_once(self):
        raise self._error


async def test_an_operation_is_done_in_the_daemon(parts, config):
    """What the daemon answers is what the operation returned; the socket is its user's alone and goes with it."""
    path = socket_path(config.storage.path)

    async with operator_socket(parts, path):
        mode = path.stat().st_mode
        done = await _ask(config.storage.path, "reconcile")

    assert done is not None
    assert done["asked"] == 0
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()
    assert await _ask(config.storage.path, "reconcile") is None


@pytest.mark.parametrize("name, arguments", [
    ("drop_tables", {}), ("reconcile", {"id": "x"}), ("webhook_resend", {}), ("discrepancy_resolve", {"id": "x"}),
    ("discrepancy_resolve", {"id": "x", "note": "found"}), ("discrepancy_resolve", {"id": "x", "note": " "}),
    ("discrepancy_resolve", {"id": "x", "note": "\udcff"}), ("discrepancy_resolve", {"id": "x", "note": "n" * 501}),
    ("webhook_resend", {"id": "x"}), ("webhook_enable", {"url": "https://nobody.example/"}),
    ("bill_fetch", {"date": "yesterday"}), ("bill_fetch", {"date": "2999-01-01"}),
], ids=str)  # fmt: skip
async def test_what_cannot_be_meant_is_refused_with_a_reason(parts, config, name, arguments):
    """Unknown operations, wrong arguments and ids that are not there: a complaint comes back and nothing moves."""
    async with operator_socket(parts, socket_path(config.storage.path)):
        with pytest.raises(RequestError) as refused:
            await _ask(config.storage.path, name, **arguments)

    assert refused.value.complaints
    assert await parts.storage.list_discrepancies(None, limit=10, after=None) == []
    assert await parts.storage.list_deliveries(None, limit=10, after=None) == []


@pytest.mark.parametrize("error, seen", [
    (StorageUnavailable("disk full"), StorageUnavailable),
    (ConfigError([]), ConfigError),
    (KeyError("x"), DaemonFailed),
], ids=repr)  # fmt: skip
async def test_errors_arrive_as_what_they_are(parts, config, error, seen):
    """The command ends with the code the daemon's error has; a mistake of the daemon's does not stop it."""
    broken = replace(parts, reconciler=Failing(error))

    async with operator_socket(broken, socket_path(config.storage.path)):
        with pytest.raises(seen):
            await _ask(config.storage.path, "reconcile")
        with pytest.raises(RequestError):
            await _ask(config.storage.path, "still_there")


async def test_a_socket_of_a_dead_daemon_is_replaced(parts, config):
    """What a crash leaves behind neither stops the next daemon nor fools a command."""
    path = socket_path(config.storage.path)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    before = await _ask(config.storage.path, "reconcile")

    async with operator_socket(parts, path):
        after = await _ask(config.storage.path, "reconcile")

    assert before is None
    assert after is not None


async def test_a_place_that_cannot_be_used_does_not_stop_the_daemon(parts, config):
    """Something else under the socket's name is left alone; the daemon serves without the door."""
    path = socket_path(config.storage.path)
    path.write_text("not a socket")

    async with operator_socket(parts, path):
        asked = await _ask(config.storage.path, "reconcile")

    assert asked is None
    assert path.read_text() == "not a socket"


async def test_a_socket_of_another_user_is_ignored(parts, config, monkeypatch):
    """The temporary folder is open to everybody: only a socket of the database's owner, or ours, is spoken to."""
    path = socket_path(config.storage.path)

    async with operator_socket(parts, path):
        ours = await _ask(config.storage.path, "reconcile")
        found = list(path.lstat())
        found[stat.ST_UID] += 1
        monkeypatch.setattr(Path, "lstat", lambda self: os.stat_result(found))
        theirs = await _ask(config.storage.path, "reconcile")

    assert ours is not None
    assert theirs is None


def test_a_long_path_has_its_socket_in_the_temporary_folder(tmp_path):
    """A unix socket's path is short: a deep database gets a name by its hash, the same for daemon and command."""
    near, deep = tmp_path / "payd.db", tmp_path / ("d" * 100) / "payd.db"

    assert socket_path(near) == tmp_path / "payd.db.sock"
    assert socket_path(deep) == socket_path(deep.parent / "x" / ".." / "payd.db")
    assert socket_path(deep).parent != deep.parent
    assert len(os.fsencode(socket_path(deep))) <= PATH_BYTES_MAX
    assert socket_path(deep) != socket_path(tmp_path / ("e" * 100) / "payd.db")


async def test_an_operation_under_way_ends_before_the_daemon(parts, config):
    """The door closes to new questions and waits for the answer it owes."""
    asked, may_end = asyncio.Event(), asyncio.Event()

    class Slow:
        async def run_once(self):
            asked.set()
            await may_end.wait()
            return await parts.reconciler.run_once()

    async with operator_socket(replace(parts, reconciler=Slow()), socket_path(config.storage.path)):
        question = asyncio.ensure_future(_ask(config.storage.path, "reconcile"))
        await asked.wait()
        asyncio.get_running_loop().call_soon(may_end.set)

    answer = await question
    assert answer is not None
    assert answer["failed"] == 0


def test_commands_wait_for_books_that_something_else_holds(payd, sandbox_config, tmp_path):
    """A process that holds the books without a door (an old daemon, one that is starting): exit 75 and its number."""
    with (tmp_path / "payd.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242")
        lock.flush()
        done = payd("reconcile", "--config", sandbox_config)

    assert done.exit_code == 75
    assert "in use by another payd (process 4242)" in done.stderr
