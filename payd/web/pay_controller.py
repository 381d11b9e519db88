"""PayController: create, query, close, refund, refund query, and the merchant's lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from payd.errors import RequestError
from payd.models.changes import OrderSnapshot
from payd.models.states import OrderState, PaymentState
from payd.plugin.idempotency import KeyedCall, KeyedRequest
from payd.plugin.pay_plugin import CREATED, REFUSED, UNKNOWN, Answer
from payd.ports import Position
from payd.web import queries, views
from payd.web.base_controller import BaseController
from payd.web.bodies import (
    CloseBody,
    CreateBody,
    RefundBody,
    canonical_body,
    create_command,
    parse_body,
    refund_command,
)
from payd.web.handler import JSON
from payd.web.idempotency_key import read_idempotency_key
from payd.web.problems import CONTENT_TYPE as PROBLEM
from payd.web.problems import language_of, problem_document

#: The HTTP status of each outcome of create and refund.
STATUSES: Mapping[str, int] = {CREATED: 201, UNKNOWN: 202, REFUSED: 422}


class PayController(BaseController):
    """The merchant's commands and questions."""

    # -- commands -------------------------------------------------------------------------------------------------

    async def create_payment(self) -> None:
        """Create an order and its payment at WeChat (contract 1.1)."""
        body = parse_body(self.request.body, self.request.headers.get("Content-Type"), CreateBody)
        command = create_command(body)
        async with self._keyed(body) as call:
            answer = await self.services.plugin.create(
                command, request_id=self.request_id, call=call, render=self._render_order
            )
        self._give(answer)

    async def refund_payment(self) -> None:
        """Refund all or a part of a paid order (contract 1.3)."""
        body = parse_body(self.request.body, self.request.headers.get("Content-Type"), RefundBody)
        command = refund_command(body)
        async with self._keyed(body) as call:
            answer = await self.services.plugin.refund(
                command, request_id=self.request_id, call=call, render=self._render_refund
            )
        self._give(answer)

    async def close_order(self) -> None:
        """Close an unpaid order at WeChat (contract 1.4)."""
        body = parse_body(self.request.body, self.request.headers.get("Content-Type"), CloseBody)
        snapshot, said = await self.services.plugin.close(body.out_trade_no, request_id=self.request_id)
        if snapshot.order.status is OrderState.PAID:
            raise RequestError("order_paid", out_trade_no=body.out_trade_no)
        unclear = snapshot.payment.status is PaymentState.PROCESSING
        view = views.order_view(snapshot) | {
            "outcome": "unknown" if unclear else None,
            "wechat": views.heard_view(said) if said else None,
        }
        self.answer_json(view, 202 if unclear else 200)

    @asynccontextmanager
    async def _keyed(self, body: CreateBody | RefundBody) -> AsyncIterator[KeyedCall | None]:
        """Hold the request's Idempotency-Key, if it has one, while the command runs."""
        key = read_idempotency_key(self.request.lines_of("Idempotency-Key"))
        if key is None:
            yield None
            return
        assert self.key_id is not None, "commands are never public"
        request = KeyedRequest(self.key_id, self.route.path, key, canonical_body(body))
        async with self.services.gate.enter(request) as call:
            yield call

    def _give(self, answer: Answer) -> None:
        headers = {}
        if answer.replayed:
            headers["Idempotency-Replayed"] = "true"
        if answer.status == STATUSES[UNKNOWN]:
            headers["Retry-After"] = "5"
        self.answer(answer.status, answer.body, JSON if answer.status < 400 else PROBLEM, headers)

    def _render_order(self, snapshot: OrderSnapshot, outcome: str) -> tuple[int, bytes]:
        payment = snapshot.payment
        if outcome == REFUSED:
            return self._refused(views.heard_view(payment), out_trade_no=snapshot.order.out_trade_no)
        now = self.services.clock.now()
        payable = (
            payment.status is PaymentState.PROCESSING
            and now < snapshot.order.expires_at
            and not payment.close_requested
            and outcome != UNKNOWN  # an unclear renewal may have voided the code that is stored
        )
        prepay_id = payment.prepay_id if payable else None
        pay_params = self.services.wechat.client_parameters(payment.trade_type, prepay_id) if prepay_id else None
        view = views.created_view(snapshot, pay_params=pay_params, payable=payable)
        return STATUSES.get(outcome, 200), orjson.dumps(view)

    def _render_refund(self, out_refund_no: str) -> Callable[[OrderSnapshot, str], tuple[int, bytes]]:
        def render(snapshot: OrderSnapshot, outcome: str) -> tuple[int, bytes]:
            refund = snapshot.refund(out_refund_no)
            assert refund is not None, "rendered after its commit"
            if outcome == REFUSED:
                numbers = {"out_refund_no": out_refund_no, "out_trade_no": refund.out_trade_no}
                return self._refused(views.heard_view(refund), **numbers)
            return STATUSES.get(outcome, 200), orjson.dumps(views.refund_view(refund))

        return render

    def _refused(self, wechat: Mapping[str, Any] | None, **numbers: str) -> tuple[int, bytes]:
        told = wechat or {}
        error = RequestError(
            "wechat_refused",
            wechat_code=told.get("code"),
            wechat_message=told.get("message"),
            extra={"wechat": wechat, **numbers},
        )
        language = language_of(self.request.headers.get("Accept-Language"))
        status, _, document = problem_document(error, request_id=self.request_id, language=language)
        return status, orjson.dumps(document)

    # -- questions ------------------------------------------------------------------------------------------------

    async def query_order(self) -> None:
        """Show one order, refreshed when it is open (contract 1.2)."""
        asked = queries.query_order(self.request.query)
        storage = self.services.storage
        if asked.out_trade_no is not None:
            snapshot = await storage.load_order(asked.out_trade_no)
        else:
            snapshot = await storage.load_order_by_transaction(asked.transaction_id or "")
        if snapshot is not None:
            snapshot, said = await self.services.plugin.query(snapshot, request_id=self.request_id)
            if asked.transaction_id in (None, snapshot.order.transaction_id):
                self.answer_json(views.queried_view(views.order_view(snapshot), said))
                return
        raise RequestError("order_not_found", out_trade_no=asked.out_trade_no or asked.transaction_id)

    async def query_refund(self) -> None:
        """Show one refund, refreshed when it is open."""
        number = queries.query_refund(self.request.query)
        snapshot = await self.services.storage.load_order_of_refund(number)
        if snapshot is None:
            raise RequestError("refund_not_found", out_refund_no=number)
        snapshot, said = await self.services.plugin.query_refund(snapshot, number, request_id=self.request_id)
        refund = snapshot.refund(number)
        assert refund is not None, "loaded by this refund"
        self.answer_json(views.queried_view(views.refund_view(refund), said))

    async def list_orders(self) -> None:
        """List orders, newest first."""
        which, page = queries.list_orders(self.request.query)
        rows = await self.services.storage.list_orders(which, limit=page.limit + 1, after=page.after)
        cursor = None
        if len(rows) > page.limit:
            last = rows[page.limit - 1].order
            cursor = queries.encode_cursor(Position(last.created_at, last.out_trade_no))
        shown = [views.order_view(row) for row in rows[: page.limit]]
        self.answer_json({"orders": shown, "next_cursor": cursor})

    async def list_refunds(self) -> None:
        """List refunds, newest first."""
        which, page = queries.list_refunds(self.request.query)
        rows = await self.services.storage.list_refunds(which, limit=page.limit + 1, after=page.after)
        cursor = None
        if len(rows) > page.limit:
            last = rows[page.limit - 1]
            cursor = queries.encode_cursor(Position(last.created_at, last.out_refund_no))
        shown = [views.refund_view(row) for row in rows[: page.limit]]
        self.answer_json({"refunds": shown, "next_cursor": cursor})

    async def list_order_events(self, out_trade_no: str) -> None:
        """Show an order's whole history, oldest first."""
        lines = await self.services.storage.list_events(out_trade_no)
        if not lines:
            raise RequestError("order_not_found", out_trade_no=out_trade_no)
        self.answer_json({"events": [views.event_view(line) for line in lines]})
