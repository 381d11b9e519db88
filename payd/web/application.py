"""The HTTP face: finds the controller of a request by the route table (`routes.ROUTES`), exactly, without guessing."""

from __future__ import annotations

import http
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler, _HandlerDelegate

from payd.web.answered import common_headers, log, request_id_of
from payd.web.base_controller import PROBLEM, BaseController, MethodNotAllowedController, NotFoundController
from payd.web.http_connection import HttpConnection, Refusal, Request, hand_over
from payd.web.metrics_controller import MetricsController
from payd.web.operator_controller import OperatorController
from payd.web.pay_controller import PayController
from payd.web.problems import language_of, problem_document
from payd.web.routes import PUBLIC, ROUTES, Route
from payd.web.services import Services
from payd.web.wechat_callback_controller import WechatCallbackController

CONTROLLERS: Final[tuple[type[BaseController], ...]] = (
    PayController,
    OperatorController,
    MetricsController,
)


#: The one route that no RequestHandler answers: WechatCallbackController is faster.
CALLBACK: Final = next(route for route in ROUTES if route.operation_id == "wechat_notify")


def controller_of(operation_id: str) -> type[BaseController] | None:
    """Find the controller that has an operation; None for callbacks. A route without one fails at import."""
    if operation_id == CALLBACK.operation_id:
        return None
    for controller in CONTROLLERS:
        if operation_id in vars(controller):
            return controller
    raise LookupError(f"no controller has {operation_id}")


#: The methods of a path.
Methods = dict[str, tuple[Route, type[BaseController] | None]]


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


class PaydApplication(Application):
    """Tornado's application with payd's own look-up."""

    def __init__(self, services: Services) -> None:
        super().__init__([], log_function=lambda handler: None)
        self.services = services
        self._router = Router()

    def take(self, connection: HttpConnection, request: Request) -> None:
        """Hand WeChat's callbacks to their controller, and everything else to Tornado's."""
        line = request.start_line
        if line.method == CALLBACK.method and line.path.partition("?")[0] == CALLBACK.path:
            WechatCallbackController(self.services, connection, CALLBACK.path).take(request)
        else:
            hand_over(request, self.start_request(connection, connection))

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> _HandlerDelegate:
        """Choose the controller of a request."""
        methods, path = self._router.find(request.path)
        if methods is None:
            return self._delegate(request, NotFoundController, UNKNOWN_ROUTE, {})
        found = methods.get("GET" if request.method == "HEAD" else request.method or "")  # RFC 9110, 9.1
        if found is None:
            first = next(iter(methods.values()))[0]
            return self._delegate(
                request,
                MethodNotAllowedController,
                first,
                {},
                allowed=(*methods, *(["HEAD"] if "GET" in methods else [])),
            )
        route, controller = found
        assert controller is not None, "callbacks do not come here"
        return self._delegate(request, controller, route, path)

    def refuse(self, connection: HttpConnection, refusal: Refusal) -> None:
        """Answer what could not be read as a request, as every refusal is answered."""
        services, said = self.services, refusal.headers
        request_id, language = request_id_of(said, services), language_of(said.get("Accept-Language"))
        status, headers, body = problem_document(refusal.error, request_id=request_id, language=language)
        head = {**common_headers(), **headers, "Content-Type": PROBLEM, "X-Request-Id": request_id}
        connection.answer(status, http.HTTPStatus(status).phrase, head.items(), orjson.dumps(body))
        services.metrics.answered(UNKNOWN_ROUTE.path, "other", status, 0.0)
        log.info("answered", route=UNKNOWN_ROUTE.path, status=status, request_id=request_id,
                 error=" ".join(complaint.issue for complaint in refusal.error.complaints))  # fmt: skip

    def _delegate(
        self,
        request: HTTPServerRequest,
        controller: type[RequestHandler],
        route: Route,
        path: Mapping[str, str],
        **more: Any,
    ) -> _HandlerDelegate:
        arguments = {"services": self.services, "route": route, **more}
        encoded = {name: value.encode() for name, value in path.items()}
        return self.get_handler_delegate(request, controller, arguments, path_kwargs=encoded)


UNKNOWN_ROUTE: Final = Route(
    method="GET", path="(unknown)", scope=PUBLIC, operation_id="unknown", summary="An unknown path", body=None,
    query=None, success={}, problems=("not_found",),
)  # fmt: skip


def route_templates() -> tuple[str, ...]:
    """List every route template once: the label values of the HTTP metrics."""
    return tuple(dict.fromkeys(route.path for route in ROUTES))
