"""Columns the lists share, so that an amount or a state looks the same everywhere."""

from __future__ import annotations

from typing import Any

from dashboard.formatting import clock_time, coarse_duration, instant, member, seconds_since, whole, words, yuan
from dashboard.listing import Record
from dashboard.screens.list_screen import Column, Kit
from dashboard.states import look_of, state_text
from dashboard.themes import Cell

_FLEX_CELLS = 160
"""More of a flexible text nobody sees in one line; the details show all of it."""


def time_column(key: str, *, wide: bool = False, from_columns: int = 0, yields: int = 0) -> Column:
    """A wire time in Beijing."""
    return Column(
        key,
        14,
        lambda record, kit: kit.paint.cell(clock_time(record.get(key)), "dim", width=14),
        lambda record: _moment(record.get(key)),
        from_columns=from_columns,
        wide=wide,
        yields=yields,
    )


def age_column(key: str, since: str, *, until: tuple[str, ...] = (), from_columns: int = 0, yields: int = 0) -> Column:
    """The time since `since`; a dash once the record's state is among `until`."""

    def make(record: Record, kit: Kit) -> Cell:
        over = record.get("status") in until
        age = None if over else seconds_since(record.get(since), kit.now)
        return kit.paint.cell(coarse_duration(age), "plain", width=10, right=True)

    return Column(
        key, 10, make, lambda record: _moment(record.get(since)), from_columns=from_columns, ticking=True, right=True,
        yields=yields,
    )  # fmt: skip


def text_column(
    key: str, width: int, *path: str, role: str = "plain", from_columns: int = 0, wide: bool = False,
    flex: bool = False, number: bool = False, yields: int = 0,
) -> Column:  # fmt: skip
    """A wire text, literal. A flexible one and a number are cut by the table, at whatever width it has."""
    steps = path or (key,)
    return Column(
        key,
        width,
        lambda record, kit: kit.paint.cell(
            words(_plain(member(record, *steps))), role, width=_FLEX_CELLS if flex or number else width
        ),
        lambda record: _plain(member(record, *steps)),
        from_columns=from_columns,
        wide=wide,
        flex=flex,
        number=number,
        yields=yields,
    )


def money_column(key: str, *path: str, from_columns: int = 0, wide: bool = False, yields: int = 0) -> Column:
    """An amount in fen as yuan, right-aligned."""
    return Column(
        key,
        13,
        lambda record, kit: kit.paint.cell(yuan(member(record, *path)), "plain", width=13, right=True),
        lambda record: whole(member(record, *path)),
        right=True,
        from_columns=from_columns,
        wide=wide,
        yields=yields,
    )


def state_column(key: str = "status", width: int = 16) -> Column:
    """Glyph and word of a state."""
    return Column(
        key,
        width,
        lambda record, kit: kit.paint.cell(
            state_text(record.get(key), kit.say), look_of(record.get(key)).role, width=width
        ),
        lambda record: _plain(record.get(key)),
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) or value is None else str(value)


def _moment(text: object) -> str | None:
    moment = instant(text)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None
