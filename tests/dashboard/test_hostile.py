"""Nothing the other side says can crash the dashboard or speak in the operator's terminal."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.listing import Listing
from dashboard.screens.callbacks_screen import CALLBACKS
from dashboard.screens.list_screen import Kit
from dashboard.screens.orders_screen import ORDERS
from dashboard.screens.reconcile_screen import DISCREPANCIES
from dashboard.screens.refunds_screen import REFUNDS
from dashboard.screens.webhooks_screen import DELIVERIES
from dashboard.themes import paint_of
from dashboard.wording import Wording

SEED = 20261123
PAYLOADS = 1000
EVIL = (
    "[/red]",
    "[bold]x",
    "[@click=app.quit]now[/]",
    "\x1b[2J\x1b[H",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066\u2069",
    "e" + "\u0301" * 60,
    "\x00\x07\x08",
    "红茶" * 60,
    "👩‍👩‍👧‍👦" * 20,
    "\ufeff",
    "\r\nHTTP/1.1 200",
    "=1+1",
    "A" * 5000,
    "\ud800",
    "{out_trade_no}",
    "%s%n",
    "\u2028",
    "🏴\U000e0067\U000e007f",
    "-" * 300,
    "",
    " ",
    "\t\t",
    "٣",
    "\\",
    "[",
    "]]",
    "$primary",
)
SPECS = (ORDERS, REFUNDS, CALLBACKS, DELIVERIES, DISCREPANCIES)
SCREEN_KEYS = "23456"


def hostile(chance: random.Random, depth: int = 0) -> Any:
    """A value nobody should ever send."""
    kind = chance.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return chance.choice((None, True, False, 0, -1, 10**30, -0.5, 1e308, 2**63))
    if kind in (1, 2, 3):
        return chance.choice(EVIL)
    if kind == 4:
        return "".join(
            chr(chance.choice((chance.randrange(0x20), chance.randrange(0x2000, 0x2070), chance.randrange(0x10FFFF))))
            for _ in range(8)
        )
    if kind == 5:
        return chance.choice(
            (
                "9999-12-31T23:59:59Z",
                "0001-01-01T00:00:00Z",
                "2026-11-23T13:00:00+99:99",
                "PAID",
                "PAYING",
                "weixin://" + "x" * 600,
            )
        )
    if kind == 6:
        return [hostile(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        chance.choice(("status", "amount", "total", "step", "at", "to", *EVIL[:6])): hostile(chance, depth + 1)
        for _ in range(chance.randrange(5))
    }


def members_of(spec: Any) -> list[str]:
    extra = [
        "status",
        "amount",
        "payments",
        "refunds",
        "steps",
        "attempts",
        "result",
        "metadata",
        "livemode",
        "stale",
        "code_url",
    ]
    return [column.key for column in spec.columns] + extra


def hostile_record(chance: random.Random, spec: Any, number: int) -> dict[str, Any]:
    record = {name: hostile(chance) for name in members_of(spec) if chance.random() < 0.9}
    record[spec.id_field] = chance.choice((f"id-{number}", chance.choice(EVIL) + str(number)))
    return record


def unsafe(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


async def test_a_thousand_hostile_payloads_neither_crash_nor_command(bench: Any, text_of: Callable[[Any], str]) -> None:
    """Seeded records, problems, events and metrics labels through every list, the details and the overview."""
    chance = random.Random(SEED)
    served = 0

    async with bench.running((110, 24)) as (app, pilot):
        for key, spec in (*zip(SCREEN_KEYS, SPECS, strict=True), *zip(SCREEN_KEYS, SPECS, strict=True)):
            bench.daemon.lists[spec.items] = [hostile_record(chance, spec, number) for number in range(100)]
            bench.daemon.events = [hostile(chance) for _ in range(10)]
            bench.daemon.answers["/pay/query"] = (200, hostile_record(chance, ORDERS, 1))
            bench.daemon.answers["/readyz"] = (
                200,
                {"status": hostile(chance), "checks": hostile(chance), "mode": hostile(chance)},
            )
            bench.daemon.answers["/pay/reconcile/summary"] = (200, hostile(chance))
            bench.daemon.answers["/pay/metrics/auth"] = (200, hostile(chance))
            served += 100
            await bench.press(app, pilot, key, "w" if served > 500 else "j")
            await pilot.press("s")
            shown = text_of(app)
            await bench.press(app, pilot, "enter")
            shown += text_of(app)
            assert unsafe(shown) == [], f"seed {SEED}"
            assert app._exception is None

    assert served == PAYLOADS


async def test_hostile_dialogs_alerts_and_problems(bench: Any, text_of: Callable[[Any], str]) -> None:
    """The same text in a confirmation, in a refusal, in an alert, and as a metric label."""
    for evil in EVIL[:12]:
        bench.daemon.lists["orders"] = [
            {"out_trade_no": evil + "1", "description": evil, "status": evil, "amount": {"total": 5}}
        ]
        bench.daemon.answers["/pay/query"] = (200, bench.daemon.lists["orders"][0])
        bench.daemon.answers["/pay/refunds"] = (418, bench.daemon.problem(418, evil, evil))
        bench.daemon.answers["/readyz"] = (503, {"status": "not_ready", "checks": {evil: evil}})

    async with bench.running((110, 30)) as (app, pilot):
        await bench.press(app, pilot, "2", "enter")
        await bench.press(app, pilot, "B")
        dialog = text_of(app)
        await bench.press(app, pilot, "escape", "3")
        problem = text_of(app)
        await bench.press(app, pilot, "8")
        alerts = text_of(app)

    assert unsafe(dialog) == unsafe(problem) == unsafe(alerts) == []


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=12),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
                max_leaves=6,
            ),
            max_size=6,
        ),
        max_size=5,
    )
)
@settings(max_examples=100, derandomize=True)
def test_every_column_draws_whatever_json_holds(records: list[dict[str, Any]]) -> None:
    """Any JSON object becomes a row of literal cells in any list."""
    kit = Kit(Wording("zh"), paint_of("payd-dark"), 0.0)
    for spec in SPECS:
        names = members_of(spec)
        listing = Listing(spec.id_field)
        listing.absorb(
            [
                {spec.id_field: str(at), **dict(zip(names, record.values(), strict=False))}
                for at, record in enumerate(records)
            ],
            None,
        )
        for record in listing.rows.values():
            cells = [column.make(record, kit) for column in spec.columns]
            assert [unsafe(cell.text) for cell in cells] == [[]] * len(cells)
            for column in spec.columns:
                column.value(record)
