"""``payd reconcile``: one run by hand."""

from __future__ import annotations

from pathlib import Path

import click

from payd.commands import output
from payd.commands.exits import TemporaryFailure
from payd.commands.options import config_option, json_option, read_config


@click.command()
@config_option
@json_option
def reconcile(config_path: Path, as_json: bool) -> None:
    """Ask WeChat now about everything that is due.

    One run of what the daemon does every few seconds: at most reconcile_batch_size payments and as many refunds,
    oldest due first. Works beside a running daemon and without one. Exits 75 when some could not be asked.
    """
    from payd.commands.execution import perform

    done = perform(read_config(config_path), "reconcile")
    if as_json:
        output.say_json(done)
    else:
        output.say(f"asked {done['asked']}, settled {done['settled']}, failed {done['failed']}")
        output.say(
            f"still open: {done['open_payments']} payments, {done['open_refunds']} refunds, "
            f"{done['open_discrepancies']} discrepancies; {done['due_now']} due now"
        )
    if done["failed"]:
        raise TemporaryFailure(f"{done['failed']} could not be asked about; the daemon's next run tries again")
