"""The second line: the screens with their numbers, as much of their names as fits; a click goes there."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events

from dashboard.messages import NavigationAsked
from dashboard.themes import Paint
from dashboard.widgets.line import Line
from dashboard.wording import Wording

SCREENS = ("overview", "orders", "refunds", "callbacks", "reconcile", "webhooks", "health", "alerts", "log")


class NavBar(Line):
    """Shows where one is and what the number keys lead to."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._places: list[tuple[int, int, str]] = []

    def show_place(self, active: str, say: Wording, paint: Paint, *, alerts: int) -> None:
        """Draw for the width there is: full names, short names, or numbers and the active name."""
        for form in ("nav", "short", "number"):
            labels = [self._label(name, form, say, active, alerts) for name in SCREENS]
            if sum(cell_len(label) for label in labels) < self.size.width or form == "number":
                break
        text, at = paint.text(" "), 1
        self._places = []
        for name, label in zip(SCREENS, labels, strict=True):
            text.append_text(paint.text((label, "accent" if name == active else "dim")))
            if name == active:
                text.stylize("bold reverse", at - 1, at + len(label))
            self._places.append((at, cell_len(label), name))
            at += len(label)
        self.show(text)

    @staticmethod
    def _label(name: str, form: str, say: Wording, active: str, alerts: int) -> str:
        number = SCREENS.index(name) + 1
        badge = f"({alerts})" if name == "alerts" and alerts else ""
        if form == "number" and name != active:
            return f"{number}{badge} "
        length = "nav" if form == "nav" else "short"
        return f"{number} {say(f'{length}_{name}')}{badge} "

    def on_click(self, event: events.Click) -> None:
        """Go to the screen whose name was clicked."""
        at = 1
        for _, width, name in self._places:
            if at <= event.x < at + width:
                self.post_message(NavigationAsked(name))
            at += width
