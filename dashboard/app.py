"""The application: keeps the newest snapshot and what follows from it, and moves between screens.

Data comes in as frozen Snapshots from the poller and goes to the screen in front; everything else here is
keys. What touches the network is in `api_client.py`, what decides is in `findings.py` and `history.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding
from textual.command import CommandPalette
from textual.screen import Screen

from dashboard.alerts import Alerts
from dashboard.api_client import Action, Outcome, Source
from dashboard.commands import PaydCommands
from dashboard.findings import View, evaluate
from dashboard.history import History
from dashboard.journal import Journal
from dashboard.messages import JumpAsked, SnapshotFetched, Target
from dashboard.poller import Poller
from dashboard.recording import Recorder
from dashboard.replay import ReplayPoller
from dashboard.screens.alerts_screen import AlertsScreen
from dashboard.screens.board_screen import BoardScreen
from dashboard.screens.callbacks_screen import CallbacksScreen
from dashboard.screens.confirm_dialog import ConfirmDialog
from dashboard.screens.health_screen import HealthScreen
from dashboard.screens.help_screen import HelpScreen
from dashboard.screens.list_screen import ListScreen
from dashboard.screens.log_screen import LogScreen
from dashboard.screens.open_dialog import OpenDialog
from dashboard.screens.order_screen import OrderScreen
from dashboard.screens.orders_screen import OrdersScreen
from dashboard.screens.overview_screen import OverviewScreen
from dashboard.screens.reconcile_screen import ReconcileScreen
from dashboard.screens.refunds_screen import RefundsScreen
from dashboard.screens.webhooks_screen import WebhooksScreen
from dashboard.settings import INTERVALS, THEMES, Settings
from dashboard.snapshots import KEY_CHECKS, Failure, Snapshot, Want
from dashboard.themes import THEMES as OWN_THEMES
from dashboard.themes import Paint, paint_of
from dashboard.widgets.attention import AttentionList, finding_words
from dashboard.widgets.nav_bar import SCREENS as NAMES
from dashboard.widgets.status_strip import failure_words
from dashboard.wording import Wording


class DashboardApp(App[None]):
    """See the module. `source` answers reads and actions; `frames`, when given, is a recording to play."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "payd"
    COMMANDS: ClassVar = {PaydCommands}
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (22, "-middling"), (36, "-tall")]
    SCREENS: ClassVar = {
        "overview": OverviewScreen,
        "orders": OrdersScreen,
        "refunds": RefundsScreen,
        "callbacks": CallbacksScreen,
        "reconcile": ReconcileScreen,
        "webhooks": WebhooksScreen,
        "health": HealthScreen,
        "alerts": AlertsScreen,
        "log": LogScreen,
    }
    BINDINGS: ClassVar = [
        *(Binding(str(at), f"show('{name}')", show=False) for at, name in enumerate(NAMES, 1)),
        Binding("question_mark,f1", "help", show=False),
        Binding("q", "quit", show=False),
        Binding("t", "next_theme", show=False),
        Binding("space", "pause", show=False),
        Binding("r", "refresh", show=False),
        Binding("R", "next_interval", show=False),
        Binding("m", "maximise", show=False),
        Binding("o", "open", show=False),
    ]

    def __init__(
        self,
        settings: Settings,
        source: Source,
        *,
        clock: Callable[[], float] = time.time,
        new_key: Callable[[], str] = secrets.token_urlsafe,
        replay: ReplayPoller | None = None,
        recorder: Recorder | None = None,
        export_folder: Path | None = None,
        polling: bool = True,
        warnings: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.settings = settings
        self.say = Wording(settings.lang)
        self.source = source
        self.history = History(step_seconds=max(5.0, settings.interval))
        self.alerts = Alerts()
        self.journal = Journal()
        self.export_folder = export_folder or Path.cwd()
        self.new_key = new_key
        self.snapshot = Snapshot(interval_seconds=settings.interval)
        self._clock = clock
        self._replay = replay
        self._recorder = recorder
        self._polling = polling
        self._warnings = warnings
        self.poller: Poller | ReplayPoller = replay or Poller(
            source, clock=clock, post=self.receive, wants=self._wants, interval_seconds=settings.interval,
            key_checks=KEY_CHECKS,
        )  # fmt: skip
        for theme in OWN_THEMES:
            self.register_theme(theme)
        self.theme = settings.theme

    # -- life

    def on_mount(self) -> None:
        """Show the overview and begin to ask."""
        for warning in self._warnings:
            self.journal.add(self.now(), "wait", warning)
        self.push_screen("overview")
        if self._polling:
            self.run_worker(self.poller.run(), name="poller", group="poller")
            self.set_interval(1.0, self.tick)

    def now(self) -> float:
        """Unix seconds; in a replay, those of the frame on screen."""
        return self._replay.now() if self._replay is not None else self._clock()

    @property
    def paint(self) -> Paint:
        """Text styles of the present theme."""
        return paint_of(self.theme)

    @property
    def front(self) -> BoardScreen | None:
        """The topmost screen of ours, under whatever dialog is open."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, BoardScreen)), None)

    def _wants(self) -> tuple[Want, ...]:
        front = self.front
        return front.wants() if front is not None and front.is_mounted else ()

    def receive(self, snapshot: Snapshot) -> None:
        """Called by the poller in its own task: hand over to the message loop."""
        self.post_message(SnapshotFetched(snapshot))

    def on_snapshot_fetched(self, message: SnapshotFetched) -> None:
        """Take in a snapshot: history, alerts, log, recording, and the screen in front."""
        before, self.snapshot = self.snapshot, message.snapshot
        now = self.snapshot.at
        metrics = self.snapshot.metrics
        fresh = metrics.data is not None and metrics.failure is None and metrics.at is not None
        if fresh and self.history.add(metrics.data, metrics.at):  # type: ignore[arg-type]
            self._note("wait", "log_restarted")
        self._note_link(before, self.snapshot)
        view = View(self.snapshot, metrics.data, self.history, now)
        began, ended = self.alerts.update(evaluate(view), now)
        for alert in began:
            self._note("bad", "log_alert", alert=finding_words(alert.finding, self.say))
        for alert in ended:
            self._note("good", "log_alert_over", alert=finding_words(alert.finding, self.say))
        if self._recorder is not None:
            self._recorder.write(self.snapshot)
        if self.front is not None:
            self.front.draw()

    def _note_link(self, before: Snapshot, after: Snapshot) -> None:
        if before.link.state != after.link.state:
            if after.link.state == "lost":
                self._note("bad", "log_lost", cause=failure_words(after.link.failure, self.say))
            else:
                self._note("good", "log_up")
                if before.link.state == "lost":
                    self.tell("log_up")
        refused, was = after.key_failure(), before.key_failure()
        if refused is not None and (was is None or was.cause != refused.cause):
            self._note("bad", "log_key", cause=failure_words(refused, self.say))

    def _note(self, role: str, key: str, **values: object) -> None:
        self.journal.add(self.snapshot.at or self.now(), role, self.say(key, **values))

    def tick(self) -> None:
        """A second went by."""
        front = self.front
        if front is not None and front.is_mounted:
            with self.batch_update():
                front.draw_frame()
                front.tick(self.now())

    def watch_theme(self, theme: str) -> None:
        """Another theme: text in tables has its colours baked in, so draw it anew."""
        for screen in self.screen_stack if self._running else ():
            for attention in screen.query(AttentionList):
                attention.forget()
        if self._running and self.front is not None:
            self.call_after_refresh(self.front.draw)

    # -- what screens ask of the application

    def tell(self, key: str, *, severity: str = "information", **values: object) -> None:
        """A toast, never read as markup."""
        self.notify(self.say(key, **values), severity=severity, markup=False)  # type: ignore[arg-type]

    def failure_words(self, failure: Failure) -> str:
        """A failure in a sentence."""
        return failure_words(failure, self.say)

    def copy(self, text: str) -> None:
        """To the clipboard, by the terminal's own escape (works over SSH where the terminal allows it)."""
        self.copy_to_clipboard(text)
        self.tell("copied", count=len(text))

    def open_order(self, out_trade_no: str) -> None:
        """Show one order on top of the present screen."""
        if isinstance(self.screen, OrderScreen):
            self.pop_screen()
        self.push_screen(OrderScreen(out_trade_no))

    def confirm(self, dialog: ConfirmDialog) -> None:
        """Open a dialog for a change. Nothing happens with --readonly."""
        if self.settings.readonly:
            return

        def done(accepted: bool | None) -> None:
            if accepted:
                self.poller.wake(forget=True)

        self.push_screen(dialog, done)

    async def carry_out(self, action: Action) -> Outcome:
        """Send a confirmed change and write down what came of it. Refuses with --readonly."""
        if self.settings.readonly:
            return Outcome(None, None, Failure("replay"))
        outcome = await self.source.act(action)
        result = str(outcome.status) if outcome.status else failure_words(outcome.failure, self.say)
        self._note("good" if outcome.accepted else "bad", "log_action", path=action.path, result=result)
        return outcome

    def jump(self, target: Target) -> None:
        """Go where a finding leads."""
        if target.out_trade_no:
            self.open_order(target.out_trade_no)
            return
        self.action_show(target.screen)
        screen = self.get_screen(target.screen)
        if isinstance(screen, ListScreen) and target.filter:
            words = target.filter.replace("faults:", "").strip()
            self.call_after_refresh(screen.set_filter, words, faults="faults:" in target.filter)

    def on_jump_asked(self, message: JumpAsked) -> None:
        """From the attention list or the alerts."""
        self.jump(message.target)

    # -- keys

    def action_show(self, name: str) -> None:
        """`1` to `9`: a screen; whatever lies on top of it is put away."""
        while len(self.screen_stack) > 2:
            self.pop_screen()
        wanted: Screen[object] = self.get_screen(name)
        if self.screen is not wanted:
            self.switch_screen(name)

    def action_help(self) -> None:
        """`?`."""
        self.push_screen(HelpScreen())

    def action_command_palette(self) -> None:
        """ctrl+p, with a placeholder in the language of the screen."""
        if not CommandPalette.is_open(self):
            self.push_screen(CommandPalette(placeholder=self.say("palette_placeholder"), id="--command-palette"))

    def action_next_theme(self) -> None:
        """`t`: the next of our themes."""
        at = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(at + 1) % len(THEMES)]
        self.tell("theme_is", theme=self.theme)

    def action_pause(self) -> None:
        """Space: stop asking, or go on."""
        self.poller.paused = not self.poller.paused
        self.poller.wake()
        self.tick()

    def action_refresh(self) -> None:
        """`r`: ask now, even while paused."""
        if self.poller.paused:
            self.run_worker(self.poller.poll_once(), group="refresh", exclusive=True)
        else:
            self.poller.wake(forget=True)

    def action_next_interval(self) -> None:
        """`R`: the next interval."""
        longer = [seconds for seconds in INTERVALS if seconds > self.poller.interval_seconds]
        self.set_interval_seconds(longer[0] if longer else INTERVALS[0])

    def set_interval_seconds(self, seconds: float) -> None:
        """Ask every so many seconds from now on."""
        self.poller.interval_seconds = seconds
        self.tell("interval_is", seconds=f"{seconds:g}")

    def action_maximise(self) -> None:
        """`m`: the focused panel alone, or all again."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None:
            self.screen.maximize(self.screen.focused)

    def action_open(self) -> None:
        """`o`: an order by its number."""

        def opened(number: str | None) -> None:
            if number:
                self.open_order(number)

        self.push_screen(OpenDialog(self.say("open_title"), self.say("open_placeholder")), opened)
