"""Changes: only after a typed confirmation, under one Idempotency-Key, and never with --readonly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import Input

from dashboard.api_client import Action
from dashboard.screens.confirm_dialog import ConfirmDialog, refund_plan, refundable_fen
from dashboard.wording import Wording

Text = Callable[[Any], str]


async def open_order(bench: Any, app: Any, pilot: Any, number: str, key: str) -> ConfirmDialog:
    app.open_order(number)
    await pilot.pause()
    await bench.tick(app, pilot)
    await bench.press(app, pilot, key)
    assert isinstance(app.screen, ConfirmDialog)
    return app.screen


async def confirm(app: Any, pilot: Any, dialog: ConfirmDialog, phrase: str) -> None:
    dialog.query_one("#confirm", Input).value = phrase
    dialog.query_one("#confirm", Input).focus()
    await pilot.press("enter")
    await dialog.workers.wait_for_complete()
    await pilot.pause()


def posts(bench: Any) -> list[tuple[str, Any, str | None]]:
    return [
        (request.path, json.loads(request.body), request.headers.get("Idempotency-Key"))
        for request in bench.daemon.requests
        if request.method == "POST"
    ]


async def test_a_full_refund_after_typing_the_order_number(bench: Any) -> None:
    """The amount stands ready, the number confirms, one request goes out under the dialog's key."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        await confirm(app, pilot, dialog, "shop-000000")
        told = dialog.query_one("#result").shown.plain
        await pilot.press("enter")
        await pilot.pause()
        closed = app.screen is not dialog

    assert posts(bench) == [("/pay/refund", {"out_trade_no": "shop-000000", "amount": {"refund": 1000}}, "key-1")]
    assert "✓ accepted: REFUNDING" in told
    assert closed


async def test_a_part_is_refunded_with_a_reason_after_typing_the_amount(bench: Any) -> None:
    """Yuan become fen exactly; the amount confirms as well."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        dialog.query_one("#field-amount", Input).value = "3.3"
        dialog.query_one("#field-reason", Input).value = "冷了 [/red]"
        await confirm(app, pilot, dialog, "3.30")

    assert posts(bench) == [
        ("/pay/refund", {"out_trade_no": "shop-000000", "amount": {"refund": 330}, "reason": "冷了 [/red]"}, "key-1")
    ]


@pytest.mark.parametrize(("amount", "phrase", "told"), [
    ("10.00", "shop-00000", "nothing was sent"), ("10.00", "", "nothing was sent"), ("10.01", "10.01", "More than"),
    ("0", "0.00", "no amount"), ("ten", "shop-000000", "no amount"),
])  # fmt: skip
async def test_without_the_right_words_nothing_is_sent(bench: Any, amount: str, phrase: str, told: str) -> None:
    """A wrong confirmation or amount moves no money."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        dialog.query_one("#field-amount", Input).value = amount
        await confirm(app, pilot, dialog, phrase)
        result = dialog.query_one("#result").shown.plain

    assert told in result
    assert posts(bench) == []


async def test_escape_sends_nothing(bench: Any) -> None:
    """Leaving is always safe."""
    async with bench.running((100, 40)) as (app, pilot):
        await open_order(bench, app, pilot, "shop-000000", "B")
        await bench.press(app, pilot, "escape")

    assert posts(bench) == []


async def test_an_unknown_outcome_is_repeated_under_the_same_key_and_body(bench: Any) -> None:
    """202 is neither success nor failure: enter asks again, identically, and the fields are locked."""
    bench.daemon.answers["/pay/refund"] = (202, {"status": "REFUNDING", "outcome": "unknown"})

    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        await confirm(app, pilot, dialog, "10.00")
        told = dialog.query_one("#result").shown.plain
        locked = dialog.query_one("#field-amount", Input).disabled
        await confirm(app, pilot, dialog, "anything")

    first, second = posts(bench)
    assert first == second
    assert "outcome not known" in told
    assert locked


async def test_a_refusal_is_told_with_its_code_and_not_repeated(bench: Any) -> None:
    """The daemon's own words stand in the dialog; enter then leaves."""
    problem = bench.daemon.problem(409, "refund_exceeds_paid", "Only [/b] 5.00 are left.")
    bench.daemon.answers["/pay/refund"] = (409, problem)

    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        await confirm(app, pilot, dialog, "10.00")
        told = dialog.query_one("#result").shown.plain
        await confirm(app, pilot, dialog, "10.00")

    assert "refund_exceeds_paid" in told
    assert "Only [/b] 5.00 are left." in told
    assert len(posts(bench)) == 1


async def test_each_dialog_has_its_own_key(bench: Any) -> None:
    """A second refund of the same order is a second request, never a replay of the first."""
    async with bench.running((100, 40)) as (app, pilot):
        for _ in range(2):
            dialog = await open_order(bench, app, pilot, "shop-000000", "B")
            await confirm(app, pilot, dialog, "10.00")
            await bench.press(app, pilot, "escape")

    assert [key for _, _, key in posts(bench)] == ["key-1", "key-2"]


async def test_close_resend_and_resolve(bench: Any) -> None:
    """The other three changes, each under its confirmation."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000001", "X")
        await confirm(app, pilot, dialog, "shop-000001")
        await bench.press(app, pilot, "escape", "6")
        await bench.press(app, pilot, "j", "N")
        await confirm(app, pilot, app.screen, "d-1")
        await bench.press(app, pilot, "escape", "5")
        await bench.press(app, pilot, "V")
        resolve = app.screen
        await confirm(app, pilot, resolve, "shop-000003")
        without_note = list(posts(bench))
        resolve.query_one("#field-note", Input).value = "paid back by hand"
        await confirm(app, pilot, resolve, "shop-000003")
        await bench.press(app, pilot, "escape")
        left = len(app.front.shown)

    sent = posts(bench)
    assert sent[0] == ("/pay/close", {"out_trade_no": "shop-000001"}, "key-1")
    assert sent[1] == ("/pay/deliveries/d-1/resend", {}, "key-2")
    assert len(without_note) == 2
    assert sent[2] == ("/pay/discrepancies/disc-1/resolve", {"note": "paid back by hand"}, "key-3")
    assert left == 0


async def test_readonly_has_no_keys_that_change_anything(bench: Any, text_of: Text) -> None:
    """No hint, no dialog, no request; and the strip says so."""
    async with bench.running((140, 40), settings={"readonly": True}) as (app, pilot):
        app.open_order("shop-000000")
        await bench.tick(app, pilot)
        await bench.press(app, pilot, "B", "X")
        shown = text_of(app)
        await bench.press(app, pilot, "6", "N")
        await bench.press(app, pilot, "5", "V")
        outcome = await app.carry_out(Action("/pay/close", {}, "k"))
        stack = [type(screen).__name__ for screen in app.screen_stack]

    assert posts(bench) == []
    assert "READ-ONLY" in shown
    assert "B refund" not in shown
    assert "ConfirmDialog" not in stack
    assert not outcome.accepted


async def test_what_was_done_stands_in_the_log(bench: Any) -> None:
    """Path and result, for whoever takes over the shift."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000001", "X")
        await confirm(app, pilot, dialog, "shop-000001")
        log = [entry.text for entry in app.journal.entries]

    assert "Asked: POST /pay/close → 200" in log


def test_what_can_be_refunded_leaves_out_what_failed(make_order: Any) -> None:
    """Every refund that did not fail counts against the order; an unpaid order has nothing to give."""
    refunds = [{"amount": {"refund": 100}, "status": "REFUND_FAIL"}, {"amount": {"refund": 300}, "status": "REFUNDING"}]

    assert refundable_fen(make_order(0, refunds=refunds)) == 700
    assert refundable_fen(make_order(1)) == 0
    late = make_order(
        3, status="CLOSED", transaction_id="42", amount={"total": 1000, "payer_total": 900, "refunded": 0}
    )
    assert refundable_fen(late) == 900
    assert refund_plan({"out_trade_no": "x"}, Wording("en")).request({"amount": "1", "reason": ""}) == "amount_above"


async def test_the_cursor_begins_where_there_is_something_to_type(bench: Any) -> None:
    """At the amount of a refund; a close has nothing but its confirmation."""
    async with bench.running((100, 40)) as (app, pilot):
        refund = await open_order(bench, app, pilot, "shop-000000", "B")
        first = refund.focused.id
        await bench.press(app, pilot, "escape", "escape")
        close = await open_order(bench, app, pilot, "shop-000001", "X")

        assert (first, close.focused.id) == ("field-amount", "confirm")


async def test_what_was_wrong_with_the_last_try_is_not_said_of_the_next(bench: Any) -> None:
    """It goes with the first key of a correction."""
    async with bench.running((100, 40)) as (app, pilot):
        dialog = await open_order(bench, app, pilot, "shop-000000", "B")
        await confirm(app, pilot, dialog, "wrong")
        wrong = dialog.query_one("#result").shown.plain
        dialog.query_one("#field-amount", Input).value = "3.3"
        await pilot.pause()

        assert "nothing was sent" in wrong
        assert dialog.query_one("#result").shown.plain == ""
