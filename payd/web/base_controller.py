"""What every controller shares: request id, scope, errors as problem+json, metrics and one log line per answer.

One of the two places that catch every exception: a request never ends in a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError, RequestHandler

from payd import limits
from payd.errors import RequestError, StorageError
from payd.web.answered import answered, begun, common_headers, log, request_id_of, where_of
from payd.web.pay_auth_filter import Caller
from payd.web.problems import language_of, problem_document
from payd.web.queries import no_query
from payd.web.routes import PUBLIC, Route
from payd.web.services import Services

JSON: Final = "application/json; charset=utf-8"
PROBLEM: Final = "application/problem+json; charset=utf-8"

#: Answers served while draining: they tell about the daemon. (WeChat's callbacks are served, too, elsewhere.)
SERVED_WHILE_DRAINING: Final = frozenset({"healthz", "readyz", "metrics"})


class BaseController(RequestHandler):
    """Runs one operation of one route. Subclasses have a coroutine named after each ``operation_id``."""

    services: Services
    route: Route
    request_id: str
    caller: Caller | None

    def initialize(self, services: Services, route: Route) -> None:
        """Take the parts; called by Tornado for each request."""
        self.services = services
        self.route = route
        self.caller = None
        self.told: dict[str, str | None] = {}  # what the operation adds to its log line: numbers and results
        self._started = begun()
        self.request_id = request_id_of(self.request.headers, services)
        services.in_flight.enter()

    def clear(self) -> None:
        """Begin the answer anew: nothing about the server's make, no guessing of types, no storing.

        Replaces Tornado's, which writes the date anew and sets each header twice for every answer.
        """
        self._headers = HTTPHeaders(common_headers())
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    async def get(self, **path: str) -> None:
        """Answer a GET."""
        await self._operate(path)

    async def head(self, **path: str) -> None:
        """Answer as a GET, without the body (RFC 9110, 9.3.2): monitors ask so."""
        await self._operate(path)

    async def post(self, **path: str) -> None:
        """Answer a POST."""
        await self._operate(path)

    async def _operate(self, path: Mapping[str, str]) -> None:
        try:
            self.admit()
            await getattr(self, self.route.operation_id)(**path)
        except RequestError as error:
            self.refuse(error)
        except StorageError as error:
            log.error("storage_unavailable", error=str(error), request_id=self.request_id)
            self.refuse(RequestError("storage_unavailable", retry_after=1))
        except HTTPError:
            raise
        except Exception as error:
            log.error("internal_error", error=repr(error), request_id=self.request_id, route=self.route.path,
                      where=where_of(error))  # fmt: skip
            self.refuse(RequestError("internal_error"))

    def admit(self) -> None:
        """Refuse what may not come in: too large, while draining, without the right key. Raises RequestError."""
        if len(self.request.body) > limits.BODY_BYTES_MAX:
            raise RequestError("body_too_large", limit=limits.BODY_BYTES_MAX)
        route, services = self.route, self.services
        if services.in_flight.draining and route.operation_id not in SERVED_WHILE_DRAINING:
            raise RequestError("draining", retry_after=5)
        if route.scope is not PUBLIC:
            self.caller = services.auth.check(self.request.headers, self.request.remote_ip or "", route.scope)
            services.metrics.key_requests.add((self.caller.key_id,))
        if route.query is None and route.checked and self.request.query:
            no_query(self.request.query)

    def refuse(self, error: RequestError) -> None:
        """Answer with a problem document."""
        language = language_of(self.request.headers.get("Accept-Language"))
        status, headers, body = problem_document(error, request_id=self.request_id, language=language)
        self.clear()
        for name, value in headers.items():
            self.set_header(name, value)
        self.answer(status, orjson.dumps(body), PROBLEM)

    def answer(self, status: int, body: bytes, content_type: str = JSON) -> None:
        """Finish with these bytes."""
        self.set_status(status)
        self.set_header("Content-Type", content_type)
        self.set_header("X-Request-Id", self.request_id)
        self.finish(body)

    def answer_json(self, value: Any, status: int = 200) -> None:
        """Finish with a JSON value."""
        self.answer(status, orjson.dumps(value))

    def compute_etag(self) -> str | None:
        """Make no ETag: answers are not cached, and hashing each would be waste."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn what Tornado itself refuses into a problem document."""
        codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
        code = codes.get(status_code, "invalid_request" if status_code < 500 else "internal_error")
        self.refuse(RequestError(code, limit=limits.BODY_BYTES_MAX, method=self.request.method))

    def on_finish(self) -> None:
        """Count and log, after the answer is written."""
        self.services.in_flight.leave()
        key_id = self.caller.key_id if self.caller else None
        answered(
            self.services, self.request.method or "", self.route.path, self.get_status(), started=self._started,
            request_id=self.request_id, key_id=key_id, told=self.told,
        )  # fmt: skip

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what escaped, without a traceback of locals and without the request's text."""
        log.error("escaped", error=repr(value), request_id=self.request_id, route=self.route.path)


class NotFoundController(BaseController):
    """Answers every path payd does not know, with or without a key: 404."""

    def prepare(self) -> None:
        """Refuse before any method is looked at."""
        self.refuse(RequestError("not_found", path=self.request.path[:200]))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Refuse alike when Tornado knows not even the method."""
        self.prepare()


class MethodNotAllowedController(BaseController):
    """Answers a known path asked with another method: 405 with the methods that are allowed."""

    allowed: tuple[str, ...]

    def initialize(self, services: Services, route: Route, allowed: tuple[str, ...] = ()) -> None:
        """Take the methods of the path."""
        super().initialize(services, route)
        self.allowed = allowed

    def prepare(self) -> None:
        """Refuse."""
        self.refuse(RequestError("method_not_allowed", method=self.request.method, allowed=", ".join(self.allowed)))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Refuse alike when Tornado knows not even the method."""
        self.prepare()

    def answer(self, status: int, body: bytes, content_type: str = JSON) -> None:
        """Finish with the Allow header (RFC 9110, 15.5.6)."""
        self.set_header("Allow", ", ".join(self.allowed))
        super().answer(status, body, content_type)
