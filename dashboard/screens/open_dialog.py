"""Asks for one line of text: the number of an order to open."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input


class OpenDialog(ModalScreen[str | None]):
    """Returns what was typed, stripped; None when left or empty."""

    BINDINGS = [Binding("escape", "leave", show=False)]

    def __init__(self, title: str, placeholder: str) -> None:
        super().__init__()
        self._title = title
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            yield Input(placeholder=self._placeholder, max_length=64, id="number")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.dismiss(event.value.strip() or None)

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)
