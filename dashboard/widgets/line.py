"""A text that is redrawn only when it changed: most ticks of a quiet daemon change nothing."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Line(Static):
    """A Static that remembers what it shows. Only ever given Text: strings would be read as markup."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, fixed: bool = True) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self._fixed = fixed
        self.shown = Text("")

    def show(self, text: Text) -> None:
        """Show `text` unless it is there already."""
        if text == self.shown and text.spans == self.shown.spans:
            return
        self.shown = text
        self.update(text, layout=not self._fixed)

    def set_age(self, words: str) -> None:
        """Write the age of the panel's numbers into its lower border."""
        if self.border_subtitle != words:
            self.border_subtitle = words
