"""A DataTable that is told what it should show and touches only what differs.

Rows have keys; the cursor stays on its row, the view on its rows, whatever is inserted above. A cursor on
the first row stays there, so that new rows are seen coming in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.widgets import DataTable

from dashboard.themes import Cell

Row = tuple[str, tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Heading:
    """One column as drawn: key, literal label, width in cells."""

    key: str
    label: str
    width: int


class LiveTable(DataTable[Cell]):
    """See the module. `near_end` is called when the last rows come into view."""

    REBUILD_SHARE = 0.5
    """When more than this share of the rows went away, starting anew is cheaper than removing them."""
    NEAR_END_ROWS = 60

    def __init__(self, *, id: str | None = None, near_end: Callable[[], None] | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, show_row_labels=False)
        self._headings: tuple[Heading, ...] = ()
        self._order: list[str] = []
        self._cells: dict[str, tuple[Cell, ...]] = {}
        self._first: dict[str, Cell] = {}
        self._near_end = near_end
        self._relabelled = False
        """True from a change of labels (a sort arrow) until the table was told to draw its heading anew."""
        self._place: tuple[str | None, bool, int] | None = None
        """Where the cursor was (key, on the first row, rows below the top) when other columns took the rows away."""

    @property
    def cursor_key(self) -> str | None:
        """The key of the row under the cursor."""
        return self._order[self.cursor_row] if 0 <= self.cursor_row < len(self._order) else None

    def set_headings(self, headings: tuple[Heading, ...]) -> bool:
        """Show these columns. True when they are others than before (the rows are gone then)."""
        if headings == self._headings:
            return False
        if [(one.key, one.width) for one in headings] == [(one.key, one.width) for one in self._headings]:
            for column, heading in zip(self.ordered_columns, headings, strict=True):
                column.label = Text(heading.label)
            self._headings, self._relabelled = headings, True
            return False
        self._headings = headings
        if self._order:
            self._place = (self.cursor_key, self.cursor_row == 0, self.cursor_row - int(self.scroll_y))
        self.clear(columns=True)
        self._order, self._cells, self._first = [], {}, {}
        for heading in headings:
            self.add_column(Text(heading.label), width=heading.width, key=heading.key)
        return True

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Make the table show `rows` in this order."""
        wanted = dict(rows)
        place = (self.cursor_key, self.cursor_row == 0, self.cursor_row - int(self.scroll_y))
        cursor, at_top, offset = self._place or place
        self._place = None
        gone = [key for key in self._order if key not in wanted]
        with self.app.batch_update():
            if len(gone) > len(self._order) * self.REBUILD_SHARE:
                self.clear()
                self._order, self._cells, self._first, gone = [], {}, {}, []
            for key in gone:
                self.remove_row(key)
                del self._cells[key], self._first[key]
            order = [key for key in self._order if key in wanted] if gone else list(self._order)
            for key, cells in wanted.items():
                self._put(key, cells, order)
            self._arrange(order, list(wanted))
            self._settle_cursor(cursor, at_top=at_top, offset=offset)

    def _put(self, key: str, cells: tuple[Cell, ...], order: list[str]) -> None:
        before = self._cells.get(key)
        if before is cells:
            return
        self._cells[key] = cells
        if before is None:
            self.add_row(*cells, key=key)
            self._first[key] = cells[0]
            order.append(key)
            return
        for heading, old, new in zip(self._headings, before, cells, strict=True):
            if old != new:
                self._replace(key, heading.key, new)

    def _arrange(self, order: list[str], wanted: list[str]) -> None:
        self._order = wanted
        if (order == wanted and not self._relabelled) or not self._headings:
            return
        self._relabelled = False
        # DataTable sorts by cell values only, so a row is known by the identity of its first cell.
        ranks = {id(self._first[key]): rank for rank, key in enumerate(wanted)}
        self.sort(self._headings[0].key, key=lambda cell: ranks[id(cell)])

    def _settle_cursor(self, cursor: str | None, *, at_top: bool, offset: int) -> None:
        if at_top or cursor is None or cursor not in self._cells:
            return
        row = self._order.index(cursor)
        if row != self.cursor_row:
            self.move_cursor(row=row, animate=False, scroll=False)
            self.call_after_refresh(self.scroll_to, y=max(row - offset, 0), animate=False)

    def visible_keys(self) -> Sequence[str]:
        """The keys of the rows in view."""
        top = int(self.scroll_y)
        return self._order[top : top + self.size.height]

    def freshen(self, key: str, column: str, cell: Cell) -> None:
        """Replace one cell (an age, say) if it reads differently."""
        cells = self._cells.get(key)
        index = next((at for at, heading in enumerate(self._headings) if heading.key == column), None)
        if cells is None or index is None or cells[index] == cell:
            return
        self._cells[key] = (*cells[:index], cell, *cells[index + 1 :])
        self._replace(key, column, cell)

    def _replace(self, key: str, column: str, cell: Cell) -> None:
        if column == self._headings[0].key:
            self._first[key] = cell
        self.update_cell(key, column, cell)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell the owner when the end comes near."""
        super().watch_scroll_y(old_value, new_value)
        self.check_end()

    def check_end(self) -> None:
        """Ask for more when fewer than a screen or two of rows are left below."""
        if self._near_end is not None and self.scroll_y + self.size.height + self.NEAR_END_ROWS >= self.row_count:
            self._near_end()
