"""Money, times and text from outside, as a person reads them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.export import harmless, write_csv
from dashboard.formatting import DASH, clock_time, duration, fen_of, fit, literal, member, percent, size, yuan
from dashboard.masking import MASK, masked


@pytest.mark.parametrize(
    ("fen", "shown"),
    [
        (0, "¥0.00"),
        (1, "¥0.01"),
        (123456, "¥1,234.56"),
        (-50, "-¥0.50"),
        (100_000_000, "¥1,000,000.00"),
        (5.0, "¥0.05"),
    ],
)
def test_yuan_is_made_from_fen_by_whole_numbers(fen: object, shown: str) -> None:
    """Fen become yuan without ever passing through a fraction."""
    assert shown == yuan(fen)


@pytest.mark.parametrize("value", [None, "100", 1.5, True, float("nan"), float("inf"), []])
def test_what_is_no_amount_is_a_dash_and_never_zero(value: object) -> None:
    """A missing or wrong amount is shown as unknown."""
    assert yuan(value) == DASH


@pytest.mark.parametrize(
    ("typed", "fen"),
    [("12", 1200), ("12.3", 1230), ("12.34", 1234), (" ¥1,200.00 ", 120000), ("0.01", 1), ("0", 0)],
)
def test_typed_yuan_become_fen(typed: str, fen: int) -> None:
    """What a person types as yuan is understood exactly."""
    assert fen == fen_of(typed)


@pytest.mark.parametrize("typed", ["", "abc", "1.234", "-5", "1e3", "١٢", "1.2.3", ".", "9999999999"])
def test_what_is_no_yuan_is_refused(typed: str) -> None:
    """Anything else is no amount, rather than some amount."""
    assert fen_of(typed) is None


@given(st.integers(0, 10**10))
@settings(max_examples=200, derandomize=True)
def test_yuan_and_fen_of_are_inverse(fen: int) -> None:
    """Whatever is shown can be typed back."""
    assert fen_of(yuan(fen)) == fen


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """Escapes, bidi overrides and zero-width characters become visible marks."""
    shown = literal("a\x1b[31mred\u202egnp\u200b\x07\x9b\u2066\ufeff\ud800")

    assert shown == "a␛[31mred⟨202e⟩gnp⟨200b⟩␇⟨9b⟩⟨2066⟩⟨feff⟩⟨d800⟩"


def test_markup_and_chinese_stay_as_they_came() -> None:
    """Square brackets and CJK are text like any other."""
    assert literal("[/red] 红茶 [bold]") == "[/red] 红茶 [bold]"


def test_stacked_combining_marks_are_cut() -> None:
    """A tower of accents cannot leave its line."""
    assert literal("e" + "\u0301" * 50).count("\u0301") == 2


@given(st.text(max_size=80))
@settings(max_examples=300, derandomize=True)
def test_literal_text_has_no_character_a_terminal_obeys(text: str) -> None:
    """Whatever comes in, nothing invisible or commanding goes out."""
    assert not [c for c in literal(text) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(st.text(max_size=60), st.integers(1, 30))
@settings(max_examples=200, derandomize=True)
def test_fitted_text_never_exceeds_its_width(text: str, width: int) -> None:
    """Wide characters count two cells."""
    from rich.cells import cell_len

    assert cell_len(fit(literal(text), width)) <= width


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, DASH),
        (0.085, "85 ms"),
        (59, "59 s"),
        (125, "2 m 05 s"),
        (3_720, "1 h 02 m"),
        (90_000, "1 d 1 h"),
        (-5, "-5 s"),
    ],
)
def test_durations_use_their_two_largest_units(seconds: float | None, shown: str) -> None:
    """Lengths of time are short to read."""
    assert shown == duration(seconds)


def test_times_are_beijing_times() -> None:
    """A wire time is shown where the shop is."""
    assert clock_time("2026-11-23T13:05:09Z") == "11-23 21:05:09"
    assert clock_time("2026-11-23T13:05:09Z", long=True) == "2026-11-23 21:05:09 +08:00"
    assert clock_time(None) == DASH
    assert clock_time("not a time") == "not a time"


def test_small_helpers_know_nothing_rather_than_guess() -> None:
    """Unknown parts stay unknown."""
    assert DASH == percent(3, 0) == percent(None, 5) == size(None)
    assert percent(3, 5) == "60%"
    assert size(1536) == "1.5 KiB"
    assert member({"a": {"b": 1}}, "a", "b") == 1
    assert member({"a": [1]}, "a", "b") is None


def test_secrets_are_masked_at_fixed_width() -> None:
    """Names of secrets and texts shaped like them are masked, at any depth."""
    told = {
        "paySign": "x" * 300,
        "nested": [{"openid": "o1", "api_key": "k", "description": "tea"}],
        "url": "whsec_abc",
        "package": "prepay_id=wx1",
        "transaction_id": "42",
        "token": None,
    }

    shown = masked(told)

    assert shown == {
        "paySign": MASK,
        "nested": [{"openid": MASK, "api_key": MASK, "description": "tea"}],
        "url": MASK,
        "package": MASK,
        "transaction_id": "42",
        "token": None,
    }


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "＝1", "|calc"])
def test_no_csv_cell_begins_a_formula(text: str) -> None:
    """A description cannot run in the merchant's spreadsheet."""
    assert str(harmless(text)).startswith(("'", "␉"))


def test_csv_keeps_numbers_and_never_overwrites(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Two exports in one second are two files, for their owner only."""
    first = write_csv(tmp_path, "orders", ["a", "b"], [[-5, "红茶"], [None, "=x"]], now=0.0)
    second = write_csv(tmp_path, "orders", ["a"], [], now=0.0)

    assert first != second
    assert first.read_bytes().decode("utf-8") == "\ufeffa,b\r\n-5,红茶\r\n,'=x\r\n"
    assert first.stat().st_mode & 0o777 == 0o600
