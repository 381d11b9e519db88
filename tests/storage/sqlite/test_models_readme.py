"""The page about records and tables is made from the schema, and is never behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_up_to_date():
    """After a change of schema `scripts/make-models-readme` must be run."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-models-readme"), "--check"], capture_output=True, text=True
    )

    assert (result.returncode, result.stderr) == (0, "")
