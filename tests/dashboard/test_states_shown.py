"""What the screens say when things go wrong: never a fresh-looking old number, never a zero nobody counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dashboard.screens.board_screen import SMALLEST_COLUMNS, SMALLEST_ROWS

Text = Callable[[Any], str]


async def test_a_killed_daemon_leaves_its_last_data_under_a_banner(bench: Any, text_of: Text) -> None:
    """Cause, age and next try are told; the money stays; old data says STALE; the return is seen."""
    bench.daemon.count(5, paid_fen=98765)

    async with bench.running((110, 30)) as (app, pilot):
        await bench.daemon.stop()
        await bench.tick(app, pilot, seconds=2)
        lost = text_of(app)
        await bench.tick(app, pilot, seconds=30)
        stale = text_of(app)
        bench.daemon.listen()
        await bench.tick(app, pilot, seconds=2)
        back = text_of(app)
        log = [entry.text for entry in app.journal.entries]

    assert "LINK LOST: connection refused" in lost
    assert "next try in 1 s" in lost
    assert "¥987.65" in lost
    assert "STALE" not in lost.replace("STALE 0", "")
    assert "STALE 32 s" in stale
    assert "¥987.65" in stale
    assert "LINK LOST" not in back
    assert any("Link lost: connection refused" in line for line in log)


async def test_time_alone_makes_numbers_stale(bench: Any, text_of: Text) -> None:
    """While a hung request is awaited the ages go on."""
    async with bench.running((110, 30)) as (app, pilot):
        bench.clock += 7
        app.tick()
        await pilot.pause()
        shown = text_of(app)

    assert "STALE 7 s" in shown


async def test_a_daemon_never_reached_shows_dashes_and_no_zero(bench: Any, text_of: Text) -> None:
    """Nothing known is shown as nothing known."""
    await bench.daemon.stop()

    async with bench.running((110, 30)) as (app, _):
        shown = text_of(app)
        tiles = [
            app.screen.query_one(f"#tile-{name} Line").shown.plain for name in ("paid", "refunded", "net", "count")
        ]

    assert tiles == ["—"] * 4
    assert "¥0.00" not in shown
    assert "LINK LOST" in shown


async def test_a_hung_daemon_is_named(bench: Any, text_of: Text) -> None:
    """A time-out is told as a time-out."""
    async with bench.running((110, 30), timeout=0.2) as (app, pilot):
        bench.daemon.hanging |= {"/metrics", "/readyz"}
        await bench.tick(app, pilot, seconds=2)
        shown = text_of(app)

    assert "LINK LOST: time-out" in shown


async def test_a_refused_key_is_a_banner_and_an_alert(bench: Any, text_of: Text) -> None:
    """401 is told on every screen that needs the key; lists say why they are empty."""
    async with bench.running((110, 30), key="wrong-key-wrong") as (app, pilot):
        await bench.press(app, pilot, "2")
        shown = text_of(app)

    assert "KEY: API key refused (401)" in shown
    assert "✗ API key refused (401)" in shown
    assert "8 Alerts(1)" in shown


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("lang", "banner", "alert"),
    [
        ("en", "✗ KEY: API key refused (401) · only money", "✗ CRITICAL  The API key was refused (401)"),
        ("zh", "✗ 密钥：API 密钥被拒绝 (401)", "✗ 严重  API 密钥被拒绝（401）"),
    ],
)
async def test_a_refused_key_is_told_on_the_first_screen_within_one_refresh(
    bench: Any, text_of: Text, size: tuple[int, int], lang: str, banner: str, alert: str
) -> None:
    """The overview needs no key, and yet says that the key is bad; the money stays."""
    bench.daemon.count(3, paid_fen=4200)
    options: dict[str, Any] = {"key": "wrong-key-wrong", "settings": {"lang": lang, "theme": "payd-mono"}}

    async with bench.running(size, **options) as (app, _):
        shown = text_of(app)
        name = app.front.NAME

    assert name == "overview"
    assert banner in shown
    assert alert in shown
    assert "/pay/orders" not in bench.daemon.paths()


async def test_a_missing_scope_is_told_on_the_first_screen_within_one_refresh(bench: Any, text_of: Text) -> None:
    """403: which scope it is; gone once the daemon grants it."""
    denied = (403, bench.daemon.problem(403, "scope_denied", "The API key 1234abcd lacks the scope refund_query."))
    bench.daemon.answers["/pay/refunds"] = denied

    async with bench.running((80, 24)) as (app, pilot):
        shown = text_of(app)
        del bench.daemon.answers["/pay/refunds"]
        await bench.tick(app, pilot, seconds=10)
        granted = text_of(app)

    assert "▲ KEY: it lacks the scope refund_query (403)" in shown
    assert "▲ warning  The API key lacks the scope refund_query" in shown
    assert "KEY" not in granted
    assert "nothing needs you" in granted


async def test_a_missing_key_is_told_on_the_first_screen_within_one_refresh(bench: Any, text_of: Text) -> None:
    """No alert, for one may want it so; but it is said what is not shown and what to do."""
    async with bench.running((80, 24), key=None) as (app, _):
        shown = text_of(app)

    assert "▲ no API key: only money and health are shown; start with --key-file" in shown
    assert "nothing needs you" in shown
    assert {"/metrics", "/readyz"} == set(bench.daemon.paths())


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_a_lost_line_says_what_is_known_in_plain_words(bench: Any, text_of: Text, lang: str) -> None:
    """Nothing was received yet, or how old the data is that was kept; the two are never mixed."""
    words = {"en": ("nothing received yet", "data is 32 s old, kept", "no data yet"),
             "zh": ("尚未收到任何数据", "保留 32 s 前的数据", "尚无数据")}[lang]  # fmt: skip
    await bench.daemon.stop()

    async with bench.running((120, 30), settings={"lang": lang}) as (app, pilot):
        never = text_of(app)
        bench.daemon.listen()
        await bench.tick(app, pilot)
        await bench.daemon.stop()
        await bench.tick(app, pilot, seconds=32)
        lost = text_of(app)

    assert (words[0] in never, words[1] in never, words[2] in never.splitlines()[0]) == (True, False, True)
    assert (words[0] in lost, words[1] in lost) == (False, True)
    assert "none yet" not in never.splitlines()[0] + never.splitlines()[2]


async def test_no_key_is_said_plainly(bench: Any, text_of: Text) -> None:
    """Money and health work without a key; the rest says what is missing."""
    async with bench.running((110, 30), key=None) as (app, pilot):
        money = text_of(app)
        await bench.press(app, pilot, "2")
        orders = text_of(app)

    assert "linked" in money
    assert "no API key" in orders


async def test_a_restart_is_marked_and_gives_no_negative_rate(bench: Any, text_of: Text) -> None:
    """Another process start time: the log and the attention list say restarted."""
    bench.daemon.count(500)

    async with bench.running((110, 30)) as (app, pilot):
        await bench.tick(app, pilot, seconds=6)
        bench.daemon.epoch += 1000
        bench.daemon.count(3)
        await bench.tick(app, pilot, seconds=6)
        shown = text_of(app)
        rates = [point.paid_per_minute for point in app.history.points]
        log = [entry.text for entry in app.journal.entries]

    assert "The daemon restarted" in shown
    assert any("restarted" in line for line in log)
    assert all(rate is None or rate >= 0 for rate in rates)


async def test_not_ready_is_told_with_its_checks(bench: Any, text_of: Text) -> None:
    """A draining or broken daemon says what is wrong."""
    bench.daemon.answers["/readyz"] = (
        503,
        {
            "status": "not_ready",
            "mode": "live",
            "version": "0.1.0",
            "checks": {"storage": "failed", "keys": "ok", "draining": "no"},
        },
    )

    async with bench.running((110, 30)) as (app, pilot):
        overview = text_of(app)
        await bench.press(app, pilot, "7")
        health = text_of(app)

    assert "not ready: storage=failed" in overview
    assert "storage: ✗ failed" in health


async def test_a_too_small_terminal_still_shows_link_and_money(bench: Any, text_of: Text) -> None:
    """Below 50 by 15 there is one page with what matters, and the size that is needed."""
    bench.daemon.count(1, paid_fen=4200)
    sizes = [(SMALLEST_COLUMNS - 1, 30), (80, SMALLEST_ROWS - 1), (30, 8), (20, 5)]

    async with bench.running(sizes[0]) as (app, pilot):
        small = []
        for size in sizes:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            small.append(text_of(app))
        await pilot.resize_terminal(80, 24)
        await bench.tick(app, pilot)
        large = text_of(app)

    for text in small:
        assert [word for word in ("linked", "¥42.00", "SANDBOX") if word not in text] == []
        assert "Needs attention" not in text
    assert "Needs attention" in large


async def test_no_colour_is_honoured(bench: Any, text_of: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the picture has greys only, and says the same."""
    monkeypatch.setenv("NO_COLOR", "1")

    async with bench.running((100, 30)) as (app, pilot):
        await bench.press(app, pilot, "2")
        shown, svg = text_of(app), app.export_screenshot()

    # c5c8c6 is the grey the exporter gives to text without any colour of its own.
    assert app.no_color
    assert "✗ FAILED" in shown
    colours = {match.lower() for match in re.findall(r"-r\d+ \{[^}]*fill: (#[0-9a-fA-F]{6})", svg)} - {"#c5c8c6"}
    assert colours
    assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in colours)


async def test_chinese_and_english_say_the_same_numbers(bench: Any, text_of: Text) -> None:
    """The language changes the words, never the figures."""
    bench.daemon.count(7, paid_fen=123456)

    async with bench.running((100, 30), settings={"lang": "zh"}) as (app, pilot):
        overview = text_of(app)
        await bench.press(app, pilot, "2")
        orders = text_of(app)

    for words in ("沙箱", "今日收款", "¥1,234.56", "需要处理"):
        assert words in overview
    assert "✓ 已支付" in orders
    assert "红茶 tea 0" not in orders


async def test_a_list_that_was_never_told_shows_no_zero(bench: Any, text_of: Text) -> None:
    """A refused list has a dash where the sum would stand, and says in the place of the rows why it is empty."""
    async with bench.running((110, 30), key="wrong-key-wrong") as (app, pilot):
        await bench.press(app, pilot, "2")
        shown = text_of(app)

    assert "✗ Cannot be shown: API key refused (401)" in shown
    assert "0 orders" not in shown
    assert "¥0.00" not in shown
