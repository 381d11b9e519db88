"""Prepay, query and close, by sections 5 and 6 of PROTOCOL.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from payd.sandbox import views
from payd.sandbox.clock import parse_rfc3339
from payd.sandbox.errors import Refusal
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.fields import Place
from payd.sandbox.records import Order
from payd.sandbox.refusals import refusal
from payd.sandbox.request_rules import CLOSE, DETAIL_BYTES, MCHID, OUT_TRADE_NO, PREPAY
from payd.sandbox.world import World

DAY_SECONDS = 86_400
PAYABLE_SECONDS = 7 * DAY_SECONDS  # payable without time_expire, and age of the automatic close
LONGEST_EXPIRY_SECONDS = 15 * DAY_SECONDS
SHORTEST_EXPIRY_SECONDS = 60
#: product -> seconds for which its prepay_id, code_url or h5_url is good (section 5.1)
CODE_SECONDS = {"native": 7200, "jsapi": 7200, "app": 7200, "h5": 300}


class PayApi:
    """The payment endpoints; every method takes an authentic call and answers or raises Refusal."""

    def __init__(self, world: World) -> None:
        self._world = world

    def prepay(self, call: Call) -> Answer:
        """POST /v3/pay/transactions/{product}: a new order, or fresh codes for the same one."""
        product = call.arguments["product"]
        body = dict(call.body)
        self._check_prepay(product, body)
        out_trade_no: str = body["out_trade_no"]
        known = self._world.book.orders.get(out_trade_no)
        if known is not None:
            order = self._reenter(known, product, body, call.now)
        elif out_trade_no in self._world.book.burnt:
            raise refusal("reentry_invalid")
        else:
            order = self._new_order(product, body, call.now)
            self._world.agenda.at(order.auto_close_at, "order", out_trade_no)
        self._world.book.put(order)
        if product == "native":
            return Answer.of({"code_url": order.pay_url})
        if product == "h5":
            return Answer.of({"h5_url": order.pay_url})
        return Answer.of({"prepay_id": order.prepay_id})

    def _check_prepay(self, product: str, body: dict[str, Any]) -> None:
        """Everything about a prepay body that needs no look at the book."""
        self._check_mchid(body)
        PREPAY[product].check(body, Place("body"))
        if body["appid"] not in self._world.vault.appids:
            raise refusal("appid_mchid")
        if "detail" in body and len(orjson.dumps(body["detail"])) > DETAIL_BYTES:
            raise (
                Place("body")
                .at("detail")
                .wrong(f"对象字段“优惠功能”规则校验失败，字节数大于最大值 {DETAIL_BYTES}", None)
            )

    def _check_mchid(self, body: dict[str, Any]) -> None:
        """A body that names another merchant than the Authorization header (section 1.1)."""
        named = body.get("mchid")
        if isinstance(named, str) and named and named != self._world.merchant.mchid:
            raise refusal("mchid_body")

    def _new_order(self, product: str, body: dict[str, Any], now: float) -> Order:
        payable_until = now + PAYABLE_SECONDS
        if "time_expire" in body:
            wanted = parse_rfc3339(body["time_expire"])
            assert wanted is not None
            payable_until = min(max(wanted, now + SHORTEST_EXPIRY_SECONDS), now + LONGEST_EXPIRY_SECONDS)
        prepay_id = self._world.identifiers.prepay_id(now)
        return Order(
            out_trade_no=body["out_trade_no"],
            product=product,
            request=body,
            created_at=now,
            payable_until=payable_until,
            # section 15 no. 16: seven days against fifteen; the later one wins here
            auto_close_at=max(now + PAYABLE_SECONDS, payable_until),
            prepay_id=prepay_id,
            pay_url=self._pay_url(product, prepay_id),
            prepaid_at=now,
            prepay_count=1,
            trade_state="NOTPAY",
        )

    def _reenter(self, order: Order, product: str, body: dict[str, Any], now: float) -> Order:
        """The same number again: only the very same unpaid order gets new codes (section 5.3)."""
        if order.paid:
            raise _paid(self._world.switches.paid_refusal)
        if order.trade_state != "NOTPAY":
            raise refusal("order_closed")
        if order.product != product or _content(order.request) != _content(body):
            invalid = self._world.switches.reentry_refusal == "INVALID_REQUEST"
            raise refusal("reentry_invalid" if invalid else "reentry_used")
        if now >= order.payable_until:
            raise refusal("order_closed")
        prepay_id = self._world.identifiers.prepay_id(now)
        return replace(
            order,
            prepay_id=prepay_id,
            pay_url=self._pay_url(product, prepay_id),
            prepaid_at=now,
            prepay_count=order.prepay_count + 1,
        )

    def _pay_url(self, product: str, prepay_id: str) -> str | None:
        identifiers = self._world.identifiers
        if product == "native":
            return f"weixin://wxpay/bizpayurl?pr={identifiers.code(9)}"
        if product == "h5":
            return (
                "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb"
                f"?prepay_id={prepay_id}&package={identifiers.package()}"
            )
        return None

    def query(self, call: Call) -> Answer:
        """GET by out_trade_no or transaction_id, in any state (section 6.1)."""
        self._check_query_mchid(call)
        if "transaction_id" in call.arguments:
            order = self._world.book.order_by_transaction(call.arguments["transaction_id"])
        else:
            out_trade_no = call.arguments["out_trade_no"]
            OUT_TRADE_NO.check(out_trade_no, Place("uri_template", "/out_trade_no"))
            order = self._world.book.orders.get(out_trade_no)
        if order is None:
            raise refusal("order_not_exist")
        return Answer.of(views.transaction(order, self._world.merchant))

    def _check_query_mchid(self, call: Call) -> None:
        if call.query["mchid"] != self._world.merchant.mchid:
            raise refusal("mchid_query")

    def close(self, call: Call) -> Answer:
        """POST .../close: 204 for an unpaid order, again and again (section 6.2)."""
        body = dict(call.body)
        self._check_mchid(body)
        if "mchid" not in body:
            # in the capture this one complaint names the path template and not the body
            raise Place("uri_template").at("mchid").missing(MCHID.label)
        CLOSE.check(body, Place("body"))
        out_trade_no = call.arguments["out_trade_no"]
        OUT_TRADE_NO.check(out_trade_no, Place("uri_template", "/out_trade_no"))
        order = self._world.book.orders.get(out_trade_no)
        if order is None:
            self._close_unknown(out_trade_no)
        elif order.paid:
            raise _paid(self._world.switches.paid_refusal)
        elif order.trade_state == "NOTPAY":
            self._world.book.put(replace(order, trade_state="CLOSED", closed_at=call.now))
        return Answer(204)

    def _close_unknown(self, out_trade_no: str) -> None:
        """A number never seen: burnt by the close, or refused, as the switch says (section 15 no. 12)."""
        if self._world.switches.close_unknown == "not_found":
            raise refusal("order_not_exist")
        self._world.book.burn(out_trade_no)

    def close_by_age(self, out_trade_no: str, due: float) -> None:
        """The agenda's close of an order that nobody paid for seven days."""
        order = self._world.book.orders[out_trade_no]
        if order.trade_state == "NOTPAY" and order.auto_close_at == due:
            self._world.book.put(replace(order, trade_state="CLOSED", closed_at=due))
            self._world.commit()


def _content(body: dict[str, Any]) -> dict[str, Any]:
    """What re-entry compares: all but ``time_expire``, of which only the first value counts (5.2)."""
    return {name: value for name, value in body.items() if name != "time_expire"}


def _paid(spelling: str) -> Refusal:
    """The refusal of a paid order, in the spelling that the switch chose (section 15 no. 10)."""
    answer = refusal("order_paid")
    answer.code = spelling
    return answer
