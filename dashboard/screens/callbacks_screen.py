"""Screen 4: WeChat's callbacks as they came in, each with its verdict, step by step."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from dashboard.formatting import clock_time, count, literal, words
from dashboard.listing import Record
from dashboard.screens.columns import state_column, text_column, time_column
from dashboard.screens.list_screen import ListScreen, ListSpec
from dashboard.states import CALM_RESULTS, RESULTS, look_of, state_text
from dashboard.widgets.line import Line

_STEPS_SHOWN = 40

CALLBACKS = ListSpec(
    name="notifications",
    path="/pay/notifications",
    items="notifications",
    id_field="id",
    columns=(
        time_column("received_at", from_columns=60, yields=1),
        state_column("result", 21),
        text_column("out_trade_no", 32, number=True),
        text_column("event_type", 22, from_columns=150, yields=2),
        text_column("out_refund_no", 24, wide=True, number=True),
        text_column("id", 36, wide=True, number=True),
    ),
    states=RESULTS,
    fields={"result": "result"},
    is_faulty=lambda record: record.get("result") not in CALM_RESULTS,
)


class CallbacksScreen(ListScreen):
    """See the module."""

    NAME = "callbacks"
    SPEC = CALLBACKS

    def compose_aside(self) -> ComposeResult:
        aside = VerticalScroll(id="aside", classes="panel")
        aside.border_title = self.board.say("panel_steps")
        with aside:
            yield Line(id="aside-text", fixed=False)

    def show_aside(self, record: Record | None) -> None:
        """The final verdict of the callback under the cursor, then each check's, in the order they were made."""
        board = self.board
        if record is None:
            self.query_one("#aside-text", Line).show(board.paint.text((board.say("nothing_here"), "dim")))
            return
        result = record.get("result")
        text = board.paint.text(
            (words(record.get("event_type")), "title"),
            ("  " + clock_time(record.get("received_at"), long=True), "dim"),
            (f"\n→ {state_text(result, board.say)}", look_of(result).role),
        )
        steps = record.get("steps")
        for number, step in enumerate(steps[:_STEPS_SHOWN] if isinstance(steps, list) else (), 1):
            name = step.get("step") if isinstance(step, dict) else step
            verdict = step.get("verdict") if isinstance(step, dict) else None
            mark = (state_text(verdict, board.say), look_of(verdict).role)
            text.append_text(board.paint.text(f"\n{number:>2} {literal(name, limit=60)}: ", mark))
        self.query_one("#aside-text", Line).show(text)

    def afterwords(self) -> tuple[str, ...]:
        """The daemon's own counters by kind of verdict: of this run of it, while the rows are of all runs."""
        say, metrics = self.board.say, self.board.snapshot.metrics.data
        if metrics is None or metrics.value("payd_notifications_total") is None:
            return ()
        by_result = metrics.by("payd_notifications_total", "result")
        told = [
            f"{literal(state_text(result, say))} {count(number)}"
            for result, number in sorted(by_result.items(), key=lambda pair: -pair[1])[:4]
            if number
        ]
        return (say("callbacks_since_start", counts=", ".join(told)) if told else say("no_callbacks_since_start"),)
