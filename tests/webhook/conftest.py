"""Fixtures: a receiving server and raw TCP endpoints on loopback, a clock that stands still, counted entropy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from tests.webhook.receiver import CountingEntropy, ManualClock, Receiver


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def entropy() -> CountingEntropy:
    return CountingEntropy()


@pytest.fixture
def receiver(io_loop: IOLoop) -> Iterator[Receiver]:
    server = Receiver()
    yield server
    io_loop.run_sync(server.close)


@pytest.fixture
def raw_endpoint(io_loop: IOLoop) -> Iterator[Callable[[Callable[[IOStream], Awaitable[None]]], str]]:
    """Make endpoints that speak raw bytes: give a function of the connection, get the URL."""
    servers: list[TCPServer] = []
    streams: list[IOStream] = []

    def make(talk: Callable[[IOStream], Awaitable[None]]) -> str:
        class Raw(TCPServer):
            async def handle_stream(self, stream: IOStream, address: object) -> None:
                streams.append(stream)
                try:
                    await talk(stream)
                except StreamClosedError:
                    pass  # the other side went away first

        server = Raw()
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        servers.append(server)
        return f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hook"

    yield make
    for server in servers:
        server.stop()
    for stream in streams:
        stream.close()
