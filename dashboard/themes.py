"""Four themes, and the styles that text in tables takes from them.

`payd-cb` uses the Okabe-Ito palette, which people with the common colour blindnesses can tell apart;
`payd-mono` uses no colour at all, only bold, reverse and underline. No state is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text
from textual.theme import Theme

from dashboard.formatting import fit

ROLES = ("plain", "dim", "good", "wait", "bad", "accent", "title", "money", "live", "sandbox", "stale")

_DARK = {
    "plain": "", "dim": "#8b94a3", "good": "#5fd38d", "wait": "#f2c14e", "bad": "bold #ff6b6b",
    "accent": "#6cb6ff", "title": "bold #e6edf3", "money": "bold #ffffff",
    "live": "bold #ffffff on #b3261e", "sandbox": "bold #1b1b1b on #f2c14e", "stale": "bold #1b1b1b on #ff9e64",
}  # fmt: skip
_LIGHT = {
    "plain": "", "dim": "#5b6470", "good": "#116329", "wait": "#8a5300", "bad": "bold #b3001b",
    "accent": "#0550ae", "title": "bold #1f2328", "money": "bold #000000",
    "live": "bold #ffffff on #b3001b", "sandbox": "bold #1b1b1b on #f2c14e", "stale": "bold #ffffff on #8a3b00",
}  # fmt: skip
_CB = {
    "plain": "", "dim": "#a0a0a0", "good": "#56b4e9", "wait": "#f0e442", "bad": "bold #e69f00",
    "accent": "#cc79a7", "title": "bold #ffffff", "money": "bold #ffffff",
    "live": "bold #ffffff on #d55e00", "sandbox": "bold #000000 on #f0e442", "stale": "bold #000000 on #e69f00",
}  # fmt: skip
_MONO = {
    "plain": "", "dim": "dim", "good": "", "wait": "underline", "bad": "bold underline", "accent": "bold",
    "title": "bold", "money": "bold", "live": "bold reverse", "sandbox": "bold reverse", "stale": "bold reverse",
}  # fmt: skip

STYLES: dict[str, dict[str, str]] = {
    "payd-dark": _DARK,
    "payd-light": _LIGHT,
    "payd-cb": _CB,
    "payd-mono": _MONO,
}
PLOT_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "payd-dark": ((108, 182, 255), (95, 211, 141), (242, 193, 78)),
    "payd-light": ((5, 80, 174), (17, 99, 41), (138, 83, 0)),
    "payd-cb": ((86, 180, 233), (230, 159, 0), (204, 121, 167)),
    "payd-mono": ((224, 224, 224), (224, 224, 224), (224, 224, 224)),
}
PLOT_MARKERS = ("braille", "braille", "braille")
PLOT_MARKERS_MONO = ("braille", "dot", "x")
"""Without colour the lines of a plot are told apart by what they are drawn with."""

THEMES: tuple[Theme, ...] = (
    Theme(
        name="payd-dark", primary="#3d7fc1", secondary="#2f5d8a", accent="#6cb6ff", warning="#f2c14e",
        error="#ff6b6b", success="#5fd38d", foreground="#d7dde5", background="#11151c", surface="#171c25",
        panel="#202734", dark=True,
    ),
    Theme(
        name="payd-light", primary="#0550ae", secondary="#3b6ea5", accent="#0550ae", warning="#8a5300",
        error="#b3001b", success="#116329", foreground="#1f2328", background="#f4f6f8", surface="#ffffff",
        panel="#e4e9ef", dark=False,
    ),
    Theme(
        name="payd-cb", primary="#0072b2", secondary="#005a8c", accent="#cc79a7", warning="#f0e442",
        error="#e69f00", success="#56b4e9", foreground="#e8e8e8", background="#101010", surface="#181818",
        panel="#242424", dark=True,
    ),
    Theme(
        name="payd-mono", primary="#9a9a9a", secondary="#7a7a7a", accent="#e0e0e0", warning="#e0e0e0",
        error="#e0e0e0", success="#e0e0e0", foreground="#e0e0e0", background="#000000", surface="#0c0c0c",
        panel="#1c1c1c", dark=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One literal text with a style, for a DataTable. Far smaller than a Text; it becomes one when drawn.

    Where its column is narrower than the text it ends in an ellipsis: nothing is cut in silence.
    """

    text: str
    style: str = ""
    justify: str = "left"

    def __rich__(self) -> Text:
        return Text(self.text, self.style, justify=self.justify, no_wrap=True, overflow="ellipsis", end="")  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Paint:
    """Turns text and role into styled literal text, for one theme."""

    styles: Mapping[str, str]

    def text(self, *pieces: tuple[str, str] | str) -> Text:
        """One Text of pieces, each a plain string or (string, role or #colour). Nothing is read as markup."""
        made = Text(no_wrap=False, end="")
        for piece in pieces:
            if isinstance(piece, str):
                made.append(piece)
            else:
                made.append(piece[0], (piece[1] if piece[1].startswith("#") else self.styles.get(piece[1], "")) or None)
        return made

    def cell(self, text: str, role: str = "plain", *, width: int = 0, right: bool = False) -> Cell:
        """One table cell, cut to `width` terminal cells (0: as it is)."""
        shown = fit(text, width) if width else text
        return Cell(shown, self.styles.get(role, ""), "right" if right else "left")


def paint_of(theme: str) -> Paint:
    """The paint for a theme; Textual's own themes borrow the dark or light one's."""
    return Paint(STYLES.get(theme, _LIGHT if "light" in theme or theme.endswith("-latte") else _DARK))
