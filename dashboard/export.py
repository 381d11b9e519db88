"""Writes a list as CSV that a spreadsheet opens without running it: no cell may begin a formula."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from dashboard.formatting import BEIJING, literal

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")


def harmless(value: object) -> object:
    """A cell as it may stand in a CSV file: numbers as they are, texts literal and never a formula.

    The apostrophe in front is OWASP's advice against CSV injection; spreadsheets show the text behind it.
    """
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = literal(value)
    return "'" + text if text.lstrip().startswith(_FORMULA_STARTS) else text


def write_csv(folder: Path, name: str, heads: Sequence[str], rows: Iterable[Sequence[object]], *, now: float) -> Path:
    """Write `payd-<name>-<time>.csv` into `folder`, readable by its owner only, and return its path.

    UTF-8 with a byte order mark, which spreadsheets need to read Chinese. Never overwrites. Raises OSError.
    """
    stamp = datetime.fromtimestamp(now, BEIJING).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1, 100):
        suffix = "" if attempt == 1 else f"-{attempt}"
        path = folder / f"payd-{name}-{stamp}{suffix}.csv"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(heads)
            writer.writerows([harmless(value) for value in row] for row in rows)
        return path
    raise FileExistsError(17, "too many exports in one second", str(folder))
