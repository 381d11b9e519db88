"""A small daemon of the dashboard's own, answering exactly in the contract's shapes, and ways to drive the screens."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from rich.console import Console
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from dashboard.api_client import ApiClient
from dashboard.app import DashboardApp
from dashboard.settings import ApiKey, Settings

KEY = "test-key-0123456789"
START = 1_795_438_800.0  # 2026-11-23T13:00:00Z
LIST_PARAMS = {
    "/pay/orders": ("orders", {"status", "trade_type", "created_from", "created_to", "limit", "cursor"}),
    "/pay/refunds": ("refunds", {"status", "out_trade_no", "limit", "cursor"}),
    "/pay/notifications": ("notifications", {"result", "limit", "cursor"}),
    "/pay/deliveries": ("deliveries", {"status", "limit", "cursor"}),
    "/pay/discrepancies": ("discrepancies", {"status"}),
}
BOUNDS = ("0.005", "0.025", "0.1", "0.5", "2.5", "+Inf")


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def order_record(number: int, **members: Any) -> dict[str, Any]:
    """One order view of contract 1.6, its state by number unless given."""
    state = members.pop("status", ("PAID", "PAYING", "PAID", "CLOSED", "FAILED")[number % 5])
    paid = state == "PAID"
    record = {
        "out_trade_no": f"shop-{number:06d}",
        "status": state,
        "trade_type": "NATIVE",
        "description": f"红茶 tea {number}",
        "amount": {
            "total": 1000 + number,
            "currency": "CNY",
            "payer_total": 1000 + number if paid else None,
            "refunded": 0,
        },
        "transaction_id": f"42000{number:020d}" if paid else None,
        "attach": None,
        "metadata": {},
        "created_at": stamp(START - 60 * (1 + number)),
        "expires_at": stamp(START + 7200),
        "paid_at": stamp(START - 30) if paid else None,
        "closed_at": None,
        "livemode": False,
        "payments": [
            {"status": "SUCCESS" if paid else "PROCESSING", "trade_type": "NATIVE", "created_at": stamp(START - 60)}
        ],
        "refunds": [],
    }
    return record | members


class FakeDaemon:
    """Serves contract shapes on a free loopback port; a test scripts what it says and how it fails."""

    def __init__(self) -> None:
        self.mode = "sandbox"
        self.key = KEY
        self.epoch = START - 3600
        self.counters: dict[str, float] = {}
        self.lists: dict[str, list[Any]] = {
            "orders": [order_record(number) for number in range(30)],
            "refunds": [
                {
                    "out_refund_no": f"refund-{n}",
                    "refund_id": None,
                    "out_trade_no": "shop-000000",
                    "transaction_id": None,
                    "amount": {"refund": 300 + n, "total": 1000, "currency": "CNY"},
                    "status": ("REFUND_SUCCESS", "REFUNDING", "REFUND_FAIL")[n % 3],
                    "attention": "abnormal" if n == 1 else None,
                    "reason": "cold tea",
                    "created_at": stamp(START - 600),
                    "succeeded_at": None,
                }
                for n in range(6)
            ],
            "notifications": [
                {
                    "id": f"n-{n}",
                    "received_at": stamp(START - n),
                    "event_type": "TRANSACTION.SUCCESS",
                    "out_trade_no": f"shop-{n:06d}",
                    "out_refund_no": None,
                    "result": ("applied", "repeat", "signature_invalid")[n % 3],
                    "steps": [
                        {"step": "headers", "verdict": "ok"},
                        {"step": "signature", "verdict": "failed" if n % 3 == 2 else "ok"},
                    ],
                }
                for n in range(9)
            ],
            "deliveries": [
                {
                    "id": f"d-{n}",
                    "webhook_id": f"msg_{n}",
                    "url": "https://shop.example/hook",
                    "type": "order.paid",
                    "status": ("delivered", "pending", "dead")[n % 3],
                    "attempts": [
                        {"at": stamp(START - 5), "status": 500 if n % 3 else 204, "error": None, "duration_ms": 12}
                    ],
                    "next_at": stamp(START + 60) if n % 3 == 1 else None,
                }
                for n in range(6)
            ],
            "discrepancies": [
                {
                    "id": "disc-1",
                    "kind": "late_payment",
                    "status": "open",
                    "out_trade_no": "shop-000003",
                    "out_refund_no": None,
                    "transaction_id": "42001",
                    "detail": "paid after close",
                    "opened_at": stamp(START - 900),
                    "resolved_at": None,
                    "note": None,
                },
            ],
        }
        self.events = [
            {
                "at": stamp(START - 60),
                "subject": "order",
                "from": None,
                "to": "CREATED",
                "source": "api",
                "request_id": "req-1",
                "detail": None,
            },
            {
                "at": stamp(START - 59),
                "subject": "order",
                "from": "CREATED",
                "to": "PAYING",
                "source": "api",
                "request_id": "req-1",
                "detail": {"code_url": "weixin://wxpay/bizpayurl?pr=abc123"},
            },
        ]
        self.answers: dict[str, tuple[int, Any]] = {}
        self.hanging: set[str] = set()
        self.released = asyncio.Event()
        self.requests: list[HTTPServerRequest] = []
        self._server: HTTPServer | None = None
        self.port = 0
        self.count(0)

    # -- life

    def listen(self) -> None:
        sockets = [bind_unused_port()[0]] if self.port == 0 else None
        self._server = HTTPServer(self.application())
        if sockets is not None:
            self.port = sockets[0].getsockname()[1]
            self._server.add_sockets(sockets)
        else:
            self._server.listen(self.port, "127.0.0.1")

    def application(self) -> Application:
        return Application([(r"/.*", _Handler, {"daemon": self})])

    async def stop(self) -> None:
        if self._server is not None:
            self.released.set()
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self, method: str = "GET") -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    # -- words

    def count(self, orders: int, *, paid_fen: int = 0) -> None:
        """Counters and gauges as after `orders` paid orders since the start."""
        self.counters = {
            'payd_transitions_total{subject="order",state="PAYING",source="api"}': orders,
            "payd_paid_orders_total": orders,
            "payd_day_created_orders": orders + 2,
            "payd_day_paid_orders": orders,
            "payd_day_paid_amount_fen": paid_fen,
            "payd_day_refunded_amount_fen": paid_fen // 10,
            'payd_orders{status="PAYING"}': 2,
            "payd_discrepancies_open": 0,
            "payd_loop_lag_seconds": 0.002,
            "payd_clock_skew_seconds": 0.2,
            "payd_storage_free_bytes": 50 * 1024**3,
            "payd_storage_file_bytes": 1_000_000,
            "payd_storage_wal_bytes": 40_000,
            "payd_storage_queue_depth": 0,
            "payd_reconcile_backlog": 2,
            "payd_webhook_backlog": 0,
            "payd_http_requests_in_flight": 1,
            'payd_oldest_open_timestamp_seconds{subject="payment"}': 0,
            'payd_http_requests_total{route="/pay/create",method="POST",status="2xx"}': orders,
            'payd_http_requests_total{route="/pay/create",method="POST",status="5xx"}': 0,
            'payd_notifications_total{result="applied"}': orders,
            'payd_notifications_total{result="signature_invalid"}': 0,
            'payd_wechat_requests_total{operation="prepay",outcome="ok"}': orders,
            "payd_reconcile_last_success_timestamp_seconds": START - 3,
        }

    def metrics_text(self) -> str:
        lines = ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {self.epoch}"]
        lines += ["# TYPE payd_build_info gauge", f'payd_build_info{{version="0.1.0",mode="{self.mode}"}} 1']
        seen = set()
        for name, value in self.counters.items():
            family = name.partition("{")[0]
            if family not in seen:
                seen.add(family)
                kind = "counter" if family.endswith("_total") else "gauge"
                lines.append(f"# TYPE {family} {kind}")
            lines.append(f"{name} {value}")
        number = self.counters["payd_paid_orders_total"]
        for family, label in (
            ("payd_http", 'route="/pay/create"'),
            ("payd_http", 'route="/pay/notify/wechat"'),
            ("payd_wechat", 'operation="prepay"'),
        ):
            name = f"{family}_request_duration_seconds"
            if name not in seen:
                seen.add(name)
                lines.append(f"# TYPE {name} histogram")
            lines += [
                f'{name}_bucket{{{label},le="{b}"}} {number * share}'
                for b, share in zip(BOUNDS, (0.5, 0.9, 1, 1, 1, 1), strict=True)
            ]
            lines += [f"{name}_count{{{label}}} {number}", f"{name}_sum{{{label}}} {number * 0.01}"]
        return "\n".join(lines) + "\n"

    def answer(self, request: HTTPServerRequest) -> tuple[int, Any]:
        path, params = request.path, {name: values[0].decode() for name, values in request.query_arguments.items()}
        if path in self.answers:
            return self.answers[path]
        if path == "/metrics":
            return 200, self.metrics_text()
        if path == "/readyz":
            return 200, {
                "status": "ready",
                "mode": self.mode,
                "version": "0.1.0",
                "checks": {"storage": "ok", "keys": "ok", "draining": "no"},
            }
        if request.headers.get("X-Api-Key") != self.key:
            return 401, self.problem(401, "invalid_api_key", "The API key is not known.")
        if request.method == "POST":
            return self.change(path, json.loads(request.body or b"{}"))
        if path in LIST_PARAMS:
            return self.page(LIST_PARAMS[path], params)
        if path == "/pay/query":
            found = [order for order in self.lists["orders"] if order["out_trade_no"] == params.get("out_trade_no")]
            return (200, found[0]) if found else (404, self.problem(404, "order_not_found", "No such order."))
        if path.startswith("/pay/orders/") and path.endswith("/events"):
            return 200, {"events": self.events}
        if path == "/pay/reconcile/summary":
            return 200, {
                "open_payments": 2,
                "open_refunds": 1,
                "due_now": 0,
                "oldest_open_at": stamp(START - 300),
                "last_run_at": stamp(START - 3),
                "last_run": {"asked": 2, "settled": 1, "failed": 0},
                "open_discrepancies": 1,
                "enabled": True,
                "interval_seconds": 5,
            }
        if path == "/pay/metrics/auth":
            return 200, {"missing_key": 0, "invalid_key": 3, "scope_denied": 0, "not_configured": 0}
        return 404, self.problem(404, "not_found", "No such path.")

    def page(self, told: tuple[str, set[str]], params: dict[str, str]) -> tuple[int, Any]:
        name, allowed = told
        if set(params) - allowed:
            return 400, self.problem(400, "invalid_request", f"unknown query parameters {set(params) - allowed}")
        items = self.lists[name]
        for field in ("status", "result", "trade_type", "out_trade_no"):
            if field in params:
                items = [item for item in items if isinstance(item, dict) and item.get(field) == params[field]]
        if "limit" not in allowed:
            return 200, {name: items}
        key = {"orders": "out_trade_no", "refunds": "out_refund_no"}.get(name, "id")
        start = 0
        if "cursor" in params:
            start = 1 + next(at for at, item in enumerate(items) if item[key] == params["cursor"])
        limit = int(params.get("limit", "20"))
        page = items[start : start + limit]
        more = start + limit < len(items)
        return 200, {name: page, "next_cursor": page[-1][key] if more else None}

    def change(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/pay/refund":
            return 201, {"out_refund_no": "r-new", "status": "REFUNDING", "out_trade_no": body["out_trade_no"]}
        if path == "/pay/close":
            return 200, order_record(1, status="CLOSED")
        if path.endswith("/resend"):
            return 202, {"id": unquote(path.split("/")[3])}
        if path.endswith("/resolve"):
            self.lists["discrepancies"] = []
            return 200, {"id": path.split("/")[3], "status": "resolved", "note": body["note"]}
        return 404, self.problem(404, "not_found", "No such path.")

    @staticmethod
    def problem(status: int, code: str, detail: str) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": code,
            "status": status,
            "detail": detail,
            "code": code,
            "retryable": False,
            "request_id": "req-x",
            "errors": [],
        }


class _Handler(RequestHandler):
    def initialize(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon

    async def _serve(self) -> None:
        self.daemon.requests.append(self.request)
        if self.request.path in self.daemon.hanging:
            await self.daemon.released.wait()
        status, body = self.daemon.answer(self.request)
        self.set_status(status)
        if isinstance(body, bytes):
            self.write(body)
        elif isinstance(body, str):
            self.set_header("Content-Type", "text/plain; version=0.0.4")
            self.write(body)
        else:
            kind = "application/json" if status < 400 else "application/problem+json"
            self.set_header("Content-Type", kind)
            self.write(json.dumps(body))

    get = post = _serve

    def log_exception(self, *args: Any) -> None:
        """A hung request ends with its connection."""


class Bench:
    """A dashboard on a fake daemon with a clock that only moves when told."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon
        self.clock = START
        self.keys = 0

    def now(self) -> float:
        return self.clock

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    @asynccontextmanager
    async def running(
        self, size: tuple[int, int] = (100, 30), *, key: str | None = KEY, timeout: float = 5.0, **options: Any
    ) -> Any:
        """The application after its first tick, with its pilot."""
        settings = Settings(url=self.daemon.url, **options.pop("settings", {}))
        source = ApiClient(
            settings.url, ApiKey(key) if key else None, lang=settings.lang, request_timeout_seconds=timeout
        )
        app = DashboardApp(settings, source, clock=self.now, new_key=self.new_key, polling=False, **options)
        try:
            async with app.run_test(size=size, notifications=True) as pilot:
                await pilot.pause()
                await self.tick(app, pilot)
                yield app, pilot
        finally:
            source.close()

    async def tick(self, app: DashboardApp, pilot: Any, *, seconds: float = 0.0) -> None:
        """Let `seconds` go by, poll once, and let the screens draw."""
        self.clock += seconds
        await app.poller.poll_once()
        await pilot.pause(0)
        app.tick()
        await pilot.pause()

    async def press(self, app: DashboardApp, pilot: Any, *keys: str) -> None:
        """Press keys, then poll once so that what they lead to has its data."""
        await pilot.press(*keys)
        await pilot.pause(0)
        await self.tick(app, pilot)


def rendered(app: DashboardApp) -> str:
    """What is on the terminal, as lines of text."""
    width, height = app.size
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True, record=True, legacy_windows=False
    )
    console.print(app.screen._compositor.render_update(full=True))
    return "\n".join(line.rstrip() for line in console.export_text().split("\n")).rstrip("\n") + "\n"


@pytest.fixture
def daemon(io_loop: Any) -> Any:
    """A running fake daemon."""

    async def begin() -> FakeDaemon:
        made = FakeDaemon()
        made.listen()
        return made

    made = io_loop.run_sync(begin)
    yield made
    io_loop.run_sync(made.stop)


@pytest.fixture
def bench(daemon: FakeDaemon) -> Bench:
    """A dashboard's surroundings."""
    return Bench(daemon)


@pytest.fixture
def text_of() -> Callable[[DashboardApp], str]:
    """The terminal as text."""
    return rendered


@pytest.fixture
def make_order() -> Callable[..., dict[str, Any]]:
    """Makes order views."""
    return order_record
