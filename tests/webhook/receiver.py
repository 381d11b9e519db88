"""A merchant's endpoint for tests: a real HTTP server on loopback, and the clock and entropy that go with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class ManualClock:
    """Stands still until it is told. Starts at the real time: the receiver's library checks stamps against that."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


class CountingEntropy:
    """Draws 1, 2, 3 as hex; jitter is whatever ``spread`` says."""

    def __init__(self) -> None:
        self.drawn = 0
        self.spread = 0.0

    def token_hex(self, byte_count: int) -> str:
        self.drawn += 1
        return f"{self.drawn:0{2 * byte_count}x}"

    def uniform(self, low: float, high: float) -> float:
        assert low <= self.spread <= high
        return self.spread


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    def verify(self, secret: str = SECRET) -> Any:
        """Check the signature as a merchant does, with the standard's own library."""
        return Webhook(secret).verify(self.body, dict(self.headers))


@dataclass
class Answer:
    """What the endpoint says."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """An endpoint that remembers what came. ``answer`` may wait; `hold` makes it wait for `let_go`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], Awaitable[Answer]] = self._scripted
        self.script: list[Answer] = []
        self.usual = Answer()
        self._open = asyncio.Event()
        self._open.set()
        self._news = asyncio.Condition()
        receiver = self

        class Handler(RequestHandler):
            async def post(self) -> None:
                request = Received(self.request.path, dict(self.request.headers), self.request.body)
                request = Received(request.path, {k.lower(): v for k, v in request.headers.items()}, request.body)
                answer = await receiver.handle(request)
                self.set_status(answer.status)
                for name, value in answer.headers.items():
                    self.set_header(name, value)
                await self.finish(answer.body or None)

            get = post

        self._server = HTTPServer(Application([(".*", Handler)], log_function=lambda handler: None))
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hold(self) -> None:
        """Answer nothing until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    async def handle(self, request: Received) -> Answer:
        self.received.append(request)
        async with self._news:
            self._news.notify_all()
        await self._open.wait()
        return await self.answer(request)

    async def until(self, count: int) -> None:
        """Wait until ``count`` requests came."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)

    async def _scripted(self, request: Received) -> Answer:
        return self.script.pop(0) if self.script else self.usual

    async def close(self) -> None:
        self.let_go()
        self._server.stop()
        await self._server.close_all_connections()
