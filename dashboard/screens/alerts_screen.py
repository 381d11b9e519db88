"""Screen 8: the local rules that fire now, acknowledged or not, and what fired before in this session."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import DataTable

from dashboard.alerts import Alert
from dashboard.findings import CRITICAL, GLYPHS
from dashboard.formatting import data_age, wall_time
from dashboard.messages import JumpAsked
from dashboard.screens.board_screen import BoardScreen
from dashboard.snapshots import Snapshot
from dashboard.widgets.attention import finding_words
from dashboard.widgets.line import Line
from dashboard.widgets.live_table import Heading, LiveTable, Row


class AlertsScreen(BoardScreen):
    """See the module."""

    NAME = "alerts"
    AUTO_FOCUS = "#table"
    HINTS = (("enter", "jump"), ("a", "acknowledge"), ("j/k", "scroll"), ("1-9", "screens"))
    BINDINGS = [
        Binding("a", "acknowledge", show=False),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]

    def compose_body(self) -> ComposeResult:
        with Container(id="rows"):
            yield LiveTable(id="table")
            yield Line(id="empty")
        yield Line(id="totals")

    def show(self, snapshot: Snapshot) -> None:
        """Firing first, then the history."""
        board, table = self.board, self.query_one(LiveTable)
        columns = (
            ("since", 8),
            ("severity", 12),
            ("alert", max(self.size.width - 56, 24)),
            ("lasted", 12),
            ("handled", 12),
        )
        table.set_headings(tuple(Heading(key, board.say(f"column_{key}"), width) for key, width in columns))
        table.show_rows([self._row(alert) for alert in board.alerts.all])
        self.query_one("#rows").set_class(not board.alerts.all, "-empty")
        self.query_one("#empty", Line).show(board.paint.text((f" {board.say('empty_alerts')}", "dim")))
        firing = sum(alert.ended_at is None for alert in board.alerts.all)
        totals = board.say("alert_totals", firing=firing, past=len(board.alerts.all) - firing)
        self.query_one("#totals", Line).show(board.paint.text((f" {totals}", "dim")))

    def _row(self, alert: Alert) -> Row:
        board, finding = self.board, alert.finding
        say, paint = board.say, board.paint
        over = alert.ended_at is not None
        role = "dim" if over else ("bad" if finding.severity == CRITICAL else "wait")
        glyph = "✓" if over else GLYPHS[finding.severity]
        handled = say("alert_over") if over else say("alert_acknowledged") if alert.acknowledged else say("alert_new")
        end = alert.ended_at if alert.ended_at is not None else board.now()
        return (
            alert.key,
            (
                paint.cell(wall_time(alert.began_at), "dim"),
                paint.cell(f"{glyph} {say(f'severity_{finding.severity}')}", role, width=12),
                paint.cell(finding_words(finding, say), role),
                paint.cell(data_age(end - alert.began_at), "plain", width=12, right=True),
                paint.cell(handled, "dim" if over or alert.acknowledged else "title", width=12),
            ),
        )

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter: to its subject."""
        alert = self._current()
        if alert is not None:
            self.post_message(JumpAsked(alert.finding.target))

    def action_acknowledge(self) -> None:
        """`a`: seen; it no longer counts in the navigation bar."""
        alert = self._current()
        if alert is not None:
            self.board.alerts.acknowledge(alert.key)
            self.draw()

    def action_move(self, rows: int) -> None:
        """`j` and `k`."""
        table = self.query_one(LiveTable)
        table.move_cursor(row=max(table.cursor_row + rows, 0))

    def _current(self) -> Alert | None:
        key = self.query_one(LiveTable).cursor_key
        return next((alert for alert in self.board.alerts.all if alert.key == key), None)
