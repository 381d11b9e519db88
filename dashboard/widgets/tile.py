"""One big figure with its name: the four of them are what a shopkeeper looks for first."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Digits

from dashboard.widgets.line import Line


class Tile(Vertical):
    """A figure as a line of text on small terminals and in large digits on wide ones (the stylesheet chooses)."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="tile panel")

    def compose(self) -> ComposeResult:
        yield Line(classes="tile-text")
        yield Digits("", classes="tile-digits")

    def show(self, figure: str, text: Text) -> None:
        """`figure` in digits, `text` where digits would not fit."""
        self.query_one(Line).show(text)
        digits = self.query_one(Digits)
        if digits.value != figure:
            digits.update(figure)

    def set_age(self, words: str) -> None:
        """Write the age into the lower border."""
        if self.border_subtitle != words:
            self.border_subtitle = words
