"""Exit codes, and how every error becomes one: a line or a few on standard error, never a traceback.

==== ========= ============================================================================
code name      means
==== ========= ============================================================================
0    OK        done
1    FOUND     a check found something: read the output
2    USAGE     the command line cannot be meant: unknown option, bad date, an id that is not there
70   INTERNAL  a mistake in payd; ``PAYD_DEBUG=1`` shows where
75   TEMPORARY not now: the database is in use, WeChat cannot be reached; the same command can succeed later
78   CONFIG    configuration, keys or the database file must be changed first
130  -         interrupted by Ctrl-C (128 + SIGINT, as shells count)
==== ========= ============================================================================

Source of 70, 75 and 78: sysexits(3).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click

from payd.commands.output import printable
from payd.errors import ConfigError, KeyMaterialError, PaydError, RequestError
from payd.sandbox.errors import DirectoryRefused, SandboxError

FOUND: Final = 1
USAGE: Final = 2
INTERNAL: Final = 70
TEMPORARY: Final = 75
CONFIG: Final = 78
INTERRUPTED: Final = 130

DEBUG_VARIABLE: Final = "PAYD_DEBUG"

#: The first class that fits decides. Errors of payd that are not here are temporary.
CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (ConfigError, CONFIG),
    (KeyMaterialError, CONFIG),
    (DirectoryRefused, CONFIG),
    (RequestError, USAGE),
    (SandboxError, TEMPORARY),
    (PaydError, TEMPORARY),
)


class TemporaryFailure(PaydError):
    """A command could not do its work now; the message says why. Exit code 75."""

    retryable = True


def code_of(error: Exception) -> int:
    """Find the exit code of an error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), INTERNAL)


def lines_of(error: Exception) -> list[str]:
    """Say an error in lines for a person, all complaints at once."""
    if isinstance(error, ConfigError):
        from payd.config import SettingsError

        head = [f"{error.path} cannot be used:"] if isinstance(error, SettingsError) else []
        return head + [f"{c.field}: {c.issue}" if c.field else c.issue for c in error.complaints]
    if isinstance(error, RequestError):
        issues = [f"{c.field}: {c.issue}" if c.field else c.issue for c in error.complaints]
        return issues or [error.code.replace("_", " ")]
    if code_of(error) == INTERNAL:
        said = " ".join(str(error).split())
        name = type(error).__name__
        return [f"internal error, {name}{f': {said}' if said else ''} (set {DEBUG_VARIABLE}=1 to see where)"]
    return str(error).splitlines() or [type(error).__name__]


def debugging() -> bool:
    """Tell whether the person wants tracebacks."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def leave(error: Exception) -> NoReturn:
    """Print what is wrong on standard error and end with the code of the error."""
    if debugging():
        traceback.print_exception(error)
    for line in lines_of(error):
        click.echo(f"payd: {printable(line)}", err=True)
    sys.exit(code_of(error))


class GuardedGroup(click.Group):
    """The root of the command line: whatever a command raises becomes an exit code here."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        return guarded(lambda: super(GuardedGroup, self).invoke(ctx))


def guarded(action: Callable[[], Any]) -> Any:
    """Run ``action``; end the process with a message and a code for any error but click's own."""
    try:
        return action()
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise  # click says these itself; a reader that went away is no error of ours
    except KeyboardInterrupt:
        click.echo("payd: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:  # the last place where an error can be said in one line
        leave(error)
