"""What the person with the telephone does: pay, or fail to pay. Only the control API and faults call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from payd.sandbox.errors import ControlRefused
from payd.sandbox.notifier import Notifier
from payd.sandbox.pay_api import CODE_SECONDS
from payd.sandbox.records import Order
from payd.sandbox.witness import RequestWitness
from payd.sandbox.world import World

#: trade_state that /_sandbox/fail may set; only code payments know the last two in reality (section 6.1)
FAILURES = ("NOTPAY", "PAYERROR", "REVOKED")
_CLIENT_WINDOW_SECONDS = 7200
_JSAPI_MEMBERS = frozenset(("appId", "timeStamp", "nonceStr", "package", "signType", "paySign"))
_APP_MEMBERS = frozenset(("appId", "partnerId", "prepayId", "packageValue", "nonceStr", "timeStamp", "sign"))


@dataclass(frozen=True, slots=True)
class Payment:
    """How the payer pays. ``force`` pays an order that could not be paid any more (late money)."""

    openid: str | None = None
    payer_total: int | None = None
    bank_type: str = "OTHERS"
    notify: bool = True
    force: bool = False


class Payer:
    """Pays orders of the book and has WeChat announce it."""

    def __init__(self, world: World, notifier: Notifier, witness: RequestWitness) -> None:
        self._world = world
        self._notifier = notifier
        self._witness = witness

    def pay(self, order: Order, payment: Payment) -> Order:
        """Move the money. Raises ControlRefused when a real payer could not; then nothing has moved."""
        now = self._world.clock.now()
        if order.paid:
            raise ControlRefused("ORDERPAID", f"{order.out_trade_no} is paid already")
        if not payment.force:
            self._refuse_unpayable(order, now)
        payer_total = order.total if payment.payer_total is None else payment.payer_total
        if not 0 <= payer_total <= order.total:
            raise ControlRefused("PARAM_ERROR", f"payer_total must be 0 to {order.total}", status=400)
        openid = payment.openid or order.request.get("payer", {}).get("openid")
        paid = replace(
            order,
            trade_state="SUCCESS",
            transaction_id=self._world.identifiers.transaction_id(now),
            success_at=now,
            openid=openid or f"oSandbox{self._world.identifiers.code(20)}",
            payer_total=payer_total,
            bank_type=payment.bank_type,
        )
        self._world.book.put(paid)
        if payment.notify and self._world.switches.notify_payments:
            self._notifier.announce_payment(paid, now)
        return paid

    def _refuse_unpayable(self, order: Order, now: float) -> None:
        number = order.out_trade_no
        if order.trade_state != "NOTPAY":
            raise ControlRefused("ORDER_CLOSED", f"{number} is {order.trade_state}")
        if now >= order.payable_until:
            raise ControlRefused("ORDER_EXPIRED", f"time_expire of {number} has passed; it stays NOTPAY")
        if now >= order.prepaid_at + CODE_SECONDS[order.product]:
            raise ControlRefused("CODE_EXPIRED", f"the code of {number} is too old; prepay again for a new one")

    def fail(self, order: Order, trade_state: str) -> Order:
        """A payment attempt that fails; the order stays NOTPAY unless another state is asked for."""
        if order.trade_state != "NOTPAY":
            raise ControlRefused("ORDER_CLOSED", f"{order.out_trade_no} is {order.trade_state}")
        failed = replace(order, trade_state=trade_state, failed_attempts=order.failed_attempts + 1)
        self._world.book.put(failed)
        return failed

    def check_pay_params(self, order: Order, params: Mapping[str, Any]) -> None:
        """Check what the merchant's server gave to the client (section 5.5), as the WeChat app would."""
        app = order.product == "app"
        if order.product not in ("app", "jsapi"):
            raise ControlRefused("PAY_PARAMS_INVALID", f"{order.product} has no client parameters", status=400)
        members = _APP_MEMBERS if app else _JSAPI_MEMBERS
        if params.keys() != members or not all(isinstance(value, str) for value in params.values()):
            raise ControlRefused(
                "PAY_PARAMS_INVALID", f"must be exactly these, as strings: {', '.join(sorted(members))}", status=400
            )
        wanted = {"appId": order.request["appid"]} | (
            {"partnerId": self._world.merchant.mchid, "prepayId": order.prepay_id, "packageValue": "Sign=WXPay"}
            if app
            else {"package": f"prepay_id={order.prepay_id}", "signType": "RSA"}
        )
        wrong = [name for name, value in wanted.items() if params[name] != value]
        timestamp = params["timeStamp"]
        if not timestamp.isdigit() or abs(self._world.clock.wall() - int(timestamp)) > _CLIENT_WINDOW_SECONDS:
            wrong.append("timeStamp")
        if not 1 <= len(params["nonceStr"]) <= 32:
            wrong.append("nonceStr")
        last = order.prepay_id if app else params["package"]
        lines = (params["appId"], timestamp, params["nonceStr"], last)
        signature = "sign" if app else "paySign"
        if not self._witness.verify_text(lines, params[signature]):
            wrong.append(signature)
        if wrong:
            raise ControlRefused("PAY_PARAMS_INVALID", f"wrong: {', '.join(wrong)}", status=400)
