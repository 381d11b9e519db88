"""The filter bar of a list: opened with `/`, applied with enter, left with escape."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input

from dashboard.messages import FilterChanged, FilterClosed


class FilterBar(Horizontal):
    """One input; hidden while it is neither edited nor holds a text."""

    BINDINGS = [Binding("escape", "leave", show=False)]

    def __init__(self, placeholder: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._placeholder = placeholder
        self.display = False

    def compose(self) -> ComposeResult:
        yield Input(placeholder=self._placeholder, id="filter-input", compact=True)

    @property
    def box(self) -> Input:
        """The input itself."""
        return self.query_one(Input)

    def edit(self) -> None:
        """Show the bar and put the cursor into it."""
        self.display = True
        self.box.focus()

    def set_text(self, text: str) -> None:
        """Show a filter that was chosen elsewhere."""
        self.box.value = text
        self.display = bool(text) or self.box.has_focus

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter applies."""
        event.stop()
        self.display = bool(event.value)
        self.post_message(FilterChanged(event.value))
        self.post_message(FilterClosed())

    def action_leave(self) -> None:
        """Escape leaves; the list keeps what was applied."""
        self.post_message(FilterClosed())
