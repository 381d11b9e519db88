"""Numbers that people copy stay whole while any other column can give way, and end in an ellipsis when they are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dashboard.screens.callbacks_screen import CALLBACKS
from dashboard.screens.list_screen import laid_out
from dashboard.screens.orders_screen import ORDERS
from dashboard.screens.reconcile_screen import DISCREPANCIES
from dashboard.screens.refunds_screen import REFUNDS
from dashboard.screens.webhooks_screen import DELIVERIES

Text = Callable[[Any], str]
SPECS = (ORDERS, REFUNDS, CALLBACKS, DISCREPANCIES, DELIVERIES)
SCREENS = {"2": "orders", "3": "refunds", "4": "notifications", "5": "discrepancies"}
FIELDS = ("out_trade_no", "out_refund_no")


def order_number(number: int) -> str:
    """As payd makes them: 31 characters."""
    return f"P20261124114853{number:016x}"


def refund_number(number: int) -> str:
    return f"R20261124114853{number:016x}"


def renumber(daemon: Any) -> None:
    """Give every record numbers as long as payd's own."""
    for items in daemon.lists.values():
        for number, item in enumerate(items):
            item |= {name: make(number) for name, make in zip(FIELDS, (order_number, refund_number), strict=True)
                     if item.get(name)}  # fmt: skip


@pytest.mark.parametrize("columns", [80, 100, 120, 126, 160])
async def test_numbers_people_copy_are_whole(bench: Any, text_of: Text, columns: int) -> None:
    """On every list, at every usual width; the second number of a refund from 120 columns on."""
    renumber(bench.daemon)
    for refund in bench.daemon.lists["refunds"]:
        refund["attention"] = None
    missing = []

    async with bench.running((columns, 40)) as (app, pilot):
        for key, name in SCREENS.items():
            await bench.press(app, pilot, key)
            shown = text_of(app)
            shown_fields = {"refunds": FIELDS[1:] if columns < 120 else FIELDS}.get(name, FIELDS[:1])
            missing += [(key, item[field]) for item in bench.daemon.lists[name][:6] for field in shown_fields
                        if item.get(field) and item[field] not in shown.split()]  # fmt: skip

    assert missing == []


async def test_a_number_that_cannot_be_whole_ends_in_an_ellipsis(bench: Any, text_of: Text) -> None:
    """A merchant's refund numbers may have 64 characters."""
    long = "merchant-refund-" + "0123456789" * 4 + "end-here"
    bench.daemon.lists["refunds"][0]["out_refund_no"] = long

    shown = {}
    async with bench.running((120, 30)) as (app, pilot):
        await bench.press(app, pilot, "3")
        for columns in (120, 80, 60):
            await pilot.resize_terminal(columns, 30)
            await bench.tick(app, pilot)
            shown[columns] = text_of(app)
        await bench.press(app, pilot, "c")
        copied = app.clipboard

    assert long in shown[120].split()
    assert "…" in shown[80]
    assert "merchant-re" in shown[80]
    assert "merchant" in shown[60]
    assert all(line.count("…") for text in (shown[80], shown[60]) for line in text.splitlines() if "merchant" in line)
    assert copied == long


async def test_a_refund_that_needs_a_person_keeps_its_mark(bench: Any, text_of: Text) -> None:
    """The column for it is there when some refund has one, and goes for no number."""
    renumber(bench.daemon)
    marks = []

    async with bench.running((120, 30)) as (app, pilot):
        for attention in ("abnormal", None):
            for refund in bench.daemon.lists["refunds"]:
                refund["attention"] = attention
            app.front.set_filter("") if attention is None else None
            await bench.press(app, pilot, "3")
            marks.append(("▲ abnormal" in text_of(app), refund_number(0) in text_of(app)))

    assert marks[0] == (True, True)
    assert marks[1] == (False, True)


async def test_the_cursor_stays_on_its_row_when_columns_change(bench: Any) -> None:
    """Another width, `w`, or a longer number than before: what one looks at does not move away."""
    async with bench.running((120, 30)) as (app, pilot):
        await bench.press(app, pilot, "3")
        await bench.press(app, pilot, "j", "j", "j")
        keys = [app.front.table.cursor_key]
        await bench.press(app, pilot, "w")
        keys.append(app.front.table.cursor_key)
        await bench.press(app, pilot, "w")
        await pilot.resize_terminal(80, 24)
        await bench.tick(app, pilot)
        keys.append(app.front.table.cursor_key)
        bench.daemon.lists["refunds"][5]["reason"] = "x"
        bench.daemon.lists["refunds"][5]["out_refund_no"] = "longer-" + "9" * 40
        await bench.tick(app, pilot)
        keys.append(app.front.table.cursor_key)

    assert keys == ["refund-3"] * 4


@given(
    spec=some.sampled_from(SPECS),
    available=some.integers(30, 250),
    longest=some.dictionaries(some.sampled_from([c.key for s in SPECS for c in s.columns]), some.integers(0, 90)),
)
def test_no_number_is_cut_while_another_column_could_give_way(
    spec: Any, available: int, longest: dict[str, int]
) -> None:
    """A cut number stands beside no column that yields, the first number beside no other, and all fits."""
    columns = [column for column in spec.columns if not column.wide]
    placed = laid_out(columns, longest, available)
    taken = sum(room + 2 for _, room in placed)
    firm = [column for column in columns if not column.number and not column.yields]
    numbers = [column for column in columns if column.number]
    cut = [column for column, room in placed if column.number and room < min(longest.get(column.key, 0), 64)]

    assert {column.key for column in (*firm, *numbers[:1])} <= {column.key for column, _ in placed}
    assert not cut or not any(column.yields for column, _ in placed)
    assert numbers[:1] != cut[:1] or not cut or [c for c, _ in placed if c.number] == numbers[:1]
    assert taken <= max(available, sum(column.width + 2 for column in firm) + 14 * len(numbers[:1]))
