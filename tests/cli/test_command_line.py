"""The command line itself: help, version, exit codes, errors in one line."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from payd import __version__
from payd.cli import main
from payd.commands import exits
from payd.errors import Complaint, ConfigError, KeyMaterialError, RequestError, StaleVersion, StorageUnavailable
from payd.operator_client import DaemonFailed
from payd.sandbox.errors import DirectoryRefused, ListenRefused

HEAVY = {"tornado", "cryptography", "sqlite_utils", "pysqlite3", "pydantic", "pycurl", "structlog", "asyncio"}


def _commands(group: click.Group, path: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


CONTRACT = {
    ("serve",), ("check",), ("doctor",), ("sandbox",), ("sandbox", "pay"), ("reconcile",), ("bill", "fetch"),
    ("bill", "show"), ("discrepancy", "list"), ("discrepancy", "resolve"), ("webhook", "list"), ("webhook", "resend"),
    ("webhook", "test"), ("key", "new"), ("backup",), ("verify",), ("openapi",),
}  # fmt: skip


def test_every_command_of_the_contract_is_there():
    """Section 3 of the contract lists commands; all exist."""
    assert CONTRACT - set(_commands(main)) == set()


@pytest.mark.parametrize("path", [(), *_commands(main)], ids=" ".join)
def test_every_command_explains_itself(payd, path):
    """--help of every command says what it does and exits 0."""
    done = payd(*path, "--help")

    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")


def test_the_first_help_page_is_whole(payd):
    """No line of the list of commands is cut, and it says the exit codes."""
    page = payd("--help").output

    assert "..." not in page.split("Commands:")[1]
    for code in ("1 a check", "2 usage", "70", "75", "78"):
        assert code in page


def test_version_is_printed_without_loading_the_program():
    """payd --version imports neither Tornado, cryptography nor the database: completion stays quick."""
    program = (
        "import sys, payd.cli\n"
        "try: payd.cli.main(['--version'], prog_name='payd')\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    version, modules = done.stdout.splitlines()
    assert version == f"payd, version {__version__}"
    assert HEAVY & {name.partition(".")[0] for name in modules.split()} == set()


def test_module_and_script_are_one_program():
    """python -m payd is payd, with the same name in its messages."""
    done = subprocess.run([sys.executable, "-m", "payd", "reconsile"], capture_output=True, text=True, check=False)

    assert done.returncode == exits.USAGE
    assert done.stderr.startswith("Usage: payd ")
    assert done.stdout == ""


@pytest.mark.parametrize("error, code", [
    (ConfigError([Complaint("mode", "is required")]), 78),
    (KeyMaterialError("wechat_pay.private_key_path: cannot read"), 78),
    (DirectoryRefused("looks real"), 78),
    (RequestError("invalid_request", complaints=[Complaint("id", "there is none")]), 2),
    (StorageUnavailable("in use"), 75),
    (StaleVersion("orders", "x"), 75),
    (ListenRefused("port taken"), 75),
    (exits.TemporaryFailure("later"), 75),
    (DaemonFailed("KeyError"), 70),
    (ZeroDivisionError("division\nby zero"), 70),
])  # fmt: skip
def test_every_error_has_its_exit_code(capsys, error, code):
    """An error of any kind is one line a complaint on standard error and a code of the contract."""

    def fail():
        raise error

    with pytest.raises(SystemExit) as ended:
        exits.guarded(fail)

    said = capsys.readouterr()
    assert ended.value.code == code
    assert said.out == ""
    assert [line[:6] for line in said.err.splitlines()] == ["payd: "]


def test_a_mistake_of_ours_is_a_line_and_with_debug_a_traceback(payd, monkeypatch, sandbox_config):
    """An unknown error is exit 70 in one line; PAYD_DEBUG=1 adds the traceback."""

    def fail(*_: object) -> None:
        raise LookupError("nobody expected this")

    monkeypatch.setattr("payd.storage.audit.audit", fail)
    quiet = payd("verify", "--config", sandbox_config)
    loud = payd("verify", "--config", sandbox_config, env={"PAYD_DEBUG": "1"})

    assert (quiet.exit_code, loud.exit_code) == (70, 70)
    assert len(quiet.stderr.splitlines()) == 1
    assert "LookupError: nobody expected this" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_ctrl_c_ends_with_the_shells_code(capsys):
    """Ctrl-C is 130 and one line."""

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        exits.guarded(interrupted)

    assert ended.value.code == exits.INTERRUPTED
    assert capsys.readouterr().err == "payd: interrupted\n"


@pytest.mark.parametrize("arguments", [
    ("serve",), ("reconcile",), ("bill", "fetch", "2026-11-22"), ("bill", "show", "2026-11-22"),
    ("discrepancy", "list"), ("discrepancy", "resolve", "x", "--note", "y"), ("webhook", "list"),
    ("webhook", "resend", "x"), ("webhook", "enable", "x"), ("webhook", "test", "x"), ("backup", "copy.db"),
    ("verify",), ("check",), ("doctor",),
], ids=" ".join)  # fmt: skip
def test_a_wrong_configuration_is_78_with_every_complaint(payd, write_config, tmp_path, arguments):
    """Whatever the command, a configuration that cannot be used is exit 78 and says all that is wrong."""
    config = write_config({"mod": "sandbox", "server": {"prot": 1}})

    done = payd(*arguments, "--config", config)

    assert done.exit_code == 78
    for complaint in ("mode", "mod", "server.prot"):
        assert complaint in done.stderr + done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


@pytest.mark.parametrize("arguments", [
    ("discrepancy", "list"), ("webhook", "list"), ("verify",), ("backup", "copy.db"), ("bill", "show", "2026-11-22"),
], ids=" ".join)  # fmt: skip
def test_reading_books_that_are_not_there_is_78(payd, sandbox_config, arguments):
    """A command that only reads never makes a database."""
    done = payd(*arguments, "--config", sandbox_config)

    assert done.exit_code == 78
    assert "payd.db does not exist" in done.stderr
    assert not (sandbox_config.parent / "payd.db").exists()


def test_openapi_prints_the_document(payd):
    """payd openapi is the document of the HTTP API as JSON."""
    done = payd("openapi")

    assert done.exit_code == 0
    assert '"openapi": "3.1.0"' in done.stdout
    assert "/pay/create" in done.stdout


def test_rows_that_could_not_be_asked_about_are_temporary(payd, monkeypatch, sandbox_config):
    """reconcile prints what it did and exits 75 when some rows failed: the next run tries them again."""
    done = dict.fromkeys(("open_payments", "open_refunds", "open_discrepancies", "due_now"), 0)
    monkeypatch.setattr("payd.commands.execution.perform", lambda *_: done | {"asked": 3, "settled": 1, "failed": 2})

    ended = payd("reconcile", "--config", sandbox_config)

    assert ended.exit_code == 75
    assert ended.stdout.startswith("asked 3, settled 1, failed 2\n")
    assert ended.stderr.startswith("payd: 2 could not be asked about")
