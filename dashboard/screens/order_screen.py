"""One order whole: what it is, its payments and refunds, who said what when, its payment code, its JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from dashboard.api_client import path_of
from dashboard.formatting import clock_time, literal, member, words, yuan
from dashboard.masking import masked
from dashboard.screens.board_screen import BoardScreen
from dashboard.screens.confirm_dialog import ConfirmDialog, close_plan, refund_plan
from dashboard.snapshots import Snapshot, Want
from dashboard.states import FINAL_ORDERS, look_of, state_text
from dashboard.widgets.line import Line
from dashboard.widgets.qr import payable_url, qr_lines

_OPEN_EVERY_SECONDS = 4.0
_FINAL_EVERY_SECONDS = 30.0
"""A read of an open order makes the daemon ask WeChat, so it is asked less often than the rest."""
_EVENTS_SHOWN = 500
_JSON_LINES = 400
_NAMED = ("trade_type", "description", "transaction_id", "attach", "created_at", "expires_at", "paid_at", "closed_at")


class OrderScreen(BoardScreen):
    """See the module."""

    NAME = "orders"
    AUTO_FOCUS = "#order"
    HINTS = (("esc", "back"), ("j/k", "scroll"), ("c", "copy_id"), ("y", "copy_json"))
    ACTION_HINTS = (("B", "refund"), ("X", "close"))
    BINDINGS = [
        Binding("escape", "back", show=False),
        Binding("j", "scroll(2)", show=False),
        Binding("k", "scroll(-2)", show=False),
        Binding("g", "end(False)", show=False),
        Binding("G", "end(True)", show=False),
        Binding("c", "copy_id", show=False),
        Binding("y", "copy_json", show=False),
        Binding("B", "refund", show=False),
        Binding("X", "close_order", show=False),
    ]

    def __init__(self, out_trade_no: str) -> None:
        super().__init__()
        self.out_trade_no = out_trade_no

    def compose_body(self) -> ComposeResult:
        say = self.board.say
        with VerticalScroll(id="order"):
            for name in ("order-head", "order-refunds", "order-events", "order-code", "order-json"):
                line = Line(id=name, classes="panel", fixed=False)
                line.border_title = say(f"panel_{name.replace('-', '_')}")
                yield line

    @property
    def order_want(self) -> Want:
        """The read of the order itself."""
        known = self.board.snapshot.parts.get("order")
        final = known is not None and member(known.data, "status") in FINAL_ORDERS
        every = _FINAL_EVERY_SECONDS if final else _OPEN_EVERY_SECONDS
        return Want("order", "/pay/query", (("out_trade_no", self.out_trade_no),), every)

    @property
    def events_want(self) -> Want:
        """The read of its history."""
        return Want("events", path_of("pay", "orders", self.out_trade_no, "events"), (), _OPEN_EVERY_SECONDS)

    def wants(self) -> tuple[Want, ...]:
        """The order and its history."""
        return (self.order_want, self.events_want)

    @property
    def order(self) -> dict[str, Any] | None:
        """The order as last heard."""
        data = self.board.snapshot.part(self.order_want).data
        return data if isinstance(data, dict) else None

    def show(self, snapshot: Snapshot) -> None:
        """Draw all five panels."""
        order, part = self.order, snapshot.part(self.order_want)
        told = member(snapshot.part(self.events_want).data, "events")
        events = told if isinstance(told, list) else []
        self.query_one("#order-head", Line).show(self._head(order, part.failure))
        self.query_one("#order-refunds", Line).show(self._movements(order))
        self.query_one("#order-events", Line).show(self._timeline(events, snapshot.part(self.events_want).failure))
        self._show_code(order, events)
        self.query_one("#order-json", Line).show(self._json(order))

    def tick(self, now: float) -> None:
        """The age of what is shown."""
        for name, want in (("#order-head", self.order_want), ("#order-events", self.events_want)):
            part = self.board.snapshot.part(want)
            self.query_one(name, Line).set_age(self.age_words(part))
            self.query_one(name, Line).set_class(self.is_stale(part), "-stale")

    def _head(self, order: dict[str, Any] | None, failure: Any) -> Text:
        board = self.board
        say, paint = board.say, board.paint
        text = paint.text((literal(self.out_trade_no, limit=64), "title"))
        if order is not None:
            state = order.get("status")
            text.append_text(paint.text("  ", (state_text(state, say), look_of(state).role)))
            text.append_text(paint.text("  ", (yuan(member(order, "amount", "total")), "money")))
            refunded = member(order, "amount", "refunded")
            if refunded:
                text.append_text(paint.text(f"  {say('column_refunded')} {yuan(refunded)}"))
            if order.get("livemode") is False:
                text.append_text(paint.text("  ", (say("not_real_money"), "sandbox")))
            for name in _NAMED:
                value = order.get(name)
                shown = clock_time(value, long=True) if name.endswith("_at") else words(value)
                if value is not None:
                    text.append_text(paint.text("\n", (f"{say(f'column_{name}')}: ", "dim"), shown))
            if order.get("stale"):
                text.append_text(paint.text("\n", (f"▲ {say('order_stale')}", "wait")))
        else:
            text.append_text(paint.text("  ", (say("loading"), "dim")) if failure is None else paint.text())
        if failure is not None:
            text.append_text(paint.text("\n", (f"✗ {board.failure_words(failure)}", "bad")))
        return text

    def _movements(self, order: dict[str, Any] | None) -> Text:
        say, paint, text = self.board.say, self.board.paint, self.board.paint.text()
        for kind in ("payments", "refunds"):
            records = member(order, kind)
            for record in records if isinstance(records, list) else ():
                state = member(record, "status")
                amount = member(record, "amount", "refund")
                number = (
                    words(member(record, "out_refund_no")) if kind == "refunds" else words(member(record, "trade_type"))
                )
                mark = member(record, "attention")
                text.append_text(
                    paint.text(
                        "\n" if text.plain else "", (f"{say(f'kind_{kind}')} ", "dim"),
                        (state_text(state, say), look_of(state).role), f"  {number}",
                        f"  {yuan(amount)}" if amount is not None else "",
                        (f"  ▲ {words(mark)}", "bad") if mark else "",
                        (f"  {clock_time(member(record, 'created_at'))}", "dim"),
                        f"  {literal(member(record, 'reason'), limit=80)}" if member(record, "reason") else "",
                    )
                )  # fmt: skip
        return text if text.plain else paint.text((say("nothing_here"), "dim"))

    def _timeline(self, events: list[Any], failure: Any) -> Text:
        say, paint, text = self.board.say, self.board.paint, self.board.paint.text()
        for event in events[-_EVENTS_SHOWN:]:
            moved_to = member(event, "to")
            source = member(event, "source")
            who = say(f"source_{source}") if say.has(f"source_{source}") else words(source)
            before = member(event, "from")
            text.append_text(
                paint.text(
                    "\n" if text.plain else "", (clock_time(member(event, "at")), "dim"),
                    (f"  {who}", "accent"), f"  {words(member(event, 'subject'))} ",
                    (f"{words(before)} → " if before is not None else "", "dim"),
                    (state_text(moved_to, say), look_of(moved_to).role),
                    (f"  {words(member(event, 'request_id'))}" if member(event, "request_id") else "", "dim"),
                )
            )  # fmt: skip
            detail = member(event, "detail")
            if detail not in (None, "", {}, []):
                told = json.dumps(masked(detail), ensure_ascii=False) if not isinstance(detail, str) else detail
                text.append_text(paint.text("\n    ", (literal(told, limit=300), "dim")))
        if failure is not None:
            text.append_text(paint.text("\n" if text.plain else "", (f"✗ {self.board.failure_words(failure)}", "bad")))
        return text if text.plain else paint.text((say("nothing_here"), "dim"))

    def _show_code(self, order: dict[str, Any] | None, events: list[Any]) -> None:
        panel, url = self.query_one("#order-code", Line), payable_url(order, events)
        panel.display = url is not None
        if url is not None:
            code = Text("\n".join(qr_lines(url)) + "\n", style="#ffffff on #000000", no_wrap=True)
            panel.show(code.append(literal(url), self.board.paint.styles["dim"] or None))

    def _json(self, order: dict[str, Any] | None) -> Text:
        if order is None:
            return self.board.paint.text(("—", "dim"))
        lines = json.dumps(masked(order), ensure_ascii=False, indent=2).split("\n")[:_JSON_LINES]
        return self.board.paint.text(("\n".join(literal(line) for line in lines), "dim"))

    # -- keys

    def action_back(self) -> None:
        """Escape: to where one came from."""
        self.app.pop_screen()

    def action_scroll(self, rows: int) -> None:
        """`j` and `k`."""
        self.query_one("#order", VerticalScroll).scroll_relative(y=rows, animate=False)

    def action_end(self, bottom: bool) -> None:
        """`g` and `G`."""
        scroll = self.query_one("#order", VerticalScroll)
        if bottom:
            scroll.scroll_end(animate=False)
        else:
            scroll.scroll_home(animate=False)

    def action_copy_id(self) -> None:
        """`c`."""
        self.board.copy(literal(self.out_trade_no))

    def action_copy_json(self) -> None:
        """`y`."""
        if self.order is not None:
            self.board.copy(json.dumps(masked(self.order), ensure_ascii=False, indent=2))

    def action_refund(self) -> None:
        """`B`: pay back, after a typed confirmation."""
        if self.order is not None:
            self.board.confirm(ConfirmDialog(refund_plan(self.order, self.board.say)))

    def action_close_order(self) -> None:
        """`X`: close at WeChat, after a typed confirmation."""
        if self.order is not None:
            self.board.confirm(ConfirmDialog(close_plan(self.order, self.board.say)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No changes with --readonly."""
        if action in ("refund", "close_order") and self.board.settings.readonly:
            return False
        return super().check_action(action, parameters)
