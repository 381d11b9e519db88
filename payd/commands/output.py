"""What commands print: aligned tables, JSON, words in colour.

Colours follow click (none into a pipe) and NO_COLOR. Columns are aligned by the width a terminal gives a character:
Chinese takes two places, a combining mark none.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

#: Word -> colour; a word never depends on its colour to be understood.
COLOURS: Final[Mapping[str, str]] = {
    "ok": "green", "note": "yellow", "problem": "red",
    "open": "yellow", "resolved": "green",
    "pending": "yellow", "delivered": "green", "dead": "red", "disabled": "red", "on": "green",
    "compared": "green", "empty": "green", "due": "yellow", "damaged": "red",
}  # fmt: skip

WIDE: Final = frozenset({"W", "F"})
INVISIBLE: Final = frozenset({"Mn", "Me", "Cf"})
CONTROL: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})


def width_of(text: str) -> int:
    """Count the places a terminal takes for a text, colours not counted."""
    return sum(_places(char) for char in click.unstyle(text))


def _places(char: str) -> int:
    if unicodedata.category(char) in INVISIBLE:
        return 0
    return 2 if unicodedata.east_asian_width(char) in WIDE else 1


def printable(value: object) -> str:
    """Write a value from the books for a terminal: nothing in it can move the cursor or change colours."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(" " if unicodedata.category(char) in CONTROL else char for char in text)


def coloured(word: str) -> str:
    """Give a word its colour."""
    return click.style(word, fg=COLOURS[word]) if word in COLOURS else word


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lay rows out under their heads, two blanks between columns, none at a line's end."""
    cells = [[coloured(printable(value)) for value in row] for row in rows]
    lines = [[click.style(name, bold=True) for name in head], *cells]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def yuan(fen: int) -> str:
    """Write fen as yuan, exactly: ``-12.05``."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def say(lines: Sequence[str] | str) -> None:
    """Print lines."""
    for line in [lines] if isinstance(lines, str) else lines:
        click.echo(line)


def say_json(value: Any) -> None:
    """Print one JSON value, readable for people too."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
