"""The last line: the keys that matter here, as many as fit."""

from __future__ import annotations

from rich.text import Text

from dashboard.themes import Paint
from dashboard.wording import Wording

Hint = tuple[str, str]
"""A key as written on it, and the wording key of what it does (`key_<name>`)."""


def hint_line(hints: tuple[Hint, ...], *, width: int, say: Wording, paint: Paint) -> Text:
    """The hints that fit into `width` cells; the first ones win."""
    text = paint.text()
    for key, name in hints:
        piece = paint.text((f" {key}", "accent"), (f" {say(f'key_{name}')} ", "dim"))
        if text.cell_len + piece.cell_len <= width:
            text.append_text(piece)
    return text
