"""What the controllers of the merchant's and the operator's routes share: scope, errors as problem+json, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from payd import limits
from payd.errors import RequestError, StorageError
from payd.web.answered import log
from payd.web.handler import JSON, Handler
from payd.web.http_connection import HttpConnection, Request
from payd.web.problems import language_of, problem_document
from payd.web.queries import no_query
from payd.web.routes import PUBLIC, Route
from payd.web.services import Services

NO_HEADERS: Final[Mapping[str, str]] = {}

#: Answers served while draining: they tell about the daemon. (WeChat's callbacks are served, too, elsewhere.)
SERVED_WHILE_DRAINING: Final = frozenset({"healthz", "readyz", "metrics"})


class BaseController(Handler):
    """Answers who has the right key, in JSON."""

    async def serve(self) -> None:
        """Answer with the operation's answer, or with the reason why not."""
        try:
            self.admit()
            await super().serve()
        except RequestError as error:
            if error.code == "scope_denied":  # a right key, in the wrong place
                self.key_id = str(error.params["key_id"])
            self.refuse(error)
        except StorageError as error:
            log.error("storage_unavailable", error=str(error), request_id=self.request_id)
            self.refuse(RequestError("storage_unavailable", retry_after=1))

    def fail(self) -> None:
        """Answer that a mistake of ours is in the way."""
        self.refuse(RequestError("internal_error"))

    def admit(self) -> None:
        """Refuse what may not come in: too large, while draining, without the right key. Raises RequestError."""
        request, route, services = self.request, self.route, self.services
        if len(request.body) > limits.BODY_BYTES_MAX:
            raise RequestError("body_too_large", limit=limits.BODY_BYTES_MAX)
        if services.in_flight.draining and route.operation_id not in SERVED_WHILE_DRAINING:
            raise RequestError("draining", retry_after=5)
        if route.scope is not PUBLIC:
            self.key_id = services.auth.check(request.headers, self.connection.peer.remote_ip, route.scope).key_id
            services.metrics.key_requests.add((self.key_id,))
        if route.query is None and route.checked and request.query:
            no_query(request.query)

    def refuse(self, error: RequestError) -> None:
        """Answer with a problem document."""
        language = language_of(self.request.headers.get("Accept-Language"))
        status, headers, body = problem_document(error, request_id=self.request_id, language=language)
        self.write(status, headers, orjson.dumps(body))

    def answer(
        self, status: int, body: bytes, content_type: str = JSON, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        """Answer with these bytes."""
        self.write(status, {"Content-Type": content_type, **headers}, body)

    def answer_json(self, value: Any, status: int = 200) -> None:
        """Answer with a JSON value."""
        self.answer(status, orjson.dumps(value))


class RefusingController(BaseController):
    """Answers, with or without a key, what no operation answers: an unknown path, a method that the path has not."""

    def __init__(
        self, services: Services, connection: HttpConnection, request: Request, route: Route, refusal: RequestError
    ) -> None:
        """Take the request and the reason."""
        super().__init__(services, connection, request, route)
        self.refusal = refusal

    async def serve(self) -> None:
        """Refuse."""
        self.refuse(self.refusal)
