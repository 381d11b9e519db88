"""The HTTP face: finds the controller of a request by the route table (`routes.ROUTES`), exactly, without guessing."""

from __future__ import annotations

import re
from typing import Final

import orjson

from payd.errors import RequestError
from payd.web.answered import common_headers, log, request_id_of
from payd.web.base_controller import RefusingController
from payd.web.handler import Handler
from payd.web.http_connection import HttpConnection, Refusal, Request
from payd.web.metrics_controller import MetricsController
from payd.web.operator_controller import OperatorController
from payd.web.pay_controller import PayController
from payd.web.problems import language_of, problem_document
from payd.web.routes import PUBLIC, ROUTES, Route
from payd.web.services import Services
from payd.web.wechat_callback_controller import WechatCallbackController

CONTROLLERS: Final[tuple[type[Handler], ...]] = (
    WechatCallbackController,
    PayController,
    OperatorController,
    MetricsController,
)


def controller_of(operation_id: str) -> type[Handler]:
    """Find the controller that has an operation. A route without one fails at import."""
    for controller in CONTROLLERS:
        if operation_id in vars(controller):
            return controller
    raise LookupError(f"no controller has {operation_id}")


#: The methods of a path.
Methods = dict[str, tuple[Route, type[Handler]]]


class Router:
    """The table, compiled: exact paths in a dict, templates as patterns."""

    def __init__(self) -> None:
        self.exact: dict[str, Methods] = {}
        self.patterns: list[tuple[re.Pattern[str], str]] = []
        self.templates: dict[str, Methods] = {}
        for route in ROUTES:
            table = self.templates if "{" in route.path else self.exact
            table.setdefault(route.path, {})[route.method] = (route, controller_of(route.operation_id))
        for template in self.templates:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]{1,128})", template)
            self.patterns.append((re.compile(pattern), template))

    def find(self, path: str) -> tuple[Methods | None, dict[str, str]]:
        """Find the methods of a path and its path arguments; None when the path is unknown."""
        methods = self.exact.get(path)
        if methods is not None:
            return methods, {}
        for pattern, template in self.patterns:
            match = pattern.fullmatch(path)
            if match:
                return self.templates[template], match.groupdict()
        return None, {}


class PaydApplication:
    """Whom the server hands requests to."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._router = Router()

    def take(self, connection: HttpConnection, request: Request) -> None:
        """Begin to answer a request."""
        methods, arguments = self._router.find(request.path)
        if methods is None:
            self._refuse(connection, request, UNKNOWN_ROUTE, RequestError("not_found", path=request.path[:200]))
            return
        found = methods.get("GET" if request.method == "HEAD" else request.method)  # RFC 9110, 9.1
        if found is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            error = RequestError("method_not_allowed", method=request.method, allowed=allowed)
            self._refuse(connection, request, next(iter(methods.values()))[0], error)
            return
        route, controller = found
        controller(self.services, connection, request, route, arguments).start()

    def _refuse(self, connection: HttpConnection, request: Request, route: Route, error: RequestError) -> None:
        RefusingController(self.services, connection, request, route, error).start()

    def refuse(self, connection: HttpConnection, refusal: Refusal) -> None:
        """Answer what could not be read as a request, as every refusal is answered."""
        services, said = self.services, refusal.headers
        request_id, language = request_id_of(said, services), language_of(said.get("Accept-Language"))
        status, headers, body = problem_document(refusal.error, request_id=request_id, language=language)
        head = {**common_headers(), **headers, "X-Request-Id": request_id}
        connection.answer(status, head.items(), orjson.dumps(body))
        services.metrics.answered(UNKNOWN_ROUTE.path, "other", status, 0.0)
        log.info("answered", route=UNKNOWN_ROUTE.path, status=status, request_id=request_id,
                 error=" ".join(complaint.issue for complaint in refusal.error.complaints))  # fmt: skip


UNKNOWN_ROUTE: Final = Route(
    method="GET", path="(unknown)", scope=PUBLIC, operation_id="unknown", summary="An unknown path", body=None,
    query=None, success={}, problems=("not_found",),
)  # fmt: skip


def route_templates() -> tuple[str, ...]:
    """List every route template once: the label values of the HTTP metrics."""
    return tuple(dict.fromkeys(route.path for route in ROUTES))
