"""What all lists share: filter bar, state filter, sort that stays, endless paging, copying and export.

A list is a table of columns over one endpoint (`ListSpec`); this screen does the rest. Rows are made once
per record and remade only when the record changed, so ten thousand of them cost no more than one page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import DataTable

from dashboard.export import write_csv
from dashboard.formatting import DASH, fit, literal, member, words
from dashboard.listing import PAGE_LIMIT, Filter, Listing, Record, arranged, parse_filter
from dashboard.masking import masked
from dashboard.messages import FilterChanged, FilterClosed, PageFetched
from dashboard.screens.board_screen import BoardScreen
from dashboard.screens.choice_dialog import ChoiceDialog
from dashboard.snapshots import Part, Snapshot, Want
from dashboard.states import state_text
from dashboard.themes import Cell, Paint
from dashboard.widgets.filter_bar import FilterBar
from dashboard.widgets.line import Line
from dashboard.widgets.live_table import Heading, LiveTable
from dashboard.wording import Wording


@dataclass(frozen=True, slots=True)
class Kit:
    """What a column needs to draw a cell."""

    say: Wording
    paint: Paint
    now: float


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `make` draws it, `value` is what it sorts and exports by."""

    key: str
    width: int
    make: Callable[[Record, Kit], Cell]
    value: Callable[[Record], Any]
    from_columns: int = 0
    """Shown from this terminal width on; always with `w`."""
    wide: bool = False
    """Shown only with `w`."""
    flex: bool = False
    """Takes what is left of the width."""
    right: bool = False
    """Its heading stands on the right, as its cells do."""
    number: bool = False
    """A number people copy: as wide as the longest one there is, cut only when no other column can give way."""
    yields: int = 0
    """Where the numbers need the room, the columns with the highest of these go; 0 stays."""
    seldom: bool = False
    """Shown only while some row has a value in it; always with `w`."""
    ticking: bool = False
    """Changes as time goes by."""


@dataclass(frozen=True, slots=True)
class ListSpec:
    """One list of the daemon and how it is shown."""

    name: str
    path: str
    items: str
    id_field: str
    columns: tuple[Column, ...]
    states: tuple[str, ...]
    fields: dict[str, str]
    """Filter fields the daemon understands: typed name -> query parameter."""
    is_faulty: Callable[[Record], bool]
    paged: bool = True
    fixed: tuple[tuple[str, str], ...] = ()
    """Parameters sent unless the filter says otherwise."""


_PADDING = 2
"""Cells between two columns."""
_SCROLLBAR = 2
_SHRUNK_COLUMNS = 12
"""A number is never cut to less."""
_HEADING_COLUMNS = 14
"""The longest heading of a number with the arrow of a sort."""
_NUMBER_COLUMNS_MAX = 64
_TICK_SECONDS = 10
"""Ages in rows are redrawn all together this often: a DataTable draws every row in view when one cell changes."""


def laid_out(columns: Sequence[Column], longest: Mapping[str, int], available: int) -> tuple[tuple[Column, int], ...]:
    """Which of `columns` stand in `available` cells, and how wide each.

    Numbers get what their `longest` text needs: for them other columns go, those that yield most first. Only when none
    is left that yields are the numbers cut, the last one first; before the first one is cut the others go. What is left
    over goes to numbers, then to `flex`.
    """
    rooms = {
        column.key: max(min(longest.get(column.key, 0), _NUMBER_COLUMNS_MAX), _HEADING_COLUMNS)
        if column.number
        else column.width
        for column in columns
    }
    kept = list(columns)

    def left() -> int:
        return available - sum(rooms[column.key] + _PADDING for column in kept)

    for column in sorted((one for one in columns if one.yields), key=lambda one: -one.yields):
        if left() < 0:
            kept.remove(column)
    numbers = [column for column in kept if column.number]
    for column in reversed(numbers):
        rooms[column.key] -= min(max(-left(), 0), rooms[column.key] - _SHRUNK_COLUMNS)
        if left() < 0 and column is not numbers[0]:
            kept.remove(column)
    for column in filter(kept.__contains__, numbers):
        rooms[column.key] += min(max(left(), 0), max(column.width - rooms[column.key], 0))
    for column in kept:
        rooms[column.key] += max(left(), 0) if column.flex else 0
    return tuple((column, rooms[column.key]) for column in kept)


class ListScreen(BoardScreen):
    """See the module. Subclasses set SPEC and may add an aside and actions."""

    SPEC: ListSpec
    AUTO_FOCUS = "#table"
    HINTS = (
        ("enter", "details"), ("/", "filter"), ("f", "state"), ("s/S", "sort"), ("F", "faults"), ("w", "wide"),
        ("c", "copy_id"), ("y", "copy_json"), ("e", "export"), ("o", "open"),
    )  # fmt: skip
    BINDINGS = [
        Binding("slash", "filter", show=False),
        Binding("f", "choose_state", show=False),
        Binding("F", "faults", show=False),
        Binding("s", "sort", show=False),
        Binding("S", "direction", show=False),
        Binding("w", "wide", show=False),
        Binding("c", "copy_id", show=False),
        Binding("y", "copy_json", show=False),
        Binding("e", "export", show=False),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
        Binding("g", "end(False)", show=False),
        Binding("G", "end(True)", show=False),
        Binding("escape", "clear_filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.listing = Listing(self.SPEC.id_field)
        self.filter_text = ""
        self.faults_only = False
        self.sort_column: str | None = None
        self.descending = False
        self.wide = False
        self._seen: dict[str, object] = {}
        self._made: dict[str, tuple[Record, tuple[Cell, ...]]] = {}
        self._columns: tuple[Column, ...] = ()
        self._longest: dict[str, int] = {}
        """The longest number per column of this list so far, and 1 for a seldom column that has a value."""
        self._shape: tuple[object, ...] = ()
        self._loading = False
        self._ticked = 0
        self.shown: list[Record] = []

    # -- layout

    def compose_body(self) -> ComposeResult:
        yield FilterBar(self.board.say("filter_placeholder"), id="filter")
        with Container(id="list"):
            with Container(id="rows"):
                yield LiveTable(id="table", near_end=self._near_end)
                yield Line(id="empty")
            yield from self.compose_aside()
        yield Line(id="totals")

    def compose_aside(self) -> ComposeResult:
        """A panel beside the table about the row under the cursor."""
        yield from ()

    @property
    def table(self) -> LiveTable:
        """The table."""
        return self.query_one(LiveTable)

    # -- data

    @property
    def filter(self) -> Filter:
        """The filter bar's text, understood."""
        return parse_filter(self.filter_text, self.SPEC.fields, self.SPEC.states)

    def want(self, cursor: str | None = None, *, slot: str = "") -> Want:
        """The read of one page with the present filter."""
        params = dict(self.SPEC.fixed) | dict(self.filter.params)
        if self.SPEC.paged:
            params["limit"] = str(PAGE_LIMIT)
        if cursor is not None:
            params["cursor"] = cursor
        return Want(self.SPEC.name + slot, self.SPEC.path, tuple(sorted(params.items())))

    def wants(self) -> tuple[Want, ...]:
        """The first page, and the page the cursor is on when that is another."""
        page = self.listing.page_of(self.table.cursor_key) if self.is_mounted else None
        first = self.want()
        return (first,) if page is None else (first, self.want(page, slot="@page"))

    def show(self, snapshot: Snapshot) -> None:
        """Splice in what is new and draw."""
        changed = False
        for slot in ("", "@page"):
            part = snapshot.parts.get(self.SPEC.name + slot)
            if part is None or not part.known or self._seen.get(slot) is part.data or not self._ours(part.want):
                continue
            self._seen[slot] = part.data
            changed |= self._absorb(part, dict(part.want.params).get("cursor"))
        self.show_list(changed)

    def show_list(self, changed: bool) -> None:
        """Draw the rows when they, the columns or the width changed."""
        order = (self.sort_column, self.descending, self.faults_only, self.filter_text)
        shape = (self.size, self._table_width(), self.wide, self.board.theme, *order)
        if changed or shape != self._shape:
            self._shape = shape
            self._set_columns()
            self._set_rows()
        self.show_totals()
        self._show_empty()
        self.show_aside(self.current())

    def _ours(self, want: Want) -> bool:
        asked = dict(want.params)
        asked.pop("cursor", None)
        return want.path == self.SPEC.path and asked == dict(self.want().params)

    def _absorb(self, part: Part, cursor: str | None) -> bool:
        items = member(part.data, self.SPEC.items)
        if not isinstance(items, list):
            return False
        return self.listing.absorb(items, member(part.data, "next_cursor"), cursor=cursor)

    def _near_end(self) -> None:
        if self._loading or not self.listing.has_more or not self.listing.started:
            return
        self._loading = True
        cursor = self.listing.next_cursor
        self.run_worker(self._load(cursor), group="pages", exit_on_error=False)

    async def _load(self, cursor: str | None) -> None:
        try:
            part = await self.board.poller.ask(self.want(cursor, slot="+"))
        finally:
            self._loading = False
        if part.failure is None and cursor is not None:
            self.post_message(PageFetched(part, cursor))

    def on_page_fetched(self, message: PageFetched) -> None:
        """A further page: splice it in, unless the filter changed meanwhile."""
        if self._ours(message.part.want) and message.cursor == self.listing.next_cursor:
            self.show_list(self._absorb(message.part, message.cursor))
            self.call_after_refresh(self.table.check_end)

    # -- rows and columns

    def _measure(self) -> None:
        """Take in how long the numbers of new records are. Only grows, so that the columns stand still."""
        told = [column for column in self.SPEC.columns if column.number or column.seldom]
        for key, record in self.listing.rows.items():
            made = self._made.get(key)
            if made is not None and made[0] is record:
                continue
            for column in told:
                value = column.value(record)
                if value is not None and value != "":
                    length = cell_len(words(value)) if column.number else 1
                    self._longest[column.key] = max(self._longest.get(column.key, 0), length)

    def _set_columns(self) -> None:
        self._measure()
        width = self.size.width
        chosen = [
            column
            for column in self.SPEC.columns
            if self.wide
            or not (column.wide or column.from_columns > width or (column.seldom and column.key not in self._longest))
        ]
        room_needed = sum(max(column.width, self._longest.get(column.key, 0)) + _PADDING for column in chosen)
        available = self._table_width() - _SCROLLBAR
        placed = laid_out(chosen, self._longest, max(available, room_needed) if self.wide else available)
        self._columns = tuple(column for column, _ in placed)
        headings = []
        for column, room in placed:
            arrow = ("▼" if self.descending else "▲") if column.key == self.sort_column else ""
            label = fit(self.board.say(f"column_{column.key}"), max(room - len(arrow), 1)) + arrow
            label = " " * (room - cell_len(label)) * column.right + label
            headings.append(Heading(column.key, label, room))
        if self.table.set_headings(tuple(headings)) or self._made_for != (self.board.theme, self._columns):
            self._made = {}
            self._made_for = (self.board.theme, self._columns)

    _made_for: tuple[object, ...] = ()

    def _table_width(self) -> int:
        return self.table.size.width or self.size.width

    def _set_rows(self) -> None:
        kit = Kit(self.board.say, self.board.paint, self.board.now())
        wanted = self.filter
        column = next((one for one in self.SPEC.columns if one.key == self.sort_column), None)
        self.shown = list(
            arranged(
                self.listing.rows.values(),
                keep=lambda record: self._keeps(record, wanted),
                sort_key=column.value if column else None,
                descending=self.descending,
            )
        )
        rows = [(str(record[self.SPEC.id_field]), self._cells_of(record, kit)) for record in self.shown]
        self.table.show_rows(rows)
        self.call_after_refresh(self.table.check_end)

    def _cells_of(self, record: Record, kit: Kit) -> tuple[Cell, ...]:
        key = str(record[self.SPEC.id_field])
        made = self._made.get(key)
        if made is not None and made[0] is record:
            return made[1]
        cells = tuple(column.make(record, kit) for column in self._columns)
        self._made[key] = (record, cells)
        return cells

    def _keeps(self, record: Record, wanted: Filter) -> bool:
        if self.faults_only and not self.SPEC.is_faulty(record):
            return False
        return not wanted.words or wanted.matches(haystack(record))

    def show_totals(self) -> None:
        """The line under the table: how many, what sum, what filter, what failed."""
        board = self.board
        pieces: list[tuple[str, str]] = [(f" {self.totals() if self.listing.started else DASH}", "plain")]
        if self.listing.has_more:
            pieces.append((f" · {board.say('more_below')}", "dim"))
        if self.filter_text or self.faults_only:
            faults = board.say("faults_only") if self.faults_only else ""
            shown = " ".join(piece for piece in (literal(self.filter_text, limit=60), faults) if piece)
            pieces.append((f" · {board.say('filtered', filter=shown)}", "wait"))
        if self.filter.complaints:
            unknown = literal(" ".join(self.filter.complaints), limit=40)
            pieces.append((f" · {board.say('filter_unknown', token=unknown)}", "bad"))
        part = board.snapshot.part(self.want())
        if part.failure is not None:
            pieces.append((f" · ✗ {board.failure_words(part.failure)}", "bad"))
        stale = self.is_stale(part)
        pieces.append((f" · {self.age_words(part)}", "stale" if stale else "dim"))
        pieces += [(f" · {more}", "dim") for more in self.afterwords()]
        self.query_one("#totals", Line).show(board.paint.text(*pieces))

    def _show_empty(self) -> None:
        """One line in the place of the rows when there are none: why."""
        told = self.empty_words()
        self.query_one("#rows").set_class(told is not None, "-empty")
        if told is not None:
            self.query_one("#empty", Line).show(self.board.paint.text((f" {told[0]}", told[1])))

    def empty_words(self) -> tuple[str, str] | None:
        """Why no row is shown, with its role; None when there are rows."""
        if self.shown:
            return None
        say, part, wanted = self.board.say, self.board.snapshot.part(self.want()), self.filter
        if part.failure is not None:
            return f"✗ {say('empty_failed', cause=self.board.failure_words(part.failure))}", "bad"
        if not self.listing.started:
            return (f"✗ {say('cause_malformed')}", "bad") if part.known else (say("loading"), "dim")
        if not (wanted.params or wanted.words or self.faults_only):
            return say(f"empty_{self.SPEC.name}"), "dim"
        told = " ".join(
            piece
            for piece in (literal(self.filter_text, limit=60), say("faults_only") if self.faults_only else "")
            if piece
        )
        return say("empty_searching" if self.listing.has_more else "empty_filtered", filter=told), "dim"

    def totals(self) -> str:
        """The count and, where there is money, the sum of what is shown."""
        return self.board.say("rows_shown", count=f"{len(self.shown):,}")

    def afterwords(self) -> tuple[str, ...]:
        """What else the last line tells, of another source than the rows."""
        return ()

    def tick(self, now: float) -> None:
        """Ages grow: only the rows in view, only the cells that read differently."""
        kit = Kit(self.board.say, self.board.paint, now)
        step, before = int(now // _TICK_SECONDS), self._ticked
        self._ticked = step
        ticking = [column for column in self._columns if column.ticking and step != before]
        for key in self.table.visible_keys() if ticking else ():
            record = self.listing.rows.get(key)
            if record is not None:
                for column in ticking:
                    self.table.freshen(key, column.key, column.make(record, kit))
        self.show_totals()

    def current(self) -> Record | None:
        """The record under the cursor."""
        key = self.table.cursor_key
        return None if key is None else self.listing.rows.get(key)

    def show_aside(self, record: Record | None) -> None:
        """Draw the panel beside the table."""

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """The cursor moved."""
        self.show_aside(self.current())
        self.table.check_end()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on a row."""
        record = self.current()
        if record is not None:
            self.open_record(record)

    def open_record(self, record: Record) -> None:
        """Where enter leads: the order the row belongs to."""
        number = record.get("out_trade_no")
        if isinstance(number, str) and number:
            self.board.open_order(number)

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a heading sorts by it, a second one turns the order."""
        key = event.column_key.value
        if key == self.sort_column:
            self.action_direction()
        else:
            self.sort_column, self.descending = key, False
            self.show_list(changed=False)

    # -- keys

    def set_filter(self, text: str, *, faults: bool = False) -> None:
        """Apply a filter text; asks the daemon anew when its part of it changed."""
        before = self.want()
        self.filter_text, self.faults_only = text.strip(), faults
        if self.want() != before:
            self.listing.clear()
            self._made = {}
            self._seen = {}
            self._longest = {}
            self.board.poller.wake()
        if self.is_mounted:
            self.query_one(FilterBar).set_text(self.filter_text)
            self.show(self.board.snapshot)
            self.show_list(changed=True)

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Enter in the filter bar."""
        self.set_filter(message.text, faults=self.faults_only)

    def on_filter_closed(self, message: FilterClosed) -> None:
        """Back to the table."""
        self.query_one(FilterBar).set_text(self.filter_text)
        self.table.focus()
        self.query_one(FilterBar).display = bool(self.filter_text)

    def action_filter(self) -> None:
        """`/`: edit the filter."""
        self.query_one(FilterBar).edit()

    def action_clear_filter(self) -> None:
        """Escape: no filter."""
        if self.filter_text or self.faults_only:
            self.set_filter("")

    def action_faults(self) -> None:
        """`F`: only what went wrong."""
        self.set_filter(self.filter_text, faults=not self.faults_only)

    def action_choose_state(self) -> None:
        """`f`: one state, or all."""
        say = self.board.say
        options = (("", say("all_states")), *((state, state_text(state, say)) for state in self.SPEC.states))

        def chosen(state: str | None) -> None:
            if state is not None:
                kept = [
                    token for token in self.filter_text.split() if token.partition(":")[0] not in ("status", "result")
                ]
                name = "result" if "result" in self.SPEC.fields else "status"
                self.set_filter(" ".join([*([f"{name}:{state}"] if state else []), *kept]), faults=self.faults_only)

        self.app.push_screen(ChoiceDialog(say("choose_state"), options), chosen)

    def action_sort(self) -> None:
        """`s`: sort by the next column; after the last one, as the daemon has it."""
        keys: list[str | None] = [None, *(column.key for column in self._columns)]
        at = keys.index(self.sort_column) if self.sort_column in keys else 0
        self.sort_column = keys[(at + 1) % len(keys)]
        self.show_list(changed=False)

    def action_direction(self) -> None:
        """`S`: the other way round."""
        self.descending = not self.descending
        self.show_list(changed=False)

    def action_wide(self) -> None:
        """`w`: all columns, scrolling sideways."""
        self.wide = not self.wide
        self.show_list(changed=False)

    def action_move(self, rows: int) -> None:
        """`j` and `k`."""
        self.table.move_cursor(row=max(self.table.cursor_row + rows, 0))

    def action_end(self, bottom: bool) -> None:
        """`g` and `G`: the top, and the end of what is loaded (which loads more)."""
        self.table.move_cursor(row=self.table.row_count - 1 if bottom else 0, animate=False)

    def action_copy_id(self) -> None:
        """`c`: the number under the cursor, to the clipboard."""
        record = self.current()
        if record is not None:
            self.board.copy(literal(record[self.SPEC.id_field]))

    def action_copy_json(self) -> None:
        """`y`: the record as JSON, secrets masked."""
        record = self.current()
        if record is not None:
            self.board.copy(json.dumps(masked(record), ensure_ascii=False, indent=2))

    def action_export(self) -> None:
        """`e`: what is shown, as CSV, in the present folder."""
        heads = [column.key for column in self.SPEC.columns]
        rows = [[column.value(record) for column in self.SPEC.columns] for record in self.shown]
        try:
            path = write_csv(self.board.export_folder, self.SPEC.name, heads, rows, now=self.board.now())
        except OSError as exc:
            self.board.tell("export_failed", severity="error", reason=literal(exc.strerror or exc))
            return
        self.board.tell("exported", count=len(rows), path=literal(path))


def haystack(record: Record) -> str:
    """A record's texts as one lower-case text to look for words in. Times are left out: they match any digit."""
    return "\n".join(
        value for name, value in record.items() if isinstance(value, str) and not name.endswith("_at")
    ).lower()
