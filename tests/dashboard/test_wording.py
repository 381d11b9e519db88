"""One table holds every sentence, whole in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

from dashboard import states
from dashboard.findings import RULES, SEVERITIES
from dashboard.keys import CHANGING, KEYS
from dashboard.screens.callbacks_screen import CALLBACKS
from dashboard.screens.confirm_dialog import close_plan, refund_plan, resend_plan, resolve_plan
from dashboard.screens.health_screen import AUTH_COUNTERS, READINGS
from dashboard.screens.orders_screen import ORDERS
from dashboard.screens.reconcile_screen import DISCREPANCIES
from dashboard.screens.refunds_screen import REFUNDS
from dashboard.screens.webhooks_screen import DELIVERIES
from dashboard.widgets.nav_bar import SCREENS
from dashboard.wording import Wording
from dashboard.wording_table import TEXTS

PACKAGE = Path(states.__file__).parent
SOURCES = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path.name != "wording_table.py"}
_LITERAL = re.compile(r'(?:say|tell|_note|has)\(\s*(?:"\w+",\s*)?["\']([a-z]\w*)["\']')


def fields_of(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_every_sentence_exists_in_both_languages_with_the_same_fields() -> None:
    """No text is missing or lost a figure in translation."""
    assert len(TEXTS) > 300
    assert [key for key, (english, chinese) in TEXTS.items() if bool(english) != bool(chinese)] == []
    assert [key for key, (english, chinese) in TEXTS.items() if fields_of(english) != fields_of(chinese)] == []


def test_every_sentence_the_code_asks_for_is_in_the_table() -> None:
    """A literal key that is not in the table would fail on somebody's screen."""
    asked = {key for source in SOURCES.values() for key in _LITERAL.findall(source)}

    assert len(asked) > 60
    assert {key for key in asked if key not in TEXTS and key not in ("good", "wait", "bad")} == set()


def test_every_table_driven_key_is_in_the_table() -> None:
    """Columns, states, findings, keys, readings and screens all have their words."""
    wanted = [
        f"column_{c.key}" for spec in (ORDERS, REFUNDS, CALLBACKS, DELIVERIES, DISCREPANCIES) for c in spec.columns
    ]
    wanted += [
        f"state_{s}"
        for group in (
            states.ORDER_STATES,
            states.PAYMENT_STATES,
            states.REFUND_STATES,
            states.RESULTS,
            states.DELIVERY_STATES,
            states.DISCREPANCY_STATES,
        )
        for s in group
    ]
    wanted += [f"finding_{rule.id}" for rule in RULES] + [f"severity_{name}" for name in SEVERITIES]
    wanted += [f"key_{name}" for _, name, _ in KEYS] + [f"where_{where}" for _, _, where in KEYS]
    wanted += [f"{form}_{name}" for name in SCREENS for form in ("nav", "short")]
    wanted += [f"reading_{reading.key}" for reading in READINGS] + [f"reading_auth_{name}" for name in AUTH_COUNTERS]
    wanted += [f"source_{name}" for name in ("api", "notification", "query", "bill", "operator")]
    wanted += [f"empty_{spec.name}" for spec in (ORDERS, REFUNDS, CALLBACKS, DELIVERIES, DISCREPANCIES)]
    for plan in (refund_plan, close_plan, resend_plan, resolve_plan):
        made = plan({"id": "1", "out_trade_no": "x"}, Wording("en"))
        wanted += [made.title, *(label for label, _ in made.facts), *(field.label for field in made.fields)]

    assert [key for key in wanted if key not in TEXTS] == []
    assert {"refund", "close", "resend", "resolve"} == CHANGING


def test_no_sentence_is_left_over() -> None:
    """A text nobody says is a text nobody keeps right."""
    everything = "\n".join(SOURCES.values())
    built = (
        "column_",
        "state_",
        "finding_",
        "severity_",
        "key_",
        "where_",
        "nav_",
        "short_",
        "reading_",
        "source_",
        "tile_",
        "panel_",
        "latency_",
        "cause_",
        "link_",
        "kind_",
        "funnel_",
        "legend_",
        "empty_",
    )

    assert [key for key in TEXTS if not key.startswith(built) and not re.search(f"[\"']{key}[\"']", everything)] == []


def test_states_without_a_look_or_a_word_are_shown_with_a_question_mark() -> None:
    """Unknown words are shown as they came, never guessed."""
    assert states.state_text("SOMETHING\x1b", Wording("en")) == "? SOMETHING␛"
    assert states.state_text("PAID", Wording("zh")) == "✓ 已支付"
    assert states.look_of(["list"]).glyph == "?"


def test_every_state_differs_from_its_siblings_without_colour() -> None:
    """Glyph and word together tell states apart, in both languages."""
    for group in (states.ORDER_STATES, states.PAYMENT_STATES, states.REFUND_STATES, states.RESULTS):
        for lang in ("en", "zh"):
            assert len({states.state_text(state, Wording(lang)) for state in group}) == len(group)
