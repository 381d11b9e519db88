"""The gateway: routes, headers, authentication, limits, faults, and then the API itself.

The order of checks is WeChat's (sections 1.6 and 14): unknown path or method, Accept and User-Agent, then the
Authorization header, then what the request says. A request without a fault is served in one go on the loop;
only faults and bills take a task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from tornado.httputil import HTTPServerRequest

from payd.sandbox import wire
from payd.sandbox.call_log import CallLog
from payd.sandbox.errors import Refusal
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.faults import Fault, Faults
from payd.sandbox.fields import Place
from payd.sandbox.platform_keys import PlatformKey
from payd.sandbox.rate_limits import RateLimits
from payd.sandbox.refusals import refusal
from payd.sandbox.request_rules import NO_QUERY, QUERIES
from payd.sandbox.routes import Route, Router
from payd.sandbox.witness import RequestWitness, SignedText
from payd.sandbox.world import World

_log = logging.getLogger("payd.sandbox")
Handler = Callable[[Call], Answer | Awaitable[Answer]]
_SLOW_APIS = ("trade_bill", "fund_bill")
_SUBJECT_MEMBERS = ("out_trade_no", "transaction_id", "out_refund_no", "refund_id", "bill_date")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that passed every check before the API: whose answer, signed with which key, hit by what."""

    request: HTTPServerRequest
    route: Route
    call: Call
    key: PlatformKey | None
    fault: Fault | None


class Gateway:
    """Serves ``/v3/...``; ``handlers`` maps an API name to what carries it out."""

    def __init__(
        self,
        world: World,
        *,
        witness: RequestWitness,
        faults: Faults,
        handlers: Mapping[str, Handler],
        close_races: Callable[[str, Call], Answer],
    ) -> None:
        self._world = world
        self._witness = witness
        self._faults = faults
        self._handlers = handlers
        self._close_races = close_races
        self._limits = RateLimits(world.clock.wall)
        self._router = Router()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.log = CallLog()

    def serve(self, request: HTTPServerRequest, *, backup: bool = False) -> None:
        """Answer one request, now or in a task; never raises."""
        down = self._faults.host_down()
        if down is not None and not backup:
            self._note(request, "host", None, fault="host_down")
            wire.reset(request)
            return
        found = self._router.find(request.method or "", request.path)
        if isinstance(found, int):
            wire.write_bare(request, found, wall_now=self._world.clock.wall())
            return
        route, arguments = found
        try:
            self._serve_route(request, route, arguments)
        except Refusal as answer:
            self._write_refusal(request, route, answer)
        except Exception:
            self._fail(request)

    def _serve_route(self, request: HTTPServerRequest, route: Route, arguments: Mapping[str, str]) -> None:
        admitted = self._admit(request, route, arguments)
        if admitted.fault is None and route.api not in _SLOW_APIS:
            self._finish(admitted, self._execute(admitted))
            return
        task = asyncio.get_running_loop().create_task(self._serve_slowly(admitted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, request: HTTPServerRequest) -> None:
        """A fault of the simulator itself: log where, and cut the connection rather than pretend."""
        _log.exception("%s %s failed inside the simulator", request.method, request.path)
        wire.reset(request)

    async def stop(self) -> None:
        """End every request that a fault keeps waiting."""
        self._stopping.set()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _admit(self, request: HTTPServerRequest, route: Route, arguments: Mapping[str, str]) -> Admitted:
        if route.early_header_check:
            _check_headers(request, signed=False)
        query, body = _query(request.query), _body(request)
        named = [arguments, query or {}, body or {}]
        subjects = tuple(str(source[name]) for source in named for name in _SUBJECT_MEMBERS if name in source)
        fault = self._faults.find(route.api, subjects)
        skew = fault.seconds if fault is not None and fault.kind == "clock_skew" else 0.0
        try:
            self._witness.verify(
                request.headers.get("Authorization"),
                SignedText(request.method or "", request.uri or "", request.body),
                skew_seconds=skew,
            )
        except Refusal:
            if skew and fault is not None:
                self._faults.use(fault)
            raise
        _check_headers(request)
        key = self._world.keys.signer(request.headers.get("Wechatpay-Serial")) if route.signed else None
        if fault is None:
            fault = self._faults.nuisance(route.api, self._world.switches.nuisance_rate)
        else:
            self._faults.use(fault)
        call = Call(
            api=route.api,
            arguments=arguments,
            query=_checked_query(route.api, query),
            body=_checked_body(request, body),
            wechatpay_serial=request.headers.get("Wechatpay-Serial"),
            now=self._world.clock.now(),
            subjects=subjects,
        )
        return Admitted(request, route, call, key, fault)

    def _execute(self, admitted: Admitted) -> Answer:
        """Carry a request out, and bring the book to disk before anybody hears of it."""
        try:
            self._take_limits(admitted.call)
            answer = self._handlers[admitted.call.api](admitted.call)
            assert isinstance(answer, Answer)
        except Refusal as refused:
            self._count_failing(admitted.call, refused)
            answer = Answer.refusing(refused)
        self._world.commit()
        return answer

    def _take_limits(self, call: Call) -> None:
        if not self._world.switches.rate_limits:
            return
        name = f"prepay_{call.arguments['product']}" if call.api == "prepay" else call.api
        if not self._limits.take(name) or (call.api == "refund" and self._limits.exhausted("refund_failing")):
            raise refusal("frequency")

    def _count_failing(self, call: Call, refused: Refusal) -> None:
        """Failing refunds have a limit of their own (section 7.3)."""
        if call.api == "refund" and refused.status != 429 and self._world.switches.rate_limits:
            self._limits.take("refund_failing")

    async def _serve_slowly(self, admitted: Admitted) -> None:
        """A request that a fault hits, or whose API works in a thread."""
        try:
            await self._serve_with_fault(admitted)
        except Exception:
            self._fail(admitted.request)

    async def _serve_with_fault(self, admitted: Admitted) -> None:
        fault, request = admitted.fault, admitted.request
        if fault is not None and fault.plan.pause:
            await wire.pause(fault.seconds, self._stopping)
        answer = await self._faulty_answer(admitted)
        ending = "answer" if fault is None else fault.plan.ending
        if fault is not None and ending == "hang":
            self._note(request, admitted.route.api, None, fault=fault.kind, executed=fault.plan.execute)
            await wire.hang(request, fault.seconds, self._stopping)
        elif fault is not None and ending == "reset":
            self._note(request, admitted.route.api, None, fault=fault.kind, executed=fault.plan.execute)
            wire.reset(request)
        elif fault is not None and ending == "html":
            self._note(request, admitted.route.api, 502, fault=fault.kind, executed=fault.plan.execute)
            wire.write_bad_gateway(request, wall_now=self._world.clock.wall())
        elif fault is not None and ending in ("truncate", "drip"):
            headers = self._headers(admitted, answer)
            self._note(request, admitted.route.api, answer.status, fault=fault.kind, code=answer.code)
            if ending == "truncate":
                await wire.truncate(request, answer, headers)
            else:
                await wire.drip(request, answer, headers, fault.seconds, self._stopping)
        else:
            self._finish(admitted, answer)

    async def _faulty_answer(self, admitted: Admitted) -> Answer:
        """The answer of the API, or what the fault puts in its place."""
        fault = admitted.fault
        if fault is not None and not fault.plan.execute:
            if fault.plan.instead is None:
                return Answer(502)
            return Answer.refusing(refusal(fault.plan.instead))
        if fault is not None and fault.kind in ("pay_wins", "close_wins", "pay_after_close"):
            answer = self._race(fault.kind, admitted.call)
        elif admitted.call.api in _SLOW_APIS:
            answer = await self._execute_later(admitted)
        else:
            answer = self._execute(admitted)
        if fault is not None and fault.plan.instead is not None:
            return Answer.refusing(refusal(fault.plan.instead))
        return answer

    def _race(self, kind: str, call: Call) -> Answer:
        try:
            answer = self._close_races(kind, call)
        except Refusal as refused:
            answer = Answer.refusing(refused)
        self._world.commit()
        return answer

    async def _execute_later(self, admitted: Admitted) -> Answer:
        try:
            self._take_limits(admitted.call)
            outcome = self._handlers[admitted.call.api](admitted.call)
            return outcome if isinstance(outcome, Answer) else await outcome
        except Refusal as refused:
            return Answer.refusing(refused)

    def _finish(self, admitted: Admitted, answer: Answer) -> None:
        fault = admitted.fault
        headers = self._headers(admitted, answer)
        self._note(
            admitted.request,
            admitted.route.api,
            answer.status,
            code=answer.code,
            fault=None if fault is None else fault.kind,
            executed=fault is None or fault.plan.execute,
        )
        if fault is not None and fault.plan.ending == "corrupt" and answer.body:
            middle = len(answer.body) // 2
            flipped = bytes([answer.body[middle] ^ 0x01])
            answer = replace(answer, body=answer.body[:middle] + flipped + answer.body[middle + 1 :])
        wire.write(admitted.request, answer, headers)

    def _headers(self, admitted: Admitted, answer: Answer) -> Any:
        key = admitted.key
        if key is None and answer.status >= 400:
            key = self._world.keys.default  # errors of a download are signed, the file itself is not
        return wire.headers_of(answer, key, wall_now=self._world.clock.wall(), fault=admitted.fault)

    def _write_refusal(self, request: HTTPServerRequest, route: Route, refused: Refusal) -> None:
        """A refusal before the API: unsigned while nobody is authenticated (section 2.3)."""
        answer = Answer.refusing(refused)
        try:
            key = self._world.keys.signer(request.headers.get("Wechatpay-Serial"))
        except Refusal:
            key = self._world.keys.default
        self._note(request, route.api, answer.status, code=answer.code)
        wire.write(request, answer, wire.headers_of(answer, key, wall_now=self._world.clock.wall()))

    def _note(
        self,
        request: HTTPServerRequest,
        api: str,
        status: int | None,
        *,
        code: str | None = None,
        fault: str | None = None,
        executed: bool = True,
    ) -> None:
        refused = status is not None and status >= 400 and fault is None
        self.log.record(
            at=self._world.clock.now(),
            api=api,
            method=request.method or "",
            target=request.uri or "",
            status=status,
            code=code,
            fault=fault,
            executed=executed and not refused,
        )


def _check_headers(request: HTTPServerRequest, *, signed: bool = True) -> None:
    """Accept and User-Agent must be there and Accept must allow JSON (section 1.3)."""
    accept = request.headers.get("Accept", "")
    download = request.path.startswith("/v3/billdownload/")
    acceptable = bool(accept) if download else ("application/json" in accept or "*/*" in accept)
    if not acceptable or not request.headers.get("User-Agent"):
        complaint = refusal("accept_missing")
        complaint.signed = signed
        raise complaint


def _query(raw: str) -> dict[str, str] | None:
    """Query parameters, or None when one comes twice."""
    pairs = parse_qsl(raw, keep_blank_values=True)
    values = dict(pairs)
    return values if len(values) == len(pairs) else None


def _checked_query(api: str, query: dict[str, str] | None) -> dict[str, str]:
    place = Place("query")
    if query is None:
        raise place.wrong("查询参数校验失败，参数重复", None)
    QUERIES.get(api, NO_QUERY).check(query, place)
    return query


def _body(request: HTTPServerRequest) -> dict[str, Any] | None:
    """The JSON object in the body; None when there is none, or something else."""
    if not request.body:
        return None
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _checked_body(request: HTTPServerRequest, body: dict[str, Any] | None) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise refusal("content_type")
    if body is None:
        raise refusal("body_not_json")
    return body
