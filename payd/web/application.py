"""The HTTP face: finds the controller of a request by the route table (`routes.ROUTES`), exactly, without guessing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler, _HandlerDelegate, stream_request_body

from payd import limits
from payd.errors import RequestError
from payd.web.base_controller import BaseController, MethodNotAllowedController, NotFoundController
from payd.web.metrics_controller import MetricsController
from payd.web.operator_controller import OperatorController
from payd.web.pay_controller import PayController
from payd.web.routes import PUBLIC, ROUTES, Route
from payd.web.services import Services
from payd.web.wechat_callback_controller import WechatCallbackController

CONTROLLERS: Final[tuple[type[BaseController], ...]] = (
    PayController,
    WechatCallbackController,
    OperatorController,
    MetricsController,
)

#: Bodies are drained up to here after a 413, so that a client that sends first and reads later hears it.
DRAINED_BYTES_MAX: Final = 64 * 1024 * 1024


@stream_request_body
class TooLargeController(BaseController):
    """Answers a request whose Content-Length is over the limit: 413, once its body has run into nothing.

    Most clients send first and read later: they would see a broken connection if the answer came before.
    """

    def prepare(self) -> None:
        """Let the body come, up to a bound."""
        self.request.connection.set_max_body_size(DRAINED_BYTES_MAX)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        """Forget a piece of the body."""

    def admit(self) -> None:
        """Refuse, whoever asks."""
        raise RequestError("body_too_large", limit=limits.BODY_BYTES_MAX)

    def on_connection_close(self) -> None:
        """Count the request as over: a client that leaves in the middle of its body gets no answer to be counted by."""
        super().on_connection_close()
        self.set_status(413)  # for the log and the metrics; nobody hears it
        self.on_finish()


class TooLargeCallbackController(TooLargeController, WechatCallbackController):
    """The same for WeChat's callbacks, in WeChat's shape."""


def controller_of(operation_id: str) -> type[BaseController]:
    """Find the controller that has an operation; a route without one fails at import."""
    for controller in CONTROLLERS:
        if operation_id in vars(controller):
            return controller
    raise LookupError(f"no controller has {operation_id}")


class Router:
    """The table, compiled: exact paths in a dict, templates as patterns."""

    def __init__(self) -> None:
        self.exact: dict[str, dict[str, tuple[Route, type[BaseController]]]] = {}
        self.patterns: list[tuple[re.Pattern[str], str]] = []
        self.templates: dict[str, dict[str, tuple[Route, type[BaseController]]]] = {}
        for route in ROUTES:
            table = self.templates if "{" in route.path else self.exact
            table.setdefault(route.path, {})[route.method] = (route, controller_of(route.operation_id))
        for template in self.templates:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]{1,128})", template)
            self.patterns.append((re.compile(pattern), template))

    def find(self, path: str) -> tuple[Mapping[str, tuple[Route, type[BaseController]]] | None, dict[str, str]]:
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
        self._services = services
        self._router = Router()

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> _HandlerDelegate:
        """Choose the controller of a request."""
        methods, path = self._router.find(request.path)
        length = request.headers.get("Content-Length", "0")
        too_large = length.isascii() and length.isdigit() and int(length) > limits.BODY_BYTES_MAX
        if methods is None:
            unknown = TooLargeController if too_large else NotFoundController
            return self._delegate(request, unknown, UNKNOWN_ROUTE, {})
        found = methods.get(request.method or "")
        if found is None:
            first = next(iter(methods.values()))[0]
            return self._delegate(request, MethodNotAllowedController, first, {}, allowed=tuple(methods))
        route, controller = found
        if too_large:
            callback = controller is WechatCallbackController
            return self._delegate(request, TooLargeCallbackController if callback else TooLargeController, route, {})
        return self._delegate(request, controller, route, path)

    def _delegate(
        self,
        request: HTTPServerRequest,
        controller: type[RequestHandler],
        route: Route,
        path: Mapping[str, str],
        **more: Any,
    ) -> _HandlerDelegate:
        arguments = {"services": self._services, "route": route, **more}
        encoded = {name: value.encode() for name, value in path.items()}
        return self.get_handler_delegate(request, controller, arguments, path_kwargs=encoded)


UNKNOWN_ROUTE: Final = Route(
    method="GET", path="(unknown)", scope=PUBLIC, operation_id="unknown", summary="An unknown path", body=None,
    query=None, success={}, problems=("not_found",),
)  # fmt: skip


def route_templates() -> tuple[str, ...]:
    """List every route template once: the label values of the HTTP metrics."""
    return tuple(dict.fromkeys(route.path for route in ROUTES))
