"""A paged list stays one list: no row twice, none lost, none kept that left the filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.listing import Listing, arranged, parse_filter

FIELDS = {"status": "status", "type": "trade_type", "from": "created_from", "to": "created_to"}
STATES = ("CREATED", "PAYING", "PAID")


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "value": number} for number in numbers]


def test_new_rows_push_in_above() -> None:
    """What the first page shows anew stands on top, once."""
    listing = Listing("id")
    listing.absorb(rows(3, 2, 1), "1")

    changed = listing.absorb(rows(5, 4, 3), "3")

    assert changed
    assert list(listing.rows) == ["5", "4", "3", "2", "1"]
    assert listing.next_cursor == "1"


def test_an_unchanged_page_changes_nothing() -> None:
    """Equal records stay the very same objects, so nothing is drawn anew."""
    listing = Listing("id")
    listing.absorb(rows(3, 2, 1), None)
    before = listing.rows["2"]

    assert not listing.absorb(rows(3, 2, 1), None)
    assert listing.rows["2"] is before


def test_a_row_that_left_the_filter_goes() -> None:
    """A row between two others that is gone from the page is gone from the list."""
    listing = Listing("id")
    listing.absorb(rows(4, 3, 2), "2")
    listing.absorb(rows(1, 0), None, cursor="2")

    listing.absorb(rows(4, 2, 1), "1")

    assert list(listing.rows) == ["4", "2", "1", "0"]


def test_further_pages_are_appended_by_their_cursor() -> None:
    """Only the page below the last one lengthens the list."""
    listing = Listing("id")
    listing.absorb(rows(6, 5), "5")
    listing.absorb(rows(4, 3), "3", cursor="5")
    listing.absorb(rows(4, 3), "3", cursor="5")

    assert list(listing.rows) == ["6", "5", "4", "3"]
    assert listing.has_more
    assert listing.page_of("3") == "5"
    assert listing.page_of("6") is None


def test_a_page_full_of_strangers_begins_the_list_anew() -> None:
    """When so much happened that nothing known is left on top, a gap must not look like a list."""
    listing = Listing("id")
    listing.absorb(rows(3, 2, 1), "1")

    listing.absorb(rows(99, 98), "98")

    assert list(listing.rows) == ["99", "98"]
    assert listing.next_cursor == "98"


def test_records_without_an_id_are_left_out() -> None:
    """A wrong record cannot break the list."""
    listing = Listing("id")
    listing.absorb([{"id": None}, {}, "text", 5, {"id": ["x"]}, {"id": "1"}], None)

    assert list(listing.rows) == ["1"]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
@settings(max_examples=60, derandomize=True)
def test_polling_and_paging_in_any_order_gives_the_daemons_list(arrivals: list[int]) -> None:
    """However many rows arrive between polls (fewer than a page), the list ends up as the daemon's."""
    truth = list(range(20, 0, -1))
    listing = Listing("id")

    def page(cursor: str | None) -> None:
        start = 0 if cursor is None else truth.index(int(cursor)) + 1
        part = truth[start : start + 6]
        following = str(part[-1]) if start + 6 < len(truth) else None
        listing.absorb(rows(*part), following, cursor=cursor)

    page(None)
    for count in arrivals:
        if listing.has_more:
            page(listing.next_cursor)
        truth = [truth[0] + extra for extra in range(count, 0, -1)] + truth
        page(None)
    while listing.has_more:
        page(listing.next_cursor)

    assert [str(number) for number in truth] == list(listing.rows)


def test_the_filter_bar_speaks_fields_words_and_exclusions() -> None:
    """Fields go to the daemon in its own spelling; words are matched here."""
    wanted = parse_filter("status:paid from:2026-11-23 to:2026-11-23 Tea !cake", FIELDS, STATES)

    assert wanted.params == (
        ("created_from", "2026-11-22T16:00:00Z"),
        ("created_to", "2026-11-23T16:00:00Z"),
        ("status", "PAID"),
    )
    assert wanted.words == ("tea", "!cake")
    assert wanted.matches("green tea")
    assert not wanted.matches("tea and cake")


@pytest.mark.parametrize("token", ["colour:red", "status:", "from:yesterday", "to:2026-13-01"])
def test_what_the_filter_does_not_understand_is_a_complaint(token: str) -> None:
    """A typing error is named and never filters by accident."""
    wanted = parse_filter(token, FIELDS, STATES)

    assert ((token,), ()) == (wanted.complaints, wanted.params)


def test_sorting_puts_empty_values_last_and_survives_mixed_kinds() -> None:
    """Numbers, texts and missing values sort without a crash."""
    records = [{"v": None}, {"v": "b"}, {"v": 2}, {"v": 10**400}, {"v": 1}]

    def values(descending: bool) -> list[Any]:
        kept = arranged(records, keep=lambda record: True, sort_key=lambda record: record["v"], descending=descending)
        return [record["v"] for record in kept]

    assert values(False) == [1, 2, 10**400, "b", None]
    assert values(True) == ["b", 10**400, 2, 1, None]
