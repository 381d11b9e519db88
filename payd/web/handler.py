"""One request on its way to its one answer: given an id, counted, logged, and never left open.

Catches every exception: a request never ends in a traceback, and whoever waits for an answer gets one or a closed
connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from payd.web.answered import answered, begun, common_headers, log, request_id_of, where_of
from payd.web.http_connection import HttpConnection, Request
from payd.web.routes import Route
from payd.web.services import Services

JSON: Final = "application/json; charset=utf-8"


class Handler:
    """Runs the operation of one route. A subclass has a coroutine named after each ``operation_id`` it answers."""

    def __init__(
        self,
        services: Services,
        connection: HttpConnection,
        request: Request,
        route: Route,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Take the request. ``arguments`` are the parts of the path that the route's template names."""
        self.services = services
        self.request = request
        self.route = route
        self.arguments = arguments or {}
        self.request_id = request_id_of(request.headers, services)
        self.key_id: str | None = None  # of the caller's key, once it was right
        self.told: dict[str, str | None] = {}  # what is added to the log line: numbers and results
        self.connection = connection
        self._started = begun()
        self.answered = False  # an answer was begun: there is no second one
        self._over = False  # it is written

    def start(self) -> None:
        """Begin to answer, in a task of its own. Its client may go: what was begun is ended."""
        self.services.in_flight.begin(self._answer_once())

    async def serve(self) -> None:
        """Answer, by the operation."""
        await getattr(self, self.route.operation_id)(**self.arguments)

    def fail(self) -> None:
        """Answer that a mistake of ours is in the way."""
        raise NotImplementedError

    async def _answer_once(self) -> None:
        """Answer once, or hang up: nothing else may become of a request."""
        try:
            await self.serve()
        except Exception as error:
            log.error("internal_error", error=repr(error), request_id=self.request_id, route=self.route.path,
                      where=where_of(error))  # fmt: skip
            self.fail()
        finally:
            if not self._over:
                log.error("hung_up", request_id=self.request_id, route=self.route.path)
                self.connection.abort()

    def write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Write the answer, unless there is one already; then count and log it."""
        if self.answered:
            return
        self.answered = True
        head = common_headers()
        head.update(headers)
        head["X-Request-Id"] = self.request_id
        self.connection.answer(status, head.items(), body)
        self._over = True
        answered(
            self.services, self.request.method, self.route.path, status, started=self._started,
            request_id=self.request_id, key_id=self.key_id, told=self.told,
        )  # fmt: skip
