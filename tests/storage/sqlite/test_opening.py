"""Opening the books: who may, in which mode, at which edition of the schema."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from sqlite_utils import Database

from payd.errors import ConfigError, StorageUnavailable
from payd.models.changes import ChangeSet
from payd.storage import open_for_reading, open_storage
from payd.storage.sqlite.connection import WriterLock, create_file, open_writer
from payd.storage.sqlite.schema import KNOWN, known_migrations, prepare

HOLD = """
import sys
from pathlib import Path
from payd.storage.sqlite.connection import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def complaint(refusal):
    (only,) = refusal.value.complaints
    assert only.field == "storage.path"
    return only.issue


async def test_the_file_belongs_to_the_owner_alone(sqlite_storage, db_path):
    """The database, its WAL and its lock can be read by nobody else."""
    await sqlite_storage.commit(ChangeSet(meta=(("k", "v"),)))

    for path in db_path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_missing_folder_is_a_configuration_error(tmp_path, clock):
    """payd makes files, not folders: a typing error must not start a second set of books."""
    with pytest.raises(ConfigError) as refusal:
        open_storage(tmp_path / "nowhere" / "payd.db", mode="live", clock=clock)

    assert "does not exist" in complaint(refusal)
    assert list(tmp_path.iterdir()) == []


async def test_the_other_mode_is_refused(sqlite_storage, db_path, clock):
    """Sandbox money never becomes live money: the file remembers."""
    await sqlite_storage.commit(ChangeSet(meta=(("k", "v"),)))
    await sqlite_storage.close()
    before = db_path.read_bytes()

    with pytest.raises(ConfigError) as refusal:
        open_storage(db_path, mode="live", clock=clock)

    assert "sandbox" in complaint(refusal)
    assert db_path.read_bytes() == before


async def test_what_was_written_is_there_after_reopening(db_path, clock):
    """Closing leaves one complete file."""
    for n in range(3):
        storage = open_storage(db_path, mode="live", clock=clock)
        assert await storage.load_meta("n") == (str(n - 1) if n else None)
        await storage.commit(ChangeSet(meta=(("n", str(n)),)))
        await storage.close()
        assert not db_path.with_name("payd.db-wal").exists()


async def test_two_writers_of_one_file_are_impossible(sqlite_storage, db_path, clock):
    """A second daemon on the same file is told who holds it; the first goes on."""
    with pytest.raises(StorageUnavailable, match=f"process {os.getpid()}"):
        open_storage(db_path, mode="sandbox", clock=clock)

    await sqlite_storage.commit(ChangeSet(meta=(("k", "v"),)))
    assert await sqlite_storage.load_meta("k") == "v"


def test_a_dead_process_holds_nothing(db_path, clock, io_loop):
    """The right to write of another process ends with its death, kill -9 included."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StorageUnavailable, match=f"process {child.pid}"):
            open_storage(db_path, mode="sandbox", clock=clock)
        child.kill()

    storage = open_storage(db_path, mode="sandbox", clock=clock)
    io_loop.run_sync(storage.close)


def test_what_is_no_payd_database_is_refused(tmp_path, clock):
    """A text file and another program's database are left alone."""
    text, foreign = tmp_path / "text.db", tmp_path / "foreign.db"
    text.write_text("this is not a database, it only has its name\n" * 50)
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = text.read_bytes()

    for path in (text, foreign):
        with pytest.raises(ConfigError):
            open_storage(path, mode="sandbox", clock=clock)

    assert text.read_bytes() == before
    with closing(sqlite3.connect(foreign)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def later_edition():
    migrations = known_migrations()

    @migrations(name="0002_more")
    def _more(db: Database) -> None:
        db.execute("CREATE TABLE more (x INTEGER) STRICT")

    return migrations


async def test_a_newer_schema_is_refused(sqlite_storage, db_path, clock):
    """An older payd does not write into a newer payd's books."""
    await sqlite_storage.close()
    with closing(open_writer(db_path)) as connection:
        prepare(connection, db_path, mode="sandbox", clock=clock, migrations=later_edition())
    before = db_path.read_bytes()

    for refused in (lambda: open_storage(db_path, mode="sandbox", clock=clock), lambda: open_for_reading(db_path)):
        with pytest.raises(ConfigError) as refusal:
            refused()
        assert "0002_more" in complaint(refusal)

    assert db_path.read_bytes() == before


async def test_a_copy_is_made_before_migrating(sqlite_storage, db_path, clock):
    """Before an existing file is changed, it is copied as it was, for the owner alone."""
    await sqlite_storage.commit(ChangeSet(meta=(("k", "v"),)))
    await sqlite_storage.close()

    with closing(open_writer(db_path)) as connection:
        prepare(connection, db_path, mode="sandbox", clock=clock, migrations=later_edition())

    (copy,) = db_path.parent.glob("payd.db.after-0002_no_asked_at-*")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    reads = open_for_reading(copy)
    assert await reads.load_meta("k") == "v"
    await reads.close()


def test_a_failed_migration_changes_nothing(db_path, clock):
    """A migration that breaks half-way leaves the edition before it."""
    migrations = known_migrations()

    @migrations(name="0002_broken")
    def _broken(db: Database) -> None:
        db.execute("CREATE TABLE half (x INTEGER) STRICT")
        raise RuntimeError("half-way")

    create_file(db_path)
    lock = WriterLock(db_path)
    with closing(open_writer(db_path)) as connection:
        prepare(connection, db_path, mode="sandbox", clock=clock)
        with pytest.raises(RuntimeError):
            prepare(connection, db_path, mode="sandbox", clock=clock, migrations=migrations)

        assert not connection.in_transaction
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert "half" not in names
        assert connection.execute("SELECT name FROM _sqlite_migrations").fetchall() == [(name,) for name in KNOWN]
    lock.release()


async def test_readers_need_no_lock_and_cannot_write(sqlite_storage, db_path):
    """Tools read beside the daemon, see its commits, and own no way to write."""
    await sqlite_storage.commit(ChangeSet(meta=(("k", "v"),)))

    reads = open_for_reading(db_path)

    assert await reads.load_meta("k") == "v"
    assert not hasattr(reads, "commit")
    with pytest.raises(Exception, match="readonly"):
        reads._here.execute("DELETE FROM meta")
    await reads.close()
    assert await sqlite_storage.load_meta("k") == "v"


def test_reading_what_is_not_there_makes_nothing(tmp_path):
    """A reader of a missing file is told so and leaves no empty file."""
    with pytest.raises(ConfigError):
        open_for_reading(tmp_path / "payd.db")

    assert list(tmp_path.iterdir()) == []
