"""What the command palette (ctrl+p) offers: every key, every screen, theme and interval, in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider

from dashboard.settings import INTERVALS, THEMES
from dashboard.widgets.nav_bar import SCREENS

if TYPE_CHECKING:
    from dashboard.app import DashboardApp

Command = tuple[str, Callable[[], object]]


class PaydCommands(Provider):
    """Replaces Textual's own list, whose words exist in one language only."""

    def _commands(self) -> list[Command]:
        app: DashboardApp = self.app  # type: ignore[assignment]
        say = app.say
        found: list[Command] = [
            (say("palette_screen", screen=say(f"nav_{name}")), partial(app.action_show, name)) for name in SCREENS
        ]
        found += [
            (say("key_open"), app.action_open),
            (say("key_refresh"), app.action_refresh),
            (say("key_pause"), app.action_pause),
            (say("key_maximise"), app.action_maximise),
            (say("key_help"), app.action_help),
        ]
        found += [(say("palette_theme", theme=name), partial(setattr, app, "theme", name)) for name in THEMES]
        found += [
            (say("palette_interval", seconds=f"{seconds:g}"), partial(app.set_interval_seconds, seconds))
            for seconds in INTERVALS
        ]
        found += [(say("palette_themes_all"), app.action_change_theme), (say("key_quit"), app.exit)]
        return found

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        for words, run in self._commands():
            yield DiscoveryHit(words, run)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for words, run in self._commands():
            score = matcher.match(words)
            if score > 0:
                yield Hit(score, matcher.highlight(words), run)
