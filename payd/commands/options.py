"""Options that many commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from payd.config import Config

config_option: Final = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("config.json"),
    show_default=True,
    help="The configuration file.",
)

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def read_config(config_path: Path) -> Config:
    """Load the configuration with the environment over it, and send the log quietly to standard error.

    Raises ConfigError with every complaint.
    """
    from payd.commands.exits import debugging
    from payd.config import load_config
    from payd.logs import configure_logs

    configure_logs(level="debug" if debugging() else "error", form="console")
    return load_config(config_path, os.environ)
