"""Every change to the daemon goes through here: facts, a typed confirmation, one Idempotency-Key.

The key is made when the dialog opens and dies with it, so one dialog can only ever do one thing: repeating
after an unclear answer is the same request, and another amount needs another dialog.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from dashboard.api_client import Action, Outcome, path_of
from dashboard.formatting import fen_of, literal, member, whole, words, yuan
from dashboard.listing import Record
from dashboard.widgets.line import Line
from dashboard.widgets.status_strip import failure_words
from dashboard.wording import Wording

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to type besides the confirmation; `label` is a wording key."""

    name: str
    label: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One change: what it says, what must be typed to confirm it, and the request it becomes."""

    title: str
    facts: tuple[tuple[str, str], ...]
    phrase: Callable[[Values], tuple[str, ...]]
    """What confirms, given the fields: any one of these, exactly."""
    request: Callable[[Values], tuple[str, dict[str, Any] | None] | str]
    """Path and body, or the wording key of what is wrong with the fields."""
    fields: tuple[Field, ...] = ()


def refundable_fen(order: Record) -> int | None:
    """What can still be given back: paid, less every refund that did not fail."""
    paid = whole(member(order, "amount", "payer_total"))
    total = whole(member(order, "amount", "total"))
    if total is None:
        return None
    if order.get("status") != "PAID":
        total = paid if order.get("transaction_id") is not None else 0
    refunds = order.get("refunds")
    taken = sum(
        whole(member(refund, "amount", "refund")) or 0
        for refund in (refunds if isinstance(refunds, list) else ())
        if member(refund, "status") != "REFUND_FAIL"
    )
    return max((total or 0) - taken, 0)


def refund_plan(order: Record, say: Wording) -> Plan:
    """Give back all or part of an order."""
    number, left = str(order.get("out_trade_no")), refundable_fen(order) or 0

    def request(values: Values) -> tuple[str, dict[str, Any] | None] | str:
        fen = fen_of(values["amount"])
        if fen is None or fen < 1:
            return "wrong_amount"
        if fen > left:
            return "amount_above"
        body: dict[str, Any] = {"out_trade_no": number, "amount": {"refund": fen}}
        if values["reason"].strip():
            body["reason"] = values["reason"].strip()
        return "/pay/refund", body

    def phrase(values: Values) -> tuple[str, ...]:
        fen = fen_of(values["amount"])
        typed = () if fen is None else (yuan(fen, sign=""), yuan(fen, sign="").replace(",", ""), yuan(fen))
        return (number, *typed)

    return Plan(
        "plan_refund",
        (
            ("column_out_trade_no", words(number)),
            ("column_amount", yuan(member(order, "amount", "total"))),
            ("fact_refundable", yuan(left)),
            ("column_description", words(order.get("description"))),
        ),
        phrase,
        request,
        (Field("amount", "field_amount", yuan(left, sign="").replace(",", "")), Field("reason", "field_reason")),
    )


def close_plan(order: Record, say: Wording) -> Plan:
    """Close an unpaid order at WeChat."""
    number = str(order.get("out_trade_no"))
    return Plan(
        "plan_close",
        (
            ("column_out_trade_no", words(number)),
            ("column_amount", yuan(member(order, "amount", "total"))),
            ("column_description", words(order.get("description"))),
        ),
        lambda values: (number,),
        lambda values: ("/pay/close", {"out_trade_no": number}),
    )


def resend_plan(delivery: Record, say: Wording) -> Plan:
    """Send a webhook again."""
    key = str(delivery.get("id"))
    return Plan(
        "plan_resend",
        (
            ("column_id", words(key)),
            ("column_type", words(delivery.get("type"))),
            ("column_url", words(delivery.get("url"))),
        ),
        lambda values: (key,),
        lambda values: (path_of("pay", "deliveries", key, "resend"), None),
    )


def resolve_plan(discrepancy: Record, say: Wording) -> Plan:
    """Close a discrepancy with a note."""
    key, number = str(discrepancy.get("id")), discrepancy.get("out_trade_no")

    def request(values: Values) -> tuple[str, dict[str, Any] | None] | str:
        note = values["note"].strip()
        return (path_of("pay", "discrepancies", key, "resolve"), {"note": note}) if note else "note_missing"

    return Plan(
        "plan_resolve",
        (
            ("column_id", words(key)),
            ("column_kind", words(discrepancy.get("kind"))),
            ("column_out_trade_no", words(number)),
            ("column_detail", words(discrepancy.get("detail"))),
        ),
        lambda values: (str(number) if number else key,),
        request,
        (Field("note", "field_note"),),
    )


class ConfirmDialog(ModalScreen[bool]):
    """Shows a Plan, sends it once confirmed, shows what came of it. Returns whether it was accepted."""

    BINDINGS = [Binding("escape", "leave", show=False)]

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._sending = False
        self._sent: Action | None = None
        self.outcome: Outcome | None = None
        self.idempotency_key = ""

    def compose(self) -> ComposeResult:
        board = self.app
        say: Wording = board.say  # type: ignore[attr-defined]
        self.idempotency_key = board.new_key()  # type: ignore[attr-defined]
        with VerticalScroll(classes="dialog", can_focus=False) as box:
            box.border_title = say(self._plan.title)
            yield Line(id="facts", fixed=False)
            for field in self._plan.fields:
                yield Label(say(field.label))
                yield Input(value=field.value, id=f"field-{field.name}", compact=True, max_length=200)
            yield Line(id="ask", fixed=False)
            yield Input(id="confirm", compact=True, max_length=200)
            yield Line(id="result", fixed=False)

    def on_mount(self) -> None:
        """Write the facts and ask."""
        board, text = self.app, self.paint.text()
        say: Wording = board.say  # type: ignore[attr-defined]
        for label, fact in self._plan.facts:
            text.append_text(self.paint.text((f"{say(label)}: ", "dim"), (literal(fact, limit=200), "title"), "\n"))
        text.append_text(self.paint.text((f"Idempotency-Key: {self.idempotency_key}", "dim")))
        self.query_one("#facts", Line).show(text)
        self._ask()
        self.query(Input).first().focus()

    @property
    def paint(self) -> Any:
        """The application's paint."""
        return self.app.paint  # type: ignore[attr-defined]

    def values(self) -> Values:
        """What is typed in the fields."""
        return {field.name: self.query_one(f"#field-{field.name}", Input).value for field in self._plan.fields}

    def on_input_changed(self, event: Input.Changed) -> None:
        """The amount is part of the question; what was said about the last try is about that one."""
        if not self.is_mounted:
            return
        if self._sent is None:
            self._tell()
        if event.input.id != "confirm":
            self._ask()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field goes on to the confirmation; enter there sends."""
        event.stop()
        if event.input.id != "confirm":
            self.query_one("#confirm", Input).focus()
            return
        if self.outcome is not None and self.outcome.settled:
            self.action_leave()
        elif not self._sending:
            self._send(event.value)

    def _ask(self) -> None:
        say: Wording = self.app.say  # type: ignore[attr-defined]
        phrases = self._plan.phrase(self.values())
        shown = f" {say('or')} ".join(literal(phrase) for phrase in (phrases[0], *phrases[1:2]))
        self.query_one("#ask", Line).show(self.paint.text((say("type_to_confirm", phrase=shown), "wait")))

    def _send(self, typed: str) -> None:
        say: Wording = self.app.say  # type: ignore[attr-defined]
        if self._sent is None:
            request = self._plan.request(self.values())
            if isinstance(request, str):
                self._tell((say(request), "bad"))
                return
            if typed.strip() not in self._plan.phrase(self.values()):
                self._tell((say("confirm_mismatch"), "bad"))
                return
            self._sent = Action(request[0], request[1], self.idempotency_key)
            for field in self._plan.fields:
                self.query_one(f"#field-{field.name}", Input).disabled = True
        self._sending = True
        self._tell((say("sending"), "wait"))
        self.run_worker(self._carry_out(self._sent), exit_on_error=False)

    async def _carry_out(self, action: Action) -> None:
        try:
            self.outcome = await self.app.carry_out(action)  # type: ignore[attr-defined]
        finally:
            self._sending = False
        self._show_outcome(self.outcome)

    def _show_outcome(self, outcome: Outcome) -> None:
        say: Wording = self.app.say  # type: ignore[attr-defined]
        code = literal(outcome.failure.code, limit=40) if outcome.failure and outcome.failure.code else ""
        if outcome.status in (200, 201) or (outcome.status == 202 and self._plan.title == "plan_resend"):
            status = member(outcome.body, "status")
            self.outcome = Outcome(200, outcome.body)
            self._tell(
                (f"✓ {say('outcome_done')} {words(status) if status else ''}", "good"),
                "\n",
                (say("outcome_leave"), "dim"),
            )
        elif not outcome.settled:
            reason = failure_words(outcome.failure, say)
            self._tell((f"◐ {say('outcome_unknown')} {reason} {code}", "wait"), "\n", (say("outcome_repeat"), "dim"))
        else:
            detail = literal(outcome.failure.detail, limit=200) if outcome.failure else ""
            told = f"✗ {say('outcome_refused')} ({outcome.status} {code}) {detail}"
            self._tell((told, "bad"), "\n", (say("outcome_leave"), "dim"))

    def _tell(self, *pieces: tuple[str, str] | str) -> None:
        self.query_one("#result", Line).show(self.paint.text(*pieces))

    def action_leave(self) -> None:
        """Escape: leave; a request on its way is carried out by the daemon all the same."""
        self.dismiss(self.outcome is not None and self.outcome.accepted)
