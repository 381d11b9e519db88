"""Screen 9: what this dashboard saw and did since it was started."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container

from dashboard.formatting import wall_time
from dashboard.screens.board_screen import BoardScreen
from dashboard.snapshots import Snapshot
from dashboard.widgets.line import Line
from dashboard.widgets.live_table import Heading, LiveTable

_GLYPHS = {"good": "✓", "bad": "✗", "wait": "▲"}


class LogScreen(BoardScreen):
    """See the module."""

    NAME = "log"
    AUTO_FOCUS = "#table"
    HINTS = (("j/k", "scroll"), ("g/G", "ends"), ("1-9", "screens"))
    BINDINGS = [
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
        Binding("g", "end(False)", show=False),
        Binding("G", "end(True)", show=False),
    ]

    def compose_body(self) -> ComposeResult:
        with Container(id="rows"):
            yield LiveTable(id="table")
            yield Line(id="empty")

    def show(self, snapshot: Snapshot) -> None:
        """Newest first."""
        board, table = self.board, self.query_one(LiveTable)
        say, paint = board.say, board.paint
        self.query_one("#rows").set_class(not board.journal.entries, "-empty")
        self.query_one("#empty", Line).show(paint.text((f" {say('empty_log')}", "dim")))
        table.set_headings(
            (
                Heading("at", say("column_at"), 8),
                Heading("event", say("column_event"), max(self.size.width - 16, 30)),
            )
        )
        table.show_rows(
            [
                (
                    str(entry.number),
                    (
                        paint.cell(wall_time(entry.at), "dim"),
                        paint.cell(f"{_GLYPHS.get(entry.role, '·')} {entry.text}", entry.role),
                    ),
                )
                for entry in reversed(board.journal.entries)
            ]
        )

    def action_move(self, rows: int) -> None:
        """`j` and `k`."""
        table = self.query_one(LiveTable)
        table.move_cursor(row=max(table.cursor_row + rows, 0))

    def action_end(self, bottom: bool) -> None:
        """`g` and `G`."""
        table = self.query_one(LiveTable)
        table.move_cursor(row=table.row_count - 1 if bottom else 0)
