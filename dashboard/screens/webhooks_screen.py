"""Screen 6: what payd told the merchant's endpoints, attempt by attempt; one can be sent again."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from dashboard.formatting import clock_time, literal, whole, words
from dashboard.listing import Record
from dashboard.screens.columns import state_column, text_column, time_column
from dashboard.screens.confirm_dialog import ConfirmDialog, resend_plan
from dashboard.screens.list_screen import Column, ListScreen, ListSpec
from dashboard.states import DELIVERY_STATES, look_of, state_text
from dashboard.widgets.line import Line

_ATTEMPTS_SHOWN = 40


def _attempts(record: Record) -> list[object]:
    attempts = record.get("attempts")
    return attempts if isinstance(attempts, list) else []


DELIVERIES = ListSpec(
    name="deliveries",
    path="/pay/deliveries",
    items="deliveries",
    id_field="id",
    columns=(
        text_column("type", 18),
        state_column(width=14),
        Column(
            "attempts",
            8,
            lambda record, kit: kit.paint.cell(str(len(_attempts(record))), "plain", right=True, width=8),
            lambda record: len(_attempts(record)),
            right=True,
        ),
        time_column("next_at", from_columns=100, yields=1),
        text_column("url", 20, flex=True, from_columns=80),
        text_column("webhook_id", 34, wide=True, number=True),
        text_column("id", 34, wide=True, number=True),
    ),
    states=DELIVERY_STATES,
    fields={"status": "status"},
    is_faulty=lambda record: look_of(record.get("status")).role == "bad" or len(_attempts(record)) > 1,
)


class WebhooksScreen(ListScreen):
    """See the module."""

    NAME = "webhooks"
    SPEC = DELIVERIES
    ACTION_HINTS = (("N", "resend"),)
    BINDINGS = [Binding("N", "resend", show=False)]

    def compose_aside(self) -> ComposeResult:
        aside = VerticalScroll(id="aside", classes="panel")
        aside.border_title = self.board.say("panel_attempts")
        with aside:
            yield Line(id="aside-text", fixed=False)

    def show_aside(self, record: Record | None) -> None:
        """The attempts of the delivery under the cursor."""
        board = self.board
        if record is None:
            self.query_one("#aside-text", Line).show(board.paint.text((board.say("nothing_here"), "dim")))
            return
        text = board.paint.text(
            (words(record.get("url")), "title"), "\n", (words(record.get("webhook_id")), "dim"), "\n"
        )
        for attempt in _attempts(record)[-_ATTEMPTS_SHOWN:]:
            fields = attempt if isinstance(attempt, dict) else {}
            status, error = fields.get("status"), fields.get("error")
            code = whole(status)
            good = code is not None and 200 <= code < 300
            milliseconds = whole(fields.get("duration_ms"))
            took = "" if milliseconds is None else f" {milliseconds} ms"
            mark = (f"{'✓' if good else '✗'} {words(status)}", "good" if good else "bad")
            text.append_text(board.paint.text((clock_time(fields.get("at")), "dim"), " ", mark, took))
            text.append_text(board.paint.text(f" {literal(error, limit=120)}" if error else "", "\n"))
        text.append_text(board.paint.text((f"→ {state_text(record.get('status'), board.say)}", "plain")))
        if record.get("next_at"):
            text.append_text(board.paint.text((f" {board.say('next_at', time=clock_time(record['next_at']))}", "dim")))
        self.query_one("#aside-text", Line).show(text)

    def action_resend(self) -> None:
        """`N`: send this one again, after a typed confirmation."""
        record = self.current()
        if record is not None:
            self.board.confirm(ConfirmDialog(resend_plan(record, self.board.say)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No changes with --readonly."""
        return (
            False if action == "resend" and self.board.settings.readonly else super().check_action(action, parameters)
        )
