"""``payd backup`` and ``payd verify``: a copy of the books, and the proof that they hold together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payd.commands import output
from payd.commands.exits import FOUND
from payd.commands.options import config_option, json_option, read_config

if TYPE_CHECKING:
    from payd.storage import SqliteReads


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def backup(file: Path, config_path: Path) -> None:
    """Copy the database to FILE while it is in use.

    FILE must not exist. Works while the daemon runs and does not stop it. The copy holds the books as they were at
    one moment, in one file that only its owner can read; check it with: payd verify FILE
    """
    from payd.commands.execution import read_books

    config = read_config(config_path)
    if file.exists() or file.is_symlink():
        raise click.BadParameter(f"{file} exists already", param_hint="FILE")
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder {file.parent} does not exist", param_hint="FILE")

    async def copy(books: SqliteReads) -> None:
        await books.backup(file)

    read_books(config, copy)
    output.say(f"{file}: {file.stat().st_size} bytes")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@config_option
@json_option
def verify(file: Path | None, config_path: Path, as_json: bool) -> None:
    """Check every invariant of the books.

    States, journal, hashes, ledger, sums. Without FILE checks the configured database, also while the daemon runs;
    with FILE any database or backup, and no configuration is needed. Reads only. Exits 1 when an invariant fails,
    naming the first offenders of each.
    """
    from payd.commands.execution import remove_traces
    from payd.storage.audit import CHECKS, audit

    path = file or read_config(config_path).storage.path
    showing = sys.stderr.isatty()
    try:
        found = audit(path, _progress if showing else _silent)
    finally:
        remove_traces(path)
    if showing:
        click.echo("\r\x1b[K", nl=False, err=True)
    if as_json:
        failed = [{"check": item.check, "subject": item.subject, "detail": item.detail} for item in found]
        output.say_json({"ok": not found, "file": str(path), "checks": dict(CHECKS), "findings": failed})
    else:
        broken = {item.check for item in found}
        output.say([_mark(check in broken) + CHECKS[check] for check in CHECKS])
        if found:
            rows = [(item.check, item.subject, item.detail) for item in found]
            output.say(["", *output.table(("CHECK", "WHERE", "WHAT"), rows)])
        output.say(f"{path}: {f'{len(broken)} of {len(CHECKS)} invariants fail' if found else 'every invariant holds'}")
    if found:
        sys.exit(FOUND)


def _progress(check: str, done: int, total: int) -> None:
    click.echo(f"\r\x1b[K{check} {done}/{total}", nl=False, err=True)


def _silent(check: str, done: int, total: int) -> None:
    """Say nothing: nobody watches."""


def _mark(broken: bool) -> str:
    word = "problem" if broken else "ok"
    return output.coloured(word) + " " * (9 - len(word))
