"""Refunds: create, query, abnormal refund, and how they end by themselves (section 7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from payd.sandbox import views
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.fields import Place
from payd.sandbox.notifier import Notifier
from payd.sandbox.payload_cipher import decrypt_field
from payd.sandbox.records import Order, Refund
from payd.sandbox.refusals import refusal
from payd.sandbox.request_rules import ABNORMAL_REFUND, OUT_REFUND_NO, REFUND
from payd.sandbox.world import World

WINDOW_SECONDS = 365 * 86_400
MOST_REFUNDS = 50
NO_FUNDS_SECONDS = 7 * 86_400  # section 7.6: a refund without funds is closed after seven days
_COMPARED = ("transaction_id", "out_trade_no", "amount", "reason", "funds_account", "goods_detail", "notify_url")
_BANK_FIELDS = ("bank_type", "bank_account", "real_name")


class RefundApi:
    """The refund endpoints; every method takes an authentic call and answers or raises Refusal."""

    def __init__(self, world: World, notifier: Notifier) -> None:
        self._world = world
        self._notifier = notifier

    def create(self, call: Call) -> Answer:
        """POST /v3/refund/domestic/refunds. 200 means accepted, not refunded."""
        body = dict(call.body)
        self._check(body)
        known = self._world.book.refunds.get(body["out_refund_no"])
        if known is not None:
            if any(known.request.get(name) != body.get(name) for name in _COMPARED):
                raise refusal("refund_reentry")
            return Answer.of(views.refund(known))
        order = self._order(body)
        self._check_against_order(order, body, call.now)
        record = self._accept(order, body, call.now)
        return Answer.of(views.refund(record))

    def _check(self, body: dict[str, Any]) -> None:
        REFUND.check(body, Place("body"))
        if "transaction_id" not in body and "out_trade_no" not in body:
            raise Place("body").at("transaction_id").missing("微信支付订单号")
        sources = body["amount"].get("from", [])
        if sources and sum(source["amount"] for source in sources) != body["amount"]["refund"]:
            raise refusal("refund_from_differs")

    def _order(self, body: dict[str, Any]) -> Order:
        """The paid order that is meant; two numbers must mean the same one."""
        book = self._world.book
        found = [
            order
            for name, look in (("transaction_id", book.order_by_transaction), ("out_trade_no", book.orders.get))
            if name in body and (order := look(body[name])) is not None
        ]
        if len({order.out_trade_no for order in found}) > 1:
            raise refusal("refund_ids_differ")
        wanted = sum(name in body for name in ("transaction_id", "out_trade_no"))
        if len(found) < wanted or not found[0].paid:
            raise refusal("refund_order_not_exist")
        return found[0]

    def _check_against_order(self, order: Order, body: dict[str, Any], now: float) -> None:
        """The business rules of section 7.3; refunds that ended CLOSED count for none of them."""
        assert order.success_at is not None
        amount = body["amount"]
        living = [item for item in self._world.book.refunds_of(order.out_trade_no) if item.status != "CLOSED"]
        if amount["total"] != order.total:
            raise refusal("refund_total_differs")
        if now > order.success_at + WINDOW_SECONDS:
            raise refusal("refund_overdue")
        if sum(item.refund for item in living) + amount["refund"] > order.total:
            raise refusal("refund_too_much")
        if len(living) >= MOST_REFUNDS:
            raise refusal("refund_count")
        interval = self._world.switches.refund_minimum_interval_seconds
        if living and now < living[-1].created_at + interval:
            raise refusal("refund_interval")

    def _accept(self, order: Order, body: dict[str, Any], now: float) -> Refund:
        switches = self._world.switches
        held = switches.refund_outcome == "hold"
        settle_at = now + (NO_FUNDS_SECONDS if held else switches.refund_delay_seconds)
        record = Refund(
            out_refund_no=body["out_refund_no"],
            refund_id=self._world.identifiers.refund_id(now),
            out_trade_no=order.out_trade_no,
            transaction_id=str(order.transaction_id),
            request=body,
            total=order.total,
            refund=body["amount"]["refund"],
            payer_total=order.payer_total or 0,
            payer_refund=self._payer_refund(order, body["amount"]["refund"]),
            status="PROCESSING",
            created_at=now,
            settle_at=settle_at,
            settle_as="CLOSED" if held else switches.refund_outcome,
        )
        self._world.book.put(record)
        self._world.book.put(replace(order, trade_state="REFUND"))
        self._world.agenda.at(settle_at, "refund", record.out_refund_no)
        return record

    def _payer_refund(self, order: Order, wanted: int) -> int:
        """The payer's share, rounded; the refund that empties the order gives back exactly the rest."""
        payer_total = order.payer_total or 0
        living = [item for item in self._world.book.refunds_of(order.out_trade_no) if item.status != "CLOSED"]
        rest = payer_total - sum(item.payer_refund for item in living)
        if sum(item.refund for item in living) + wanted == order.total:
            return rest
        return min(rest, (wanted * payer_total * 2 + order.total) // (2 * order.total))

    def query(self, call: Call) -> Answer:
        """GET /v3/refund/domestic/refunds/{out_refund_no}, without query parameters."""
        out_refund_no = call.arguments["out_refund_no"]
        OUT_REFUND_NO.check(out_refund_no, Place("uri_template", "/out_refund_no"))
        record = self._world.book.refunds.get(out_refund_no)
        if record is None:
            raise refusal("refund_not_exist")
        return Answer.of(views.refund(record))

    def abnormal(self, call: Call) -> Answer:
        """POST .../apply-abnormal-refund: only in state ABNORMAL, card and name encrypted (section 7.5)."""
        body = dict(call.body)
        ABNORMAL_REFUND.check(body, Place("body"))
        record = self._world.book.refund_by_id(call.arguments["refund_id"])
        if record is None:
            raise refusal("refund_not_exist")
        if record.out_refund_no != body["out_refund_no"]:
            raise refusal("refund_ids_differ")
        card = self._card(body, call.wechatpay_serial) if body["type"] == "USER_BANK_CARD" else None
        if record.status != "ABNORMAL":
            raise refusal("refund_not_abnormal")
        settle_at = call.now + self._world.switches.refund_delay_seconds
        record = replace(
            record,
            status="PROCESSING",
            settle_at=settle_at,
            settle_as="SUCCESS",
            channel="OTHER_BANKCARD" if card else record.channel,
            user_received_account=card or "商户结算银行账户",
        )
        self._world.book.put(record)
        self._world.agenda.at(settle_at, "refund", record.out_refund_no)
        return Answer.of(views.refund(record))

    def _card(self, body: dict[str, Any], serial: str | None) -> str:
        """The card in WeChat's words, after decrypting what must be encrypted (section 4.2)."""
        for name in _BANK_FIELDS:
            if name not in body:
                raise Place("body").at(name).missing(ABNORMAL_REFUND.members[name].label)
        if serial is None:
            raise refusal("platform_serial_missing")
        key = self._world.keys.signer(serial).private_key
        try:
            account, _ = (decrypt_field(body[name], key) for name in ("bank_account", "real_name"))
        except ValueError as exc:
            raise refusal("sensitive_field") from exc
        return f"{body['bank_type']}借记卡{account[-4:]}"

    def settle(self, out_refund_no: str, due: float) -> None:
        """The agenda's end of a PROCESSING refund."""
        record = self._world.book.refunds[out_refund_no]
        if record.status == "PROCESSING" and record.settle_at == due:
            self.finish(record, record.settle_as, due)
            self._world.commit()

    def finish(self, record: Refund, status: str, now: float) -> Refund:
        """End a refund as SUCCESS, CLOSED or ABNORMAL and announce it."""
        moments = {"SUCCESS": "success_at", "CLOSED": "closed_at", "ABNORMAL": "abnormal_at"}
        changes: dict[str, Any] = {"status": status, "settle_at": None, moments[status]: now}
        finished = replace(record, **changes)
        self._world.book.put(finished)
        if self._world.switches.notify_refunds:
            self._notifier.announce_refund(finished, now)
        return finished
