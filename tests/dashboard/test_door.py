"""payd-dashboard without its libraries: one sentence with the cure, no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules[{library!r}] = None; from dashboard.door import main; main()"


@pytest.mark.parametrize("library", ["textual", "rich"])
def test_without_its_libraries_it_says_what_to_install(library: str) -> None:
    """`pip install payd` alone puts the command there: exit 78 and the cure."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(library=library), "--help"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 78
    assert "pip install" in ran.stderr
    assert "[dashboard]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_with_its_libraries_it_opens() -> None:
    """The command is the dashboard's own."""
    ran = subprocess.run(
        [sys.executable, "-c", "from dashboard.door import main; main()", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0
    assert "--key-file" in ran.stdout
