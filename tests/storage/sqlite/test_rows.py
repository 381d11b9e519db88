"""Records and rows: what goes in comes out, and the tables are those of the records."""

from __future__ import annotations

from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd.models.journal import stamp
from payd.models.states import ORDER_ARROWS, PAYMENT_TABLE, REFUND_TABLE, OrderState, PaymentState, RefundState
from payd.storage.memory import _KINDS
from payd.storage.sqlite.connection import open_reader
from payd.storage.sqlite.rows import APPENDED, VERSIONED, Mapper, microseconds, moment


@given(st.integers(0, 200 * 365 * 86_400), st.integers(0, 999_999))
def test_times_are_exact(seconds, fraction):
    """A time survives storage to the microsecond, and is counted as the journal's hash counts it."""
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction)

    assert microseconds(at) == stamp(at) == seconds * 1_000_000 + fraction
    assert moment(microseconds(at)) == at


def test_a_naive_time_is_refused():
    """A time without a zone would be somebody's guess."""
    with pytest.raises(TypeError):
        microseconds(datetime(2026, 11, 23))  # noqa: DTZ001


@pytest.mark.parametrize("table", [*VERSIONED, *APPENDED], ids=lambda table: table.name)
def test_tables_and_records_have_the_same_columns(sqlite_storage, db_path, table):
    """Each member of a record is a column of its table, in one spelling; only `sequence` is the table's own."""
    with closing(open_reader(db_path)) as connection:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}

    assert columns - {"sequence"} == {field.name for field in fields(table.record)}


@pytest.mark.parametrize("table", [*VERSIONED, *APPENDED], ids=lambda table: table.name)
def test_the_reference_keeps_the_same_keys_and_fixed_columns(table):
    """Memory and SQLite agree on what names a record and what is written once."""
    kind = _KINDS[table.record]

    assert (kind.table, kind.key, frozenset(kind.fixed.split())) == (table.name, table.key, table.fixed)


def arrows(table, states):
    return {f"{a.value} {b.value}" for a, row in table.items() for b in row.values() if isinstance(b, states)}


@pytest.mark.parametrize(
    ("subject", "states", "allowed"),
    [
        ("orders", OrderState, {f"{a.value} {b.value}" for a, b in ORDER_ARROWS}),
        ("payments", PaymentState, arrows(PAYMENT_TABLE, PaymentState)),
        ("refunds", RefundState, arrows(REFUND_TABLE, RefundState)),
    ],
)
def test_the_triggers_know_exactly_the_arrows_of_the_tables(sqlite_storage, db_path, subject, states, allowed):
    """The database refuses what the state tables do not draw, and nothing else."""
    with closing(open_reader(db_path)) as connection:
        ((text,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"{subject}_arrows",))

    drawn = {f"{a.value} {b.value}" for a in states for b in states if f"'{a.value} {b.value}'" in text}
    assert drawn == allowed


def test_every_record_can_be_mapped():
    """The codec of each column follows from its type hint."""
    for table in (*VERSIONED, *APPENDED):
        assert Mapper(table.record).columns == tuple(field.name for field in fields(table.record))
