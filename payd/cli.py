"""The command line (click): ``payd`` and ``python -m payd``. Exit codes are in `commands.exits`.

Imports of what a command needs happen inside it, so that ``payd --version`` and completion stay quick.
"""

from __future__ import annotations

import os

import click

from payd import __version__
from payd.commands.bill import bill
from payd.commands.books import backup, verify
from payd.commands.discrepancy import discrepancy
from payd.commands.exits import GuardedGroup
from payd.commands.inspection import check, doctor
from payd.commands.key import key
from payd.commands.openapi import openapi
from payd.commands.reconcile import reconcile
from payd.commands.serve import serve
from payd.commands.webhook import webhook
from payd.sandbox.commands import sandbox

EPILOG = """\
\b
First steps:
  payd serve                      run the daemon; mode sandbox needs no account
  payd sandbox pay OUT_TRADE_NO   pay an order as its payer would
  payd doctor                     find out what is wrong, and its cure
\b
Exit codes: 0 done, 1 a check found something, 2 usage, 70 internal error,
75 temporary (try again), 78 configuration. PAYD_DEBUG=1 shows tracebacks,
NO_COLOR=1 switches colours off."""


@click.group(cls=GuardedGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="payd")
@click.pass_context
def main(ctx: click.Context) -> None:
    """payd: a self-contained WeChat Pay API v3 payment daemon, with its own simulator."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


for command in (serve, check, doctor, sandbox, reconcile, bill, discrepancy, webhook, key, backup, verify, openapi):
    main.add_command(command)
