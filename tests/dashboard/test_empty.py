"""An empty list says so in one line, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Text = Callable[[Any], str]
NOTHING = {
    "en": {"2": "No orders yet", "3": "No refunds yet", "4": "No callbacks yet", "5": "No open discrepancies",
           "6": "No webhooks yet", "8": "No alerts in this session"},
    "zh": {"2": "尚无订单", "3": "尚无退款", "4": "尚无回调", "5": "没有未处理的差异",
           "6": "尚无推送", "8": "本次会话没有告警"},
}  # fmt: skip
SIZES = [(50, 15), (80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_an_empty_list_says_that_there_is_nothing_yet(
    bench: Any, text_of: Text, lang: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of the first row, on every list screen; without colours too. Rows that come take its place."""
    monkeypatch.setenv("NO_COLOR", "1")
    kept = {name: list(items) for name, items in bench.daemon.lists.items()}
    for items in bench.daemon.lists.values():
        items.clear()
    rows = {}

    async with bench.running(size, settings={"lang": lang}) as (app, pilot):
        for key in NOTHING[lang]:
            await bench.press(app, pilot, key)
            rows[key] = [line.strip() for line in text_of(app).splitlines()]
        bench.daemon.lists |= kept
        await bench.press(app, pilot, "2")
        full = text_of(app)

    assert [key for key, words in NOTHING[lang].items() if sum(line.startswith(words) for line in rows[key]) != 1] == []
    assert "shop-000000" in full
    assert NOTHING[lang]["2"] not in full


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("lang", "words"), [("en", " ? help  q quit"), ("zh", " ? 帮助  q 退出")])
async def test_the_ways_out_are_on_every_screen(
    bench: Any, text_of: Text, lang: str, words: str, size: tuple[int, int]
) -> None:
    """Other keys give way on a narrow terminal; help and the way out do not."""
    last = {}

    async with bench.running(size, settings={"lang": lang}) as (app, pilot):
        for key in "123456789":
            await bench.press(app, pilot, key)
            last[key] = text_of(app).rstrip().splitlines()[-1]

    assert [key for key, line in last.items() if not line.rstrip().endswith(words)] == []


@pytest.mark.parametrize(("lang", "words"), [("en", "Nothing matches the filter"), ("zh", "没有符合筛选条件的记录")])
async def test_a_filter_that_nothing_matches_is_told_as_such(bench: Any, text_of: Text, lang: str, words: str) -> None:
    """Words, a state, or faults only: it is the filter that hides the rows; escape shows them again."""
    bench.daemon.lists["deliveries"] = [item for item in bench.daemon.lists["deliveries"] if item["id"] == "d-0"]
    shown = []

    async with bench.running((80, 24), settings={"lang": lang}) as (app, pilot):
        for key, text, faults in (("2", "nobody-has-this", False), ("3", "status:REFUND_INIT", False), ("6", "", True)):
            await bench.press(app, pilot, key)
            app.front.set_filter(text, faults=faults)
            await bench.tick(app, pilot)
            shown.append(text_of(app))
            await bench.press(app, pilot, "escape")
            assert app.front.empty_words() is None

    assert [words in text for text in shown] == [True] * 3
    assert "nobody-has-this" in shown[0]
    assert NOTHING[lang]["2"] not in shown[0]


async def test_a_list_not_heard_of_yet_is_not_called_empty(bench: Any, text_of: Text) -> None:
    """Before the first answer nothing is known, and what is not understood is no empty list."""
    bench.daemon.answers["/pay/refunds"] = (200, {"refunds": "what?"})

    async with bench.running((80, 24)) as (app, pilot):
        await pilot.press("2")
        await pilot.pause()
        asking = text_of(app)
        await bench.press(app, pilot, "3")
        strange = text_of(app)

    assert "asking …" in asking
    assert "answer not understood" in strange
    assert "yet" not in asking.splitlines()[3]
    assert "No refunds yet" not in strange


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_the_callbacks_line_says_what_is_counted(bench: Any, text_of: Text, size: tuple[int, int]) -> None:
    """Rows are of all runs, the daemon's counters of this one: each is named as what it is."""
    bench.daemon.count(4)
    lines = []

    async with bench.running(size) as (app, pilot):
        await bench.press(app, pilot, "4")
        lines.append(text_of(app).splitlines()[-2])
        bench.daemon.epoch += 100
        bench.daemon.count(0)
        await bench.tick(app, pilot, seconds=2)
        lines.append(text_of(app).splitlines()[-2])
        del bench.daemon.counters['payd_notifications_total{result="applied"}']
        del bench.daemon.counters['payd_notifications_total{result="signature_invalid"}']
        await bench.tick(app, pilot, seconds=2)
        lines.append(text_of(app).splitlines()[-2])

    assert lines == [
        " 9 shown · ≤ 2 s ago · since the daemon started: ✓ applied 4",
        " 9 shown · ≤ 2 s ago · no callbacks since the daemon started",
        " 9 shown · ≤ 2 s ago",
    ]
