"""A cursor-paged list of the daemon, kept as one endless list: pages are spliced in, never appended blindly.

Pure. The first page is asked again at each tick; new rows push in above, rows that left the filter go, and
when so much happened that nothing known is on the first page any more, the list begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dashboard.formatting import BEIJING, UTC

ROWS_KEPT = 20_000
"""Rows one list holds at most; whoever looks for older ones filters by date."""
PAGE_LIMIT = 100

Record = dict[str, Any]


class Listing:
    """The rows known so far of one filtered list, newest first."""

    def __init__(self, id_field: str) -> None:
        self._id_field = id_field
        self.rows: dict[str, Record] = {}
        self._pages: list[tuple[str | None, str | None]] = []
        self.next_cursor: str | None = None
        self.started = False

    def clear(self) -> None:
        """Forget everything, because another filter is asked now."""
        self.rows = {}
        self._pages = []
        self.next_cursor = None
        self.started = False

    @property
    def has_more(self) -> bool:
        """Whether the daemon has rows below the last known one."""
        return self.next_cursor is not None and len(self.rows) < ROWS_KEPT

    def absorb(self, items: Iterable[Any], next_cursor: object, *, cursor: str | None = None) -> bool:
        """Splice the page that was asked with `cursor` (None: the first) into the list.

        True when anything changed; an unchanged record stays the same object.
        """
        page = {}
        for item in items:
            key = item.get(self._id_field) if isinstance(item, dict) else None
            if isinstance(key, str | int):
                known = self.rows.get(str(key))
                page[str(key)] = known if known == item else item
        before, was_started = self.rows, self.started
        following = str(next_cursor) if isinstance(next_cursor, str) and next_cursor else None
        first = next(iter(page), None)
        if cursor is None:
            self._absorb_first(page, following, first)
        elif cursor == self.next_cursor:
            self.rows = self.rows | page
            self._pages.append((cursor, first))
            self.next_cursor = following if following != cursor else None
        else:
            self._splice(page, at_top=False)
        self.started = True
        same = len(before) == len(self.rows) and all(
            old is new for old, new in zip(before.values(), self.rows.values(), strict=True)
        )
        return not (was_started and same and list(before) == list(self.rows))

    def page_of(self, key: str | None) -> str | None:
        """The cursor of the page that holds `key`, so that the rows in view are asked again."""
        if key is None or key not in self.rows:
            return None
        order = {known: index for index, known in enumerate(self.rows)}
        found = None
        for cursor, first in self._pages:
            if first is not None and order.get(first, ROWS_KEPT) <= order[key]:
                found = cursor
        return found

    def _absorb_first(self, page: dict[str, Record], following: str | None, first: str | None) -> None:
        overlaps = any(key in self.rows for key in page)
        if following is None or not overlaps:
            self.rows = page
            self._pages = [(None, first)]
            self.next_cursor = following
            return
        self._splice(page, at_top=True)
        if len(self._pages) <= 1:
            self._pages = [(None, first)]
            # Rows pushed below the page by new ones are known already: the old cursor goes on from them.
            self.next_cursor = self.next_cursor if len(self.rows) > len(page) else following

    def _splice(self, page: dict[str, Record], *, at_top: bool) -> None:
        known = list(self.rows)
        shared = [index for index, key in enumerate(known) if key in page]
        if not shared:
            return
        start = 0 if at_top else shared[0]
        above = {key: self.rows[key] for key in known[:start]}
        below = {key: self.rows[key] for key in known[shared[-1] + 1 :] if key not in page}
        self.rows = above | page | below


@dataclass(frozen=True, slots=True)
class Filter:
    """What the filter bar says: fields the daemon filters by, and words matched here (`!word` excludes)."""

    params: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    def matches(self, haystack: str) -> bool:
        """Whether a row, as one lower-case text, passes the words."""
        return all(
            (word[1:] not in haystack) if word.startswith("!") and len(word) > 1 else (word in haystack)
            for word in self.words
        )


def parse_filter(text: str, fields: dict[str, str], states: tuple[str, ...] = ()) -> Filter:
    """`status:PAID from:2026-11-01 tea !cake` by the list's `fields` (typed name -> query parameter).

    Dates are Beijing days; `to` includes its day. A field the list does not have is a complaint.
    """
    params: dict[str, str] = {}
    found: list[str] = []
    complaints: list[str] = []
    for token in text.split():
        name, colon, value = token.partition(":")
        parameter = fields.get(name.lower())
        if not colon or not re.fullmatch(r"[a-z_]+", name.lower()):
            found.append(token.lower())
        elif parameter is None or not value:
            complaints.append(token)
        elif parameter in ("created_from", "created_to"):
            moment = _day(value, end=parameter == "created_to")
            if moment is None:
                complaints.append(token)
            else:
                params[parameter] = moment
        else:
            spelt = {state.lower(): state for state in states}
            params[parameter] = value.upper() if parameter == "trade_type" else spelt.get(value.lower(), value)
    return Filter(tuple(sorted(params.items())), tuple(found), tuple(complaints))


def arranged(
    records: Iterable[Record],
    *,
    keep: Callable[[Record], bool],
    sort_key: Callable[[Record], Any] | None,
    descending: bool,
) -> Sequence[Record]:
    """The records to show: filtered, then sorted stably when a column was chosen; empty values go last."""
    kept = [record for record in records if keep(record)]
    if sort_key is None:
        return kept[::-1] if descending else kept
    valued = [(sort_key(record), record) for record in kept]
    full = [pair for pair in valued if pair[0] is not None]
    empty = [record for value, record in valued if value is None]
    full.sort(key=lambda pair: _comparable(pair[0]), reverse=descending)
    return [record for _, record in full] + empty


def _comparable(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "") if abs(value) < 1e300 else (0, 1e300, "")
    return (1, 0.0, str(value))


def _day(text: str, *, end: bool) -> str | None:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=BEIJING)
        moment = day + timedelta(days=1) if end else day
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None
