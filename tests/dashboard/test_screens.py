"""Every screen and every key, on a daemon that answers as the contract says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashboard.screens.help_screen import HelpScreen
from dashboard.screens.list_screen import ListScreen
from dashboard.screens.order_screen import OrderScreen
from dashboard.settings import THEMES
from dashboard.widgets.nav_bar import SCREENS

Text = Callable[[Any], str]


async def test_the_overview_tells_the_money_at_a_glance(bench: Any, text_of: Text) -> None:
    """Label, link, paid, refunded, net and count stand on the first screen."""
    bench.daemon.count(12, paid_fen=123456)

    async with bench.running((100, 30)) as (app, _):
        shown = text_of(app)

    for words in ("SANDBOX", "linked", "¥1,234.56", "¥123.45", "¥1,111.11", "Paid orders", "nothing needs you"):
        assert words in shown


async def test_live_money_does_not_look_like_sandbox_money(bench: Any, text_of: Text) -> None:
    """The label follows the daemon's own word."""
    bench.daemon.mode = "live"

    async with bench.running() as (app, _):
        shown = text_of(app)

    assert "LIVE · real money" in shown
    assert "SANDBOX" not in shown


PLACES = {
    "2": ("orders", "shop-000003"), "3": ("refunds", "refund-2"), "4": ("callbacks", "signature_invalid"),
    "5": ("reconcile", "late_payment"), "6": ("webhooks", "order.paid"), "7": ("health", "event loop lag"),
    "8": ("alerts", "0 firing"), "9": ("log", "Link to the daemon is up"), "1": ("overview", "Orders per minute"),
}  # fmt: skip


async def test_each_number_key_shows_its_screen(bench: Any, text_of: Text) -> None:
    """Screens are one key away, and show the daemon's words."""
    seen = {}

    async with bench.running() as (app, pilot):
        for key, (_, words) in PLACES.items():
            await bench.press(app, pilot, key)
            seen[key] = (app.front.NAME, words if words in text_of(app) else "")

    assert seen == PLACES
    assert [name for name, _ in sorted(PLACES.values())] == sorted(SCREENS)


async def test_only_what_is_on_screen_is_asked(bench: Any) -> None:
    """The overview reads metrics and readiness; a list is read while it is in front."""
    async with bench.running() as (app, pilot):
        bench.daemon.requests.clear()  # of the first tick, which also asks whether the key is good
        await bench.tick(app, pilot, seconds=2)
        assert {"/metrics", "/readyz"} == set(bench.daemon.paths())

        await bench.press(app, pilot, "2")
        assert "/pay/orders" in bench.daemon.paths()

        await bench.press(app, pilot, "1")
        bench.daemon.requests.clear()
        await bench.tick(app, pilot, seconds=2)
        assert {"/metrics", "/readyz"} == set(bench.daemon.paths())


async def test_a_state_change_touches_only_its_cells(bench: Any) -> None:
    """A row whose record stayed the same keeps its very cells."""
    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "2")
        table = app.front.table
        updates: list[tuple[Any, Any]] = []
        update_cell = table.update_cell
        table.update_cell = lambda row, column, value, **more: (
            updates.append((row, column)),
            update_cell(row, column, value),
        )
        order = bench.daemon.lists["orders"][1]
        bench.daemon.lists["orders"][1] = order | {"status": "CLOSED"}

        await bench.tick(app, pilot)

    assert {("shop-000001", "status"), ("shop-000001", "open_for")} == set(updates)


async def test_the_cursor_stays_on_its_row_while_new_ones_come_in(bench: Any, make_order: Any) -> None:
    """New orders push in above; what one looks at does not move away."""
    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "j", "j", "j")
        assert app.front.table.cursor_key == "shop-000003"

        bench.daemon.lists["orders"].insert(0, make_order(900))
        bench.daemon.lists["orders"].insert(0, make_order(901))
        await bench.tick(app, pilot)
        order = [record["out_trade_no"] for record in app.front.shown[:3]]
        cursor = app.front.table.cursor_key
        await bench.press(app, pilot, "g")
        bench.daemon.lists["orders"].insert(0, make_order(902))
        await bench.tick(app, pilot)
        followed = app.front.table.cursor_key

    assert order == ["shop-000901", "shop-000900", "shop-000000"]
    assert cursor == "shop-000003"
    assert followed == "shop-000902"


async def test_a_sort_survives_refresh_and_is_shown(bench: Any, text_of: Text, make_order: Any) -> None:
    """`s` chooses the column, `S` the direction; new rows find their place."""
    async with bench.running((100, 40)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "s", "s", "s", "S")
        bench.daemon.lists["orders"].insert(0, make_order(77))
        await bench.tick(app, pilot)
        shown, totals = text_of(app), [record["amount"]["total"] for record in app.front.shown]

    assert "amount▼" in shown
    assert sorted(totals, reverse=True) == totals
    assert len(totals) == 31


async def test_the_state_filter_asks_the_daemon(bench: Any, text_of: Text) -> None:
    """`f` chooses a state; only such rows are asked for and shown; escape shows all again."""
    async with bench.running((100, 40)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "f", "j", "j", "enter")
        asked = bench.daemon.requests[-1].query_arguments if bench.daemon.requests else {}
        states = {record["status"] for record in app.front.shown}
        shown = text_of(app)
        await bench.press(app, pilot, "escape")
        everything = len(app.front.shown)

    assert any(request.query_arguments.get("status") == [b"PAYING"] for request in bench.daemon.requests), asked
    assert {"PAYING"} == states
    assert "filter: status:PAYING" in shown
    assert everything == 30


async def test_the_filter_bar_matches_words(bench: Any, text_of: Text) -> None:
    """`/` opens it, enter applies, what is typed is not taken for keys."""
    async with bench.running((100, 40)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "slash", *"tea", "space", *"2q", "backspace", "enter")
        numbers = [record["out_trade_no"] for record in app.front.shown]
        focused = app.focused
        await bench.press(app, pilot, "slash", *"x:y", "enter")
        complaint = text_of(app)

    assert {f"shop-{n:06d}" for n in range(30) if "2" in str(n) or n % 5 in (0, 2)} == set(numbers)
    assert focused.id == "table"
    assert "not understood" in complaint


async def test_faults_only_shows_what_went_wrong(bench: Any) -> None:
    """`F` leaves failed orders; again, all."""
    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "F")
        faulty = {record["status"] for record in app.front.shown}
        await bench.press(app, pilot, "F")
        assert len(app.front.shown) == 30

    assert {"FAILED"} == faulty


async def test_the_list_is_endless(bench: Any, make_order: Any) -> None:
    """Pages are fetched as the end comes near, each order once, to the very last."""
    bench.daemon.lists["orders"] = [make_order(number) for number in range(450)]

    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "2")
        screen = app.front
        for _ in range(12):
            await pilot.press("G")
            await screen.workers.wait_for_complete()
            await pilot.pause()
        numbers = [record["out_trade_no"] for record in screen.shown]

    assert [f"shop-{number:06d}" for number in range(450)] == numbers


async def test_wide_columns_and_copying(bench: Any, text_of: Text) -> None:
    """`w` shows every column, `c` and `y` hand text to the clipboard, secrets masked."""
    bench.daemon.lists["orders"][0]["openid"] = "o-secret"

    async with bench.running((100, 30)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "w")
        columns = [str(column.label) for column in app.front.table.columns.values()]
        await bench.press(app, pilot, "c")
        number = app.clipboard
        await bench.press(app, pilot, "y")
        record = app.clipboard

    assert "transaction_id" in columns
    assert "attach" in columns
    assert number == "shop-000000"
    assert '"out_trade_no": "shop-000000"' in record
    assert "o-secret" not in record


async def test_export_writes_what_is_shown_and_no_formula(bench: Any, tmp_path: Path) -> None:
    """`e` writes the shown rows as CSV."""
    bench.daemon.lists["orders"][0]["description"] = "=cmd|' /C calc'!A0"

    async with bench.running(export_folder=tmp_path) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "e")

    (path,) = tmp_path.iterdir()
    text = path.read_text("utf-8-sig")
    assert len(text.splitlines()) == 31
    assert "'=cmd" in text
    assert ",1000," in text


async def test_an_export_that_cannot_be_written_is_told(bench: Any, tmp_path: Path) -> None:
    """A full or missing folder is a message, not a crash."""
    async with bench.running(export_folder=tmp_path / "missing") as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "e")

        assert any("Export failed" in str(toast.message) for toast in app._notifications)


async def test_enter_opens_the_order_with_its_whole_story(bench: Any, text_of: Text) -> None:
    """Who said what, request ids, payments, the payment code, and JSON with secrets masked."""
    bench.daemon.lists["orders"][1]["prepay_id"] = "wx-secret"

    async with bench.running((100, 75)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "j", "enter")
        shown = text_of(app)
        assert isinstance(app.screen, OrderScreen)
        await bench.press(app, pilot, "escape")
        back = app.front.NAME

    for words in (
        "shop-000001",
        "◐ PAYING",
        "API  order CREATED → ◐ PAYING  req-1",
        "payment ◐ PROCESSING",
        "█▀",
        "weixin://",
    ):
        assert words in shown
    assert "wx-secret" not in shown
    assert back == "orders"


async def test_the_payment_code_is_exactly_the_url(bench: Any) -> None:
    """What is drawn in half blocks is the code's matrix, module by module."""
    import segno

    from dashboard.widgets.qr import qr_lines

    url = "weixin://wxpay/bizpayurl?pr=abc123"
    drawn: list[list[int]] = []
    for line in qr_lines(url):
        drawn.append([1 if glyph in " ▄" else 0 for glyph in line])
        drawn.append([1 if glyph in " ▀" else 0 for glyph in line])

    matrix = [list(row) for row in segno.make(url, error="l", micro=False).matrix_iter(border=2)]
    assert matrix == drawn[: len(matrix)]


async def test_a_final_order_shows_no_payment_code(bench: Any, text_of: Text) -> None:
    """Nobody is invited to pay twice."""
    async with bench.running((100, 60)) as (app, pilot):
        await bench.press(app, pilot, "2")
        await bench.press(app, pilot, "enter")
        shown = text_of(app)

    assert "✓ PAID" in shown
    assert "Pay with WeChat" not in shown


async def test_o_opens_an_order_by_its_number(bench: Any, text_of: Text) -> None:
    """From any screen; a number nobody knows is told as such."""
    async with bench.running((100, 40)) as (app, pilot):
        await bench.press(app, pilot, "o", *"shop-000004", "enter")
        known = text_of(app)
        await bench.press(app, pilot, "o", *"nothing", "enter")
        unknown = text_of(app)
        depth = len(app.screen_stack)

    assert "✗ FAILED" in known
    assert "not found (404)" in unknown
    assert depth == 3


async def test_space_pauses_and_r_asks_once(bench: Any, text_of: Text) -> None:
    """Paused is shown; `r` still asks."""
    async with bench.running((120, 30)) as (app, pilot):
        await pilot.press("space")
        await pilot.pause()
        assert app.poller.paused
        assert "PAUSED" in text_of(app)
        bench.daemon.requests.clear()
        await pilot.press("r")
        await app.workers.wait_for_complete()
        asked = bench.daemon.paths()
        await pilot.press("space")
        await pilot.pause()
        assert not app.poller.paused

    assert {"/metrics", "/readyz"} == set(asked)


async def test_r_wakes_the_polling_loop(bench: Any) -> None:
    """While the loop rests, `r` makes it ask now."""
    async with bench.running() as (app, pilot):
        app.poller.interval_seconds = 3600.0
        loop = asyncio.ensure_future(app.poller.run())
        while len(bench.daemon.paths()) < 4:
            await pilot.pause()
        await pilot.press("r")
        while len(bench.daemon.paths()) < 6:
            await pilot.pause()
        loop.cancel()

    assert bench.daemon.paths().count("/metrics") == 3


async def test_the_interval_changes_live(bench: Any, text_of: Text) -> None:
    """`R` goes through 1, 2, 5, 10, 30 s."""
    async with bench.running((120, 30)) as (app, pilot):
        await bench.press(app, pilot, "R")
        assert "every 5 s" in text_of(app)
        await bench.press(app, pilot, "R", "R", "R")

        assert app.poller.interval_seconds == 1.0


async def test_t_goes_through_the_themes(bench: Any) -> None:
    """Four themes, and back to the first."""
    async with bench.running() as (app, pilot):
        seen = []
        for _ in THEMES:
            await pilot.press("t")
            seen.append(app.theme)

    assert [*THEMES[1:], THEMES[0]] == seen


async def test_m_maximises_the_focused_panel(bench: Any) -> None:
    """And again brings the others back."""
    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "tab", "m")
        alone = app.screen.maximized
        await bench.press(app, pilot, "m")
        assert app.screen.maximized is None

    assert alone is not None


async def test_help_lists_every_key_in_both_languages(bench: Any) -> None:
    """`?` and F1 show the keys; escape leaves."""
    for lang, words in (("en", "copy JSON"), ("zh", "复制 JSON")):
        async with bench.running((100, 60), settings={"lang": lang}) as (app, pilot):
            await pilot.press("question_mark" if lang == "en" else "f1")
            await pilot.pause()
            shown = app.screen.query_one("#help-text").shown.plain
            assert isinstance(app.screen, HelpScreen)
            await pilot.press("escape")
            assert app.front is app.screen
        assert words in shown


async def test_the_command_palette_speaks_the_screens_language(bench: Any, text_of: Text) -> None:
    """ctrl+p offers screens and themes; choosing one goes there."""
    async with bench.running(settings={"lang": "zh"}) as (app, pilot):
        await bench.press(app, pilot, "ctrl+p")
        shown = text_of(app)
        await pilot.press(*"订单")
        await pilot.pause()
        await app.workers.wait_for_complete()
        await bench.press(app, pilot, "enter")
        if app.screen is not app.front:
            await bench.press(app, pilot, "enter")
        name = app.front.NAME

    assert "前往总览" in shown
    assert name == "orders"


async def test_attention_leads_to_its_subject(bench: Any) -> None:
    """Enter on an entry goes to the screen, with the filter that shows it."""
    bench.daemon.counters['payd_oldest_open_timestamp_seconds{subject="payment"}'] = bench.clock - 5 * 3600

    async with bench.running() as (app, pilot):
        await bench.press(app, pilot, "enter")
        front = app.front
        assert isinstance(front, ListScreen)
        assert front.filter_text == "status:PAYING"
        await bench.tick(app, pilot)

    assert {"PAYING"} == {record["status"] for record in front.shown}


async def test_alerts_are_acknowledged_for_the_session(bench: Any, text_of: Text) -> None:
    """`a` takes an alert out of the count in the navigation bar, not out of the list."""
    bench.daemon.counters["payd_discrepancies_open"] = 2

    async with bench.running((110, 30)) as (app, pilot):
        await bench.press(app, pilot, "8")
        assert "8 Alerts(1)" in text_of(app)
        await bench.press(app, pilot, "a")
        shown = text_of(app)
        await bench.press(app, pilot, "enter")
        name = app.front.NAME

    assert "8 Alerts " in shown
    assert "acknowledged" in shown
    assert name == "reconcile"


async def test_callbacks_show_their_steps(bench: Any, text_of: Text) -> None:
    """The verdict of each check stands beside the list, for the row under the cursor."""
    async with bench.running((130, 30)) as (app, pilot):
        await bench.press(app, pilot, "4")
        await bench.press(app, pilot, "j", "j")
        shown = text_of(app)

    assert "2 signature: ✗ failed" in shown


async def test_health_judges_in_words(bench: Any, text_of: Text) -> None:
    """A bad reading says so; an unknown one is a dash, never zero."""
    bench.daemon.counters["payd_loop_lag_seconds"] = 3
    del bench.daemon.counters["payd_storage_queue_depth"]

    async with bench.running((100, 40)) as (app, pilot):
        await bench.press(app, pilot, "7")
        lines = text_of(app).splitlines()

    assert any("event loop lag" in line and "✗ BAD" in line for line in lines)
    assert any("writes waiting" in line and "—" in line and " 0 " not in line for line in lines)


async def test_the_mouse_may_be_used(bench: Any) -> None:
    """A click on a name goes there, a click on a heading sorts."""
    async with bench.running((100, 30)) as (app, pilot):
        await pilot.click("#nav", offset=(14, 0))
        await bench.tick(app, pilot)
        assert app.front.NAME == "orders"
        await pilot.click("#table", offset=(20, 0))
        await pilot.pause()

        assert app.front.sort_column == "out_trade_no"


async def test_q_quits(bench: Any) -> None:
    """With exit code 0."""
    async with bench.running() as (app, pilot):
        await pilot.press("q")
        await pilot.pause()

    assert app.return_code == 0
