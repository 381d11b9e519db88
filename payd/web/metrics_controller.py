"""MetricsController: Prometheus, the auth counters, health, and the API's own description."""

from __future__ import annotations

from functools import cache
from typing import Final

import orjson

from payd.metrics import AUTH_REFUSALS, TEXT_CONTENT_TYPE
from payd.web.base_controller import BaseController
from payd.web.openapi import docs_page, openapi_document
from payd.web.routes import ROUTES

HTML: Final = "text/html; charset=utf-8"


class MetricsController(BaseController):
    """What machines read about the daemon."""

    async def metrics(self) -> None:
        """Write every metric, in the form the scraper asks for."""
        self.services.metrics.http_in_flight.set(self.services.in_flight.count)
        for key_id, at in self.services.auth.last_used().items():
            if at is not None:
                self.services.metrics.key_last_used.labels(key_id).set(at.timestamp())
        body, content_type = self.services.metrics.exposition(self.request.headers.get("Accept") or "")
        self.answer(200, body, content_type)

    async def auth_metrics(self) -> None:
        """Show the four counters of refused requests."""
        counts = self.services.auth.counters
        self.answer_json({reason: counts[reason] for reason in AUTH_REFUSALS})

    async def auth_metrics_text(self) -> None:
        """Write the four counters for Prometheus."""
        counts = self.services.auth.counters
        lines = []
        for reason in AUTH_REFUSALS:
            name = f"pay_auth_{reason}_total"
            lines.append(
                f"# HELP {name} Requests refused by PayAuthFilter\n# TYPE {name} counter\n{name} {counts[reason]}\n"
            )
        self.answer(200, "".join(lines).encode(), TEXT_CONTENT_TYPE)

    async def healthz(self) -> None:
        """Say that the loop turns."""
        self.answer_json({"status": "ok"})

    async def readyz(self) -> None:
        """Say whether payd can do work: database writable, WeChat's keys loaded, not draining."""
        services = self.services
        checks = {
            "storage": await services.probe.check(),
            "keys": "ok" if services.wechat.key_status().loaded else "no platform key is loaded",
            "draining": "yes" if services.in_flight.draining else "no",
        }
        ready = checks["storage"] == checks["keys"] == "ok" and checks["draining"] == "no"
        status = "ready" if ready else "not_ready"
        view = {"status": status, "mode": services.mode, "version": services.version, "checks": checks}
        self.answer_json(view, 200 if ready else 503)

    async def openapi(self) -> None:
        """Give the API's description."""
        self.answer(200, _document())

    async def docs(self) -> None:
        """Give the API's description for people."""
        self.answer(200, _page(), HTML, {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})


@cache
def _document() -> bytes:
    return orjson.dumps(openapi_document(ROUTES), option=orjson.OPT_INDENT_2)


@cache
def _page() -> bytes:
    return docs_page(openapi_document(ROUTES)).encode()
