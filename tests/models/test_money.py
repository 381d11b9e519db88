"""Money texts of bills and screens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd.models.money import fen_from_yuan, yuan_from_fen


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_fen_written_as_yuan_reads_back_as_the_same_fen(fen):
    """No amount is changed by being shown."""
    assert fen == fen_from_yuan(yuan_from_fen(fen))


@pytest.mark.parametrize(("text", "fen"), [("12.30", 1230), ("0.0", 0), ("-0.01", -1), ("45.0", 4500), (" 1 ", 100)])
def test_the_forms_found_in_bills_are_read(text, fen):
    """Bills write amounts with one, two or more decimals."""
    assert fen == fen_from_yuan(text)


@pytest.mark.parametrize("text", ["", "abc", "0.001", "1,000.00", "NaN", "Infinity", "1e400000"])
def test_what_is_no_whole_number_of_fen_is_refused(text):
    """A fraction of a fen, or no number at all, is never rounded away."""
    with pytest.raises(ValueError, match="not a"):
        fen_from_yuan(text)
