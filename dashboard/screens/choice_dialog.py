"""A small list to choose one thing from."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class ChoiceDialog(ModalScreen[str | None]):
    """Returns the value of the chosen (value, words) pair, None when left with escape."""

    BINDINGS = [
        Binding("escape", "leave", show=False),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]

    def __init__(self, title: str, options: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._title = title
        self._options = options

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            yield OptionList(*(Option(Text(words)) for _, words in self._options), markup=False, compact=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter."""
        event.stop()
        self.dismiss(self._options[event.option_index][0])

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)

    def action_move(self, rows: int) -> None:
        """`j` and `k`."""
        options = self.query_one(OptionList)
        options.highlighted = max(0, min((options.highlighted or 0) + rows, len(self._options) - 1))
