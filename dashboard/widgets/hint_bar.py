"""The last line: the keys that matter here, as many as fit."""

from __future__ import annotations

from rich.text import Text

from dashboard.themes import Paint
from dashboard.wording import Wording

Hint = tuple[str, str]
"""A key as written on it, and the wording key of what it does (`key_<name>`)."""


def hint_line(hints: tuple[Hint, ...], always: tuple[Hint, ...], *, width: int, say: Wording, paint: Paint) -> Text:
    """The hints that fit into `width` cells beside those that are `always` shown, at the end; the first ones win."""

    def piece(hint: Hint) -> Text:
        key, name = hint
        return paint.text((f" {key}", "accent"), (f" {say(f'key_{name}')} ", "dim"))

    text, last = paint.text(), paint.text()
    for hint in always:
        last.append_text(piece(hint))
    for hint in hints:
        more = piece(hint)
        if text.cell_len + more.cell_len + last.cell_len <= width:
            text.append_text(more)
    return text.append_text(last)
