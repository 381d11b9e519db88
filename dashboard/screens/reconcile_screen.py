"""Screen 5: open work and the last run, and the contradictions that wait for a person."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from dashboard.formatting import clock_time, count, duration, member, seconds_since, whole, words
from dashboard.screens.columns import age_column, state_column, text_column, time_column
from dashboard.screens.confirm_dialog import ConfirmDialog, resolve_plan
from dashboard.screens.list_screen import ListScreen, ListSpec
from dashboard.snapshots import Snapshot, Want
from dashboard.states import DISCREPANCY_STATES
from dashboard.widgets.line import Line

SUMMARY = Want("reconcile", "/pay/reconcile/summary")

DISCREPANCIES = ListSpec(
    name="discrepancies",
    path="/pay/discrepancies",
    items="discrepancies",
    id_field="id",
    columns=(
        time_column("opened_at", from_columns=80, yields=1),
        text_column("kind", 18),
        state_column(width=11),
        text_column("out_trade_no", 32, number=True),
        age_column("open_for", "opened_at", until=("resolved",), from_columns=100, yields=3),
        text_column("detail", 20, from_columns=110, flex=True, yields=2),
        text_column("out_refund_no", 24, wide=True, number=True),
        text_column("transaction_id", 30, wide=True, number=True),
        time_column("resolved_at", wide=True),
        text_column("note", 30, wide=True),
        text_column("id", 30, wide=True, number=True),
    ),
    states=DISCREPANCY_STATES,
    fields={"status": "status"},
    is_faulty=lambda record: record.get("status") != "resolved",
    paged=False,
    fixed=(("status", "open"),),
)


class ReconcileScreen(ListScreen):
    """See the module."""

    NAME = "reconcile"
    SPEC = DISCREPANCIES
    ACTION_HINTS = (("V", "resolve"),)
    BINDINGS = [Binding("V", "resolve", show=False)]

    def compose_body(self) -> ComposeResult:
        summary = Line(id="summary", classes="panel", fixed=False)
        summary.border_title = self.board.say("panel_reconcile")
        yield summary
        yield from super().compose_body()

    def wants(self) -> tuple[Want, ...]:
        """The discrepancies and the summary."""
        return (*super().wants(), SUMMARY)

    def show(self, snapshot: Snapshot) -> None:
        """Summary above, discrepancies below."""
        super().show(snapshot)
        self._show_summary()

    def tick(self, now: float) -> None:
        """Times since grow."""
        super().tick(now)
        self._show_summary()

    def _show_summary(self) -> None:
        board, part = self.board, self.board.snapshot.part(SUMMARY)
        say, now = board.say, board.now()
        panel = self.query_one("#summary", Line)
        panel.set_age(self.age_words(part))
        panel.set_class(self.is_stale(part), "-stale")

        def number(*path: str) -> str:
            return count(whole(member(part.data, *path)))

        work = {"payments": number("open_payments"), "refunds": number("open_refunds"), "due": number("due_now")}

        enabled = {"True": say("reconcile_on"), "False": say("reconcile_off")}.get(
            str(member(part.data, "enabled")), "—"
        )
        run_age = seconds_since(member(part.data, "last_run_at"), now)
        oldest = seconds_since(member(part.data, "oldest_open_at"), now)
        interval = whole(member(part.data, "interval_seconds"))
        text = board.paint.text(
            say("reconcile_open", **work),
            "\n",
            say("reconcile_oldest", age=duration(oldest), time=clock_time(member(part.data, "oldest_open_at"))),
            "\n",
            say("reconcile_last", age=duration(run_age), asked=number("last_run", "asked"),
                settled=number("last_run", "settled"), failed=number("last_run", "failed")),
            "\n",
            say("reconcile_state", enabled=enabled, interval=words(interval), open=number("open_discrepancies")),
        )  # fmt: skip
        if part.failure is not None:
            text.append_text(board.paint.text("\n", (f"✗ {board.failure_words(part.failure)}", "bad")))
        panel.show(text)

    def action_resolve(self) -> None:
        """`V`: close the discrepancy under the cursor with a note, after a typed confirmation."""
        record = self.current()
        if record is not None and record.get("status") != "resolved":
            self.board.confirm(ConfirmDialog(resolve_plan(record, self.board.say)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No changes with --readonly."""
        return (
            False if action == "resolve" and self.board.settings.readonly else super().check_action(action, parameters)
        )
