"""The command payd-dashboard: says what is missing when the dashboard's libraries were left out, else opens it."""

from __future__ import annotations

import sys

CONFIGURATION = 78
LIBRARIES = ("textual", "rich")


def main() -> None:
    """Open the dashboard. Exit code 78 when it was installed without its libraries."""
    try:
        from dashboard.__main__ import main as open_dashboard
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LIBRARIES:
            raise  # a mistake of ours, or a broken installation: not what the sentence says
        print(
            "payd-dashboard: the dashboard's libraries are not installed: pip install --constraint constraints.txt "
            "'.[dashboard]' in payd's folder",
            file=sys.stderr,
        )
        sys.exit(CONFIGURATION)
    open_dashboard()
