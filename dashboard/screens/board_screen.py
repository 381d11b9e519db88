"""The frame every screen shares: status strip, navigation, banner, body, hints, and the too-small page.

A screen says what it wants polled (`wants`), draws a Snapshot (`show`), and is told each second that time
went by (`tick`), because ages grow while data stands still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from dashboard.formatting import yuan
from dashboard.messages import NavigationAsked
from dashboard.snapshots import Part, Snapshot, Want, is_stale
from dashboard.widgets.hint_bar import Hint, hint_line
from dashboard.widgets.line import Line
from dashboard.widgets.nav_bar import NavBar
from dashboard.widgets.status_strip import age_piece, banner_line, link_piece, mode_piece, panel_age, status_line

if TYPE_CHECKING:
    from dashboard.app import DashboardApp

SMALLEST_COLUMNS, SMALLEST_ROWS = 50, 15
COMMON_HINTS: tuple[Hint, ...] = (("r", "refresh"), ("space", "pause"), ("t", "theme"))
#: Whoever is lost looks for these two, however narrow the terminal is.
WAYS_OUT: tuple[Hint, ...] = (("?", "help"), ("q", "quit"))


class BoardScreen(Screen[None]):
    """See the module."""

    NAME = ""
    HINTS: tuple[Hint, ...] = ()
    ACTION_HINTS: tuple[Hint, ...] = ()
    """Keys that change something; absent with --readonly."""

    @property
    def board(self) -> DashboardApp:
        """The application, by its own type."""
        app: DashboardApp = self.app  # type: ignore[assignment]
        return app

    def compose(self) -> ComposeResult:
        yield Line(id="status")
        yield NavBar(id="nav")
        yield Line(id="banner")
        with Container(id="body"):
            yield from self.compose_body()
        yield Line(id="hints")
        yield Line(id="small")

    def compose_body(self) -> ComposeResult:
        """The widgets between navigation and hints."""
        yield from ()

    def wants(self) -> tuple[Want, ...]:
        """What the poller shall ask while this screen is in front."""
        return ()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the body from a snapshot."""

    def tick(self, now: float) -> None:
        """A second went by: draw what depends on the time alone."""

    def on_mount(self) -> None:
        """Draw what is already known."""
        self.draw()

    def on_screen_resume(self) -> None:
        """In front again: draw, and have the poller ask what this screen wants."""
        self.draw()
        self.board.poller.wake()

    def on_resize(self, event: events.Resize) -> None:
        """Choose between the screen and the too-small page."""
        small = event.size.width < SMALLEST_COLUMNS or event.size.height < SMALLEST_ROWS
        self.set_class(small, "-too-small")
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw frame and body from the newest snapshot."""
        if not self.is_mounted:
            return
        with self.board.batch_update():
            self.draw_frame()
            self.show(self.board.snapshot)
            self.tick(self.board.now())

    def draw_frame(self) -> None:
        """Draw the parts all screens share."""
        board, snapshot, now = self.board, self.board.snapshot, self.board.now()
        say, paint = board.say, board.paint
        self.query_one("#status", Line).show(
            status_line(
                snapshot, now=now, say=say, paint=paint, width=self.size.width,
                readonly=board.settings.readonly, paused=board.poller.paused, label=board.settings.label,
            )
        )  # fmt: skip
        self.query_one(NavBar).show_place(self.NAME, say, paint, alerts=len(board.alerts.unacknowledged))
        banner, words = self.query_one("#banner", Line), banner_line(snapshot, now=now, say=say, paint=paint)
        banner.display = words is not None
        if words is not None:
            banner.show(words)
        actions = () if board.settings.readonly else self.ACTION_HINTS
        hints = (*self.HINTS, *actions, *COMMON_HINTS)
        self.query_one("#hints", Line).show(hint_line(hints, WAYS_OUT, width=self.size.width, say=say, paint=paint))
        if self.has_class("-too-small"):
            self._draw_small(snapshot, now)

    def _draw_small(self, snapshot: Snapshot, now: float) -> None:
        board = self.board
        metrics = snapshot.metrics.data
        paid = yuan(metrics.value("payd_day_paid_amount_fen") if metrics else None)
        text = board.paint.text(
            mode_piece(snapshot, board.say), "\n", link_piece(snapshot, board.say), " ",
            age_piece(snapshot.metrics.at, now, snapshot.interval_seconds, board.say), "\n",
            (board.say("tile_paid"), "dim"), " ", (paid, "money"), "\n",
            (board.say("too_small", columns=SMALLEST_COLUMNS, rows=SMALLEST_ROWS), "wait"),
        )  # fmt: skip
        self.query_one("#small", Line).show(text)

    def age_words(self, part: Part) -> str:
        """The age of an answer as the lower border of its panel says it."""
        board = self.board
        interval = max(board.snapshot.interval_seconds, part.want.every_seconds)
        return panel_age(part.at, board.now(), interval, board.say)

    def is_stale(self, part: Part) -> bool:
        """Whether an answer is too old to be believed."""
        board = self.board
        return is_stale(part.at, board.now(), max(board.snapshot.interval_seconds, part.want.every_seconds))

    def on_navigation_asked(self, message: NavigationAsked) -> None:
        """The mouse chose a screen."""
        message.stop()
        self.board.action_show(message.screen)
