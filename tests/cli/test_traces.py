"""Commands that only read leave the folder as it was: no -wal and -shm beside books at rest."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import pytest

from payd.storage import open_storage
from payd.storage.sqlite.connection import open_writer
from payd.system import SystemClock


@pytest.fixture
def books(sandbox_config):
    """Books at rest, as a clean stop leaves them."""
    path = sandbox_config.parent / "payd.db"

    async def make():
        await open_storage(path, mode="sandbox", clock=SystemClock()).close()

    asyncio.run(make())
    return path


def _beside(books):
    return {path.name for path in books.parent.iterdir() if path.name.startswith("payd.db")}


@pytest.mark.parametrize("arguments", [
    ("check",), ("doctor",), ("verify",), ("backup", "{}/copy.db"), ("discrepancy", "list"), ("webhook", "list"),
    ("bill", "show", "2026-11-22"), ("reconcile",),
], ids=lambda arguments: " ".join(arguments[:2]))  # fmt: skip
def test_a_command_leaves_nothing_beside_books_at_rest(payd, sandbox_config, books, arguments):
    """Neither -wal nor -shm, and not a byte of the books is changed."""
    before, content = _beside(books), books.read_bytes()

    done = payd(*(argument.format(books.parent) for argument in arguments), "--config", sandbox_config)

    assert done.exit_code in (0, 1), done.output
    assert _beside(books) == before == {"payd.db", "payd.db.lock"}
    assert books.read_bytes() == content


def test_verify_of_a_copied_file_leaves_nothing_beside_it(payd, books, tmp_path):
    """The same for FILE, whatever made it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copyfile(books, folder / "payd.db")

    assert payd("verify", folder / "payd.db").exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["payd.db"]


def test_what_a_killed_daemon_left_is_not_touched(payd, sandbox_config, books):
    """A -wal with something in it is evidence, and the next start's business: reading changes no byte of it."""
    with contextlib.closing(open_writer(books)) as writer:
        writer.execute("INSERT INTO meta VALUES ('x', 'y', 1, 1)")
        folder = books.parent / "killed"
        folder.mkdir()
        for name in ("payd.db", "payd.db-wal"):
            shutil.copyfile(books.parent / name, folder / name)
    files = (folder / "payd.db", folder / "payd.db-wal")
    before = [path.read_bytes() for path in files]

    assert payd("verify", folder / "payd.db").exit_code == 0
    assert before[1]
    assert [path.read_bytes() for path in files] == before


def test_an_open_database_keeps_its_files(payd, sandbox_config, books):
    """Beside somebody who has the books open nothing is removed, even while the -wal is still empty."""
    with contextlib.closing(open_writer(books)) as writer:
        writer.execute("SELECT count(*) FROM meta").fetchall()
        assert (books.parent / "payd.db-wal").stat().st_size == 0
        assert payd("verify", "--config", sandbox_config).exit_code == 0
        assert _beside(books) >= {"payd.db-wal", "payd.db-shm"}
        writer.execute("INSERT INTO meta VALUES ('x', 'y', 1, 1)")
    with contextlib.closing(open_writer(books)) as writer:
        assert writer.execute("SELECT value FROM meta WHERE key = 'x'").fetchall() == [("y",)]
