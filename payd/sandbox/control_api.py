"""The control API under ``/_sandbox/``: act as the payer, set faults, move the clock, read the book.

JSON in, JSON out; errors are 4xx with ``{code, message}`` and leave everything as it was. No key is asked
for, hence only loopback clients that name a loopback host are served: a web page elsewhere cannot reach it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from tornado.httputil import HTTPHeaders, HTTPServerRequest

from payd.sandbox import control_views, wire
from payd.sandbox.call_log import CallLog
from payd.sandbox.envelope import Tampering
from payd.sandbox.errors import ControlRefused
from payd.sandbox.exchange import Answer
from payd.sandbox.faults import KINDS, Faults
from payd.sandbox.key_control import KeyControl
from payd.sandbox.loopback_poster import is_loopback_host, is_loopback_url
from payd.sandbox.notifier import Notifier
from payd.sandbox.payer import FAILURES, Payer, Payment
from payd.sandbox.records import REFUND_STATES, Order
from payd.sandbox.refund_api import NO_FUNDS_SECONDS, RefundApi
from payd.sandbox.witness import RequestWitness
from payd.sandbox.world import World

_log = logging.getLogger("payd.sandbox")
LONGEST_ADVANCE_SECONDS = 10 * 366 * 86_400
_PAY_CODES = ("out_trade_no", "prepay_id", "code_url", "h5_url")


@dataclass(frozen=True, slots=True)
class Control:
    """One control call: path parameter, query and body."""

    key: str
    query: dict[str, str]
    body: dict[str, Any]


Handler = Callable[[Control], dict[str, Any] | Awaitable[dict[str, Any]]]


class ControlApi:
    """Serves the control calls; ``_ROUTES`` is the whole list."""

    def __init__(
        self,
        world: World,
        *,
        faults: Faults,
        payer: Payer,
        refunds: RefundApi,
        notifier: Notifier,
        keys: KeyControl,
        log: CallLog,
        witness: RequestWitness,
    ) -> None:
        self._world = world
        self._faults = faults
        self._payer = payer
        self._refunds = refunds
        self._notifier = notifier
        self._keys = keys
        self._log = log
        self._witness = witness
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "pay"): self._pay,
            ("POST", "fail"): self._fail,
            ("POST", "refunds/{}"): self._refund,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "clock"): self._show_clock,
            ("POST", "clock"): self._advance,
            ("GET", "keys"): self._show_keys,
            ("POST", "keys"): self._change_keys,
            ("GET", "switches"): self._show_switches,
            ("POST", "switches"): self._change_switches,
            ("GET", "book"): self._book,
            ("GET", "calls"): self._calls,
            ("POST", "notifications"): self._craft,
            ("POST", "notifications/{}/resend"): self._resend,
        }

    def serve(self, request: HTTPServerRequest) -> None:
        """Answer one control call in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for the calls under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _serve(self, request: HTTPServerRequest) -> None:
        try:
            handler, control = self._admit(request)
            outcome = handler(control)
            value = outcome if isinstance(outcome, dict) else await outcome
            self._world.commit()
            # A large book takes long to write down, so it is done beside the loop.
            body = await asyncio.get_running_loop().run_in_executor(None, orjson.dumps, value)
            answer = Answer(200, body)
        except ControlRefused as refused:
            answer = Answer.of({"code": refused.code, "message": refused.message}, refused.status)
        except Exception as exc:
            # A fault of the simulator itself: the caller must hear of it and the log must show where.
            _log.exception("control call %s %s failed", request.method, request.path)
            answer = Answer.of({"code": "SIMULATOR_FAILED", "message": repr(exc)}, 500)
        headers = HTTPHeaders(
            {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), "Cache-Control": "no-store"}
        )
        wire.write(request, answer, headers)

    def _admit(self, request: HTTPServerRequest) -> tuple[Handler, Control]:
        host = re.sub(r":\d+$", "", request.host).strip("[]")
        origin = request.headers.get("Origin")
        near = is_loopback_host(request.remote_ip) and is_loopback_host(host)
        if not near or (origin is not None and not is_loopback_url(origin)):
            raise ControlRefused("FORBIDDEN", "the control API is for loopback only", status=403)
        path = request.path.removeprefix("/_sandbox/")
        template = re.sub(r"^(refunds|notifications)/[^/]+", r"\1/{}", path)
        handler = self._routes.get((request.method or "", template))
        if handler is None:
            known = any(name == template for _, name in self._routes)
            raise ControlRefused(
                "METHOD_NOT_ALLOWED" if known else "NOT_FOUND",
                f"no {request.method} {request.path}",
                status=405 if known else 404,
            )
        key = unquote(path.split("/")[1]) if "/" in path else ""
        return handler, Control(key, dict(parse_qsl(request.query)), _json(request))

    def _order(self, body: dict[str, Any]) -> Order:
        """The order that is named, by its number or by the code the payer has in hand."""
        names = [name for name in _PAY_CODES if name in body]
        if len(names) != 1 or not isinstance(body[names[0]], str):
            raise ControlRefused("PARAM_ERROR", f"name the order by one of {', '.join(_PAY_CODES)}", status=400)
        value = body[names[0]]
        book = self._world.book
        order = book.orders.get(value) if names[0] == "out_trade_no" else book.order_by_pay_code(value)
        if order is None:
            raise ControlRefused("ORDER_NOT_EXIST", f"no order has {names[0]} {value}", status=404)
        if names[0] != "out_trade_no" and value not in (order.prepay_id, order.pay_url):
            raise ControlRefused("CODE_EXPIRED", "a later prepay has replaced this code")
        return order

    async def _pay(self, control: Control) -> dict[str, Any]:
        body = control.body
        _only(body, *_PAY_CODES, "openid", "payer_total", "bank_type", "notify", "force", "pay_params", "wait")
        order = self._order(body)
        if "pay_params" in body:
            self._payer.check_pay_params(order, _typed(body, "pay_params", dict))
        payment = Payment(
            openid=_typed(body, "openid", str),
            payer_total=_typed(body, "payer_total", int),
            bank_type=_typed(body, "bank_type", str) or "OTHERS",
            notify=_typed(body, "notify", bool) is not False,
            force=_typed(body, "force", bool) is True,
        )
        paid = self._payer.pay(order, payment)
        self._world.commit()
        if _typed(body, "wait", bool):
            await self._world.agenda.advance(0)
        return control_views.order(paid, self._world.merchant)

    def _fail(self, control: Control) -> dict[str, Any]:
        _only(control.body, *_PAY_CODES, "trade_state")
        order = self._order(control.body)
        trade_state = _typed(control.body, "trade_state", str) or "NOTPAY"
        if trade_state not in FAILURES:
            raise ControlRefused("PARAM_ERROR", f"trade_state must be one of {', '.join(FAILURES)}", status=400)
        return control_views.order(self._payer.fail(order, trade_state), self._world.merchant)

    async def _refund(self, control: Control) -> dict[str, Any]:
        _only(control.body, "status", "wait")
        status = _typed(control.body, "status", str)
        record = self._world.book.refunds.get(control.key)
        if record is None:
            raise ControlRefused("RESOURCE_NOT_EXISTS", f"no refund {control.key}", status=404)
        if status not in REFUND_STATES:
            raise ControlRefused("PARAM_ERROR", f"status must be one of {', '.join(REFUND_STATES)}", status=400)
        movable = record.status == "PROCESSING" or (record.status == "ABNORMAL" and status == "SUCCESS")
        if not movable:
            raise ControlRefused("REFUND_FINISHED", f"{control.key} is {record.status}")
        now = self._world.clock.now()
        if status == "PROCESSING":
            held = replace(record, settle_at=now + NO_FUNDS_SECONDS, settle_as="CLOSED")
            self._world.book.put(held)
            self._world.agenda.at(now + NO_FUNDS_SECONDS, "refund", control.key)
            record = held
        else:
            record = self._refunds.finish(record, status, now)
        self._world.commit()
        if _typed(control.body, "wait", bool):
            await self._world.agenda.advance(0)
        return control_views.refund(record)

    def _list_faults(self, _control: Control) -> dict[str, Any]:
        return {
            "faults": [control_views.fault(rule) for rule in self._faults.rules],
            "kinds": {name: kind.meaning for name, kind in KINDS.items()},
        }

    def _add_fault(self, control: Control) -> dict[str, Any]:
        return control_views.fault(self._faults.add(control.body))

    def _clear_faults(self, _control: Control) -> dict[str, Any]:
        return {"cleared": self._faults.clear()}

    def _show_clock(self, _control: Control) -> dict[str, Any]:
        return control_views.clock(self._world)

    async def _advance(self, control: Control) -> dict[str, Any]:
        _only(control.body, "advance_seconds")
        seconds = control.body.get("advance_seconds")
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 <= float(seconds or 0) <= LONGEST_ADVANCE_SECONDS:
            raise ControlRefused("PARAM_ERROR", f"advance_seconds must be 0 to {LONGEST_ADVANCE_SECONDS}", status=400)
        fired = await self._world.agenda.advance(float(seconds or 0))
        self._world.book.set_meta(offset_seconds=self._world.clock.offset_seconds)
        return control_views.clock(self._world) | {"fired": fired}

    def _show_keys(self, _control: Control) -> dict[str, Any]:
        return self._keys.view()

    async def _change_keys(self, control: Control) -> dict[str, Any]:
        _only(control.body, "mode", "rotate")
        await self._keys.change(mode=_typed(control.body, "mode", str), rotate=control.body.get("rotate"))
        return self._keys.view()

    def _show_switches(self, _control: Control) -> dict[str, Any]:
        return asdict(self._world.switches)

    def _change_switches(self, control: Control) -> dict[str, Any]:
        self._world.switches = self._world.switches.changed(control.body)
        self._witness.refuse_replays = self._world.switches.refuse_replays
        self._world.book.set_meta(switches=asdict(self._world.switches))
        return asdict(self._world.switches)

    async def _book(self, control: Control) -> dict[str, Any]:
        limit = control.query.get("limit")
        if limit is not None and not limit.isdigit():
            raise ControlRefused("PARAM_ERROR", "limit must be a whole number", status=400)
        snapshot = control_views.snapshot(
            self._world,
            self._faults,
            self._log,
            out_trade_no=control.query.get("out_trade_no"),
            limit=None if limit is None else int(limit),
        )
        # Records are frozen, so a thread can write a large book down while the loop goes on.
        return await asyncio.get_running_loop().run_in_executor(None, control_views.book, snapshot)

    def _calls(self, _control: Control) -> dict[str, Any]:
        return {"calls": self._log.counters(), "recent": self._log.recent()}

    async def _resend(self, control: Control) -> dict[str, Any]:
        if control.key not in self._world.book.notifications:
            raise ControlRefused("NOT_FOUND", f"no notification {control.key}", status=404)
        return await self._send(control.key, Tampering.parse(control.body))

    async def _craft(self, control: Control) -> dict[str, Any]:
        """An arbitrary callback, properly encrypted and signed: event, plaintext and address are free."""
        own = ("url", "event_type", "original_type", "summary", "plaintext")
        body = control.body
        url = _typed(body, "url", str) or ""
        if not url.startswith(("http://", "https://")):
            raise ControlRefused("PARAM_ERROR", "url must be an http or https URL", status=400)
        tampering = Tampering.parse({name: value for name, value in body.items() if name not in own})
        original_type = _typed(body, "original_type", str) or "transaction"
        notification = self._notifier.announce(
            self._world.clock.now(),
            event_type=_typed(body, "event_type", str) or "TRANSACTION.SUCCESS",
            original_type=original_type,
            summary=_typed(body, "summary", str) or "支付成功",
            plaintext=_typed(body, "plaintext", dict) or {},
            url=url,
        )
        self._world.book.put(replace(notification, next_at=None, state="crafted"))
        return await self._send(notification.id, tampering)

    async def _send(self, key: str, tampering: Tampering) -> dict[str, Any]:
        heard = await self._notifier.resend(key, tampering)
        return {
            "notification": control_views.notification(self._world.book.notifications[key]),
            "answers": [asdict(item) for item in heard],
        }


def _json(request: HTTPServerRequest) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as exc:
        raise ControlRefused("PARAM_ERROR", f"the body is not JSON: {exc}", status=400) from exc
    if not isinstance(body, dict):
        raise ControlRefused("PARAM_ERROR", "the body must be a JSON object", status=400)
    return body


def _only(body: dict[str, Any], *names: str) -> None:
    unknown = sorted(body.keys() - set(names))
    if unknown:
        raise ControlRefused(
            "PARAM_ERROR", f"unknown members: {', '.join(unknown)}; there are {', '.join(names)}", status=400
        )


def _typed(body: dict[str, Any], name: str, kind: type) -> Any:
    """The member ``name``, None when absent or null; another type is refused."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ControlRefused("PARAM_ERROR", f"{name} must be a JSON {kind.__name__}", status=400)
    return value
