"""Renders one frame without a terminal, for pictures and for cron."""

from __future__ import annotations

import re

from dashboard.app import DashboardApp
from dashboard.replay import ReplayPoller


async def render_svg(app: DashboardApp, *, size: tuple[int, int], screen: str = "overview") -> str:
    """The frame of `screen` after one poll (a replay: after its last frame), as SVG without outside fonts."""
    async with app.run_test(size=size) as pilot:
        app.action_show(screen)
        await pilot.pause()
        await app.poller.poll_once()
        while isinstance(app.poller, ReplayPoller) and not app.poller.finished:
            await pilot.pause()
            await app.poller.poll_once()
        await pilot.pause()
        return plain_svg(app.export_screenshot(title="payd"))


def plain_svg(svg: str) -> str:
    """The SVG with stable ids and without fonts fetched from elsewhere."""
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    return re.sub(r"terminal-\d+", "payd", svg)
