"""``payd serve``: the daemon."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from payd.commands.options import config_option


@click.command()
@config_option
def serve(config_path: Path) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Prints one line on standard output when it listens, and tells systemd; the log goes to standard error. SIGTERM ends
    what is under way and exits 0; SIGHUP reads the API keys again.
    """
    from payd.commands.execution import naming_the_holder, run
    from payd.config import load_config
    from payd.logs import configure_logs

    config = load_config(config_path, os.environ)
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    configure_logs(level=config.log.level, form=config.log.format, colours=colours)
    from payd.daemon import serve as serve_daemon

    with naming_the_holder(config.storage.path):
        code = run(serve_daemon(config, config_path, ready=_ready))
    sys.exit(code)


def _ready(line: str) -> None:
    click.echo(line)
    tell_systemd("READY=1", os.environ)


def tell_systemd(state: str, environ: Mapping[str, str]) -> None:
    """Send a state to the service manager, when there is one that waits for it. Source: sd_notify(3)."""
    import socket

    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), address)
