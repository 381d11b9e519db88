"""What stands on the terminal, in six sizes and four themes, compared with what was agreed on.

Stored: the text of each screen and size, and one digest per size and theme of Textual's own SVG (ids made
stable). `PAYD_UPDATE_PICTURES=1 pytest tests/dashboard/test_pictures.py` writes them anew; look at the diff.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.headless import plain_svg
from dashboard.metrics import parse_metrics
from dashboard.settings import THEMES

STORE = Path(__file__).parent / "pictures"
UPDATE = os.environ.get("PAYD_UPDATE_PICTURES") == "1"
SIZES = ((50, 15), (60, 20), (80, 24), (100, 30), (120, 40), (250, 80))
SCREENS = {"overview": "1", "orders": "2", "callbacks": "4", "health": "7"}
STEPS = ((3, 100), (5, 300), (4, 700), (9, 900), (2, 1500))
Text = Callable[[Any], str]


async def lived(bench: Any, app: Any, pilot: Any) -> None:
    """Some minutes of a shop's day, always the same."""
    orders, paid = 12, 45_600
    bench.daemon.counters["payd_discrepancies_open"] = 1
    for _ in range(6):
        for more, fen in STEPS:
            orders, paid = orders + more, paid + fen
            bench.daemon.count(orders, paid_fen=paid)
            bench.daemon.counters["payd_discrepancies_open"] = 1
            bench.daemon.counters["payd_reconcile_last_success_timestamp_seconds"] = bench.clock
            bench.clock += 5
            app.history.add(parse_metrics(bench.daemon.metrics_text()), bench.clock)
    await bench.tick(app, pilot)


def compared(name: str, actual: str) -> None:
    path = STORE / name
    if UPDATE:
        STORE.mkdir(exist_ok=True)
        path.write_text(actual, "utf-8")
    assert path.read_text("utf-8") == actual


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_screens_look_as_agreed_in_every_size_and_theme(bench: Any, text_of: Text, size: tuple[int, int]) -> None:
    """The text of each screen is the stored one, in all themes; so is the digest of each theme's picture."""
    name = f"{size[0]}x{size[1]}"

    async with bench.running(size) as (app, pilot):
        await lived(bench, app, pilot)
        digests, texts = {}, {}
        for theme in THEMES:
            app.theme = theme
            await bench.tick(app, pilot)
            texts[theme] = text_of(app)
            digests[theme] = hashlib.sha256(plain_svg(app.export_screenshot()).encode()).hexdigest()[:16]
        app.theme = THEMES[0]
        screens = {"overview": texts[THEMES[0]]}
        for screen, key in list(SCREENS.items())[1 : None if size == (80, 24) else 2]:
            await bench.press(app, pilot, key)
            screens[screen] = text_of(app)

    assert texts["payd-dark"] == texts["payd-light"] == texts["payd-cb"]
    assert all(len(line) <= size[0] for text in screens.values() for line in text.splitlines())
    if size[0] <= 120:
        compared(f"{name}.txt", "\n".join(f"=== {screen} {name}\n{text}" for screen, text in screens.items()))
    compared(f"{name}.json", json.dumps(digests, indent=1) + "\n")


async def test_the_default_picture_is_stored_whole(bench: Any) -> None:
    """One SVG is kept as it is, so that a reader sees what the digests stand for."""
    async with bench.running((80, 24)) as (app, pilot):
        await lived(bench, app, pilot)
        svg = plain_svg(app.export_screenshot(title="payd"))

    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    compared("overview-80x24.svg", svg)


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_chinese_lines_up(bench: Any, text_of: Text, lang: str) -> None:
    """Wide characters keep every border in its column."""
    from rich.cells import cell_len

    async with bench.running((100, 30), settings={"lang": lang}) as (app, pilot):
        await lived(bench, app, pilot)
        lines = [line for line in text_of(app).splitlines() if line.startswith(("│", "┃", "╭", "╰", "┏", "┗"))]

    assert len(lines) > 10
    assert {100} == {cell_len(line) for line in lines}
