"""`?`: the keys, what the marks mean, and what the filter bar understands."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from dashboard.keys import CHANGING, KEYS
from dashboard.states import DELIVERY_STATES, ORDER_STATES, REFUND_STATES, look_of, state_text
from dashboard.widgets.line import Line


class HelpScreen(ModalScreen[None]):
    """Left with escape, `?`, `q` or F1."""

    BINDINGS = [
        Binding("escape,question_mark,q,f1", "leave", show=False),
        Binding("j", "scroll(2)", show=False),
        Binding("k", "scroll(-2)", show=False),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help") as box:
            box.border_title = self.app.say("help_title")  # type: ignore[attr-defined]
            yield Line(id="help-text", fixed=False)

    def on_mount(self) -> None:
        """Write it."""
        app = self.app
        say, paint, readonly = app.say, app.paint, app.settings.readonly  # type: ignore[attr-defined]
        text = paint.text((say("help_keys"), "title"), "\n")
        for key, name, where in KEYS:
            off = f" ({say('readonly')})" if readonly and name in CHANGING else ""
            text.append_text(
                paint.text(
                    (f"{key:>8}  ", "accent"), f"{say(f'key_{name}')}{off}", (f"  {say(f'where_{where}')}\n", "dim")
                )
            )
        text.append_text(paint.text("\n", (say("help_filter_title"), "title"), "\n", say("help_filter"), "\n\n"))
        text.append_text(paint.text((say("help_states"), "title"), "\n"))
        for states in (ORDER_STATES, REFUND_STATES, DELIVERY_STATES):
            for state in states:
                text.append_text(paint.text((f" {state_text(state, say)} ", look_of(state).role)))
            text.append_text(paint.text("\n"))
        text.append_text(paint.text("\n", say("help_ages"), "\n", say("help_times")))
        self.query_one("#help-text", Line).show(text)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)

    def action_scroll(self, rows: int) -> None:
        """`j` and `k`."""
        self.query_one(VerticalScroll).scroll_relative(y=rows, animate=False)
