"""The schema's history, and what the database remembers about itself.

Migrations run under the writer's lock, all in one transaction, after a copy of the file was made. A database that was
written by a newer payd is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlite_utils import Database, Migrations

from payd.errors import Complaint, ConfigError
from payd.models.journal import stamp
from payd.ports import Clock
from payd.storage.sqlite.backup import copy_database
from payd.storage.sqlite.connection import driver

MODE_KEY: Final = "mode"

#: Every migration this payd knows, in order; each is the SQL file of that name.
KNOWN: Final = ("0001_books", "0002_no_asked_at")


def known_migrations() -> Migrations:
    """Make the set of all migrations, in order."""
    migrations = Migrations("payd")
    for name in KNOWN:
        migrations(name=name)(_script_runner(name))
    return migrations


def prepare(
    connection: driver.Connection, path: Path, *, mode: str, clock: Clock, migrations: Migrations | None = None
) -> None:
    """Bring the schema up to date and the mode to paper. The caller holds the WriterLock.

    Raises ConfigError: the file is no database, was written by a newer payd, or belongs to the other mode.
    """
    migrations = migrations or known_migrations()
    applied = applied_migrations(connection, path)
    if applied:
        _require_mode(connection, path, mode)
    is_behind = bool(migrations.pending(_tools(connection)))
    if applied and is_behind:
        copy_database(path, _copy_path(path, applied[-1], clock))
    connection.execute("BEGIN IMMEDIATE")
    try:
        if is_behind:
            migrations.apply(_tools(connection))
        if not applied:
            now = stamp(clock.now())
            connection.execute("INSERT INTO meta VALUES (?, ?, ?, ?)", (MODE_KEY, mode, now, now))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def applied_migrations(connection: driver.Connection, path: Path) -> tuple[str, ...]:
    """List what was applied. Raises ConfigError when it is not a beginning of KNOWN."""
    applied = tuple(step.name for step in known_migrations().applied(_tools(connection)))
    if applied != KNOWN[: len(applied)]:
        unknown = ", ".join(name for name in applied if name not in KNOWN) or ", ".join(applied)
        raise ConfigError([Complaint("storage.path", f"{path} was written by a newer payd (it has {unknown})")])
    if not applied and connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]:
        raise ConfigError([Complaint("storage.path", f"{path} is another program's database")])
    return applied


def stored_mode(connection: driver.Connection) -> str | None:
    """Tell the mode the database was made for."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MODE_KEY,)).fetchone()
    return None if row is None else str(row[0])


def _require_mode(connection: driver.Connection, path: Path, mode: str) -> None:
    stored = stored_mode(connection)
    if stored != mode:
        issue = f"{path} holds {stored} money and payd runs in mode {mode}: name another file, or set mode to {stored}"
        raise ConfigError([Complaint("storage.path", issue)])


def _copy_path(path: Path, newest: str, clock: Clock) -> Path:
    return path.with_name(f"{path.name}.after-{newest}-{clock.now():%Y%m%dT%H%M%SZ}")


def _tools(connection: driver.Connection) -> Database:
    return Database(connection, execute_plugins=False)


def _script_runner(name: str) -> Callable[[Database], None]:
    """Make a migration of a file of statements. They run one by one: ``executescript`` would commit first."""

    def run(db: Database) -> None:
        statement = ""
        for line in (Path(__file__).parent / f"{name}.sql").read_text("utf-8").splitlines(keepends=True):
            statement += line
            if driver.complete_statement(statement):
                db.execute(statement)
                statement = ""

    return run
