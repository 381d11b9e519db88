"""The listening side: accepts connections, keeps count of them, and hangs up on those that let payd wait.

One look a second at all connections takes the place of two timers for every request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

from payd import limits
from payd.web.http_connection import HttpConnection, Refusal, Request


class Door(Protocol):
    """Whom requests are handed to: an application that can also refuse what is no request."""

    def take(self, connection: HttpConnection, request: Request) -> None:
        """Take one request; must finish the connection's answer, now or later."""

    def refuse(self, connection: HttpConnection, refusal: Refusal) -> None:
        """Answer what could not be read as a request; must finish the connection's answer."""


class HttpServer:
    """Serves HTTP/1.1 on bound sockets until it is drained and closed. One loop, one thread."""

    def __init__(self, app: Door, *, tls: ssl.SSLContext | None = None) -> None:
        self.draining = False
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._listeners: list[asyncio.Server] = []
        self._connections: set[HttpConnection] = set()
        self._empty = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self.now: Callable[[], float] = self._loop.time
        self.soon = self._loop.call_soon
        self.take, self.refuse = app.take, app.refuse

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        handshake = limits.TLS_HANDSHAKE_SECONDS if self._tls else None
        for sock in sockets:
            listener = await self._loop.create_server(
                lambda: HttpConnection(self),
                sock=sock,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
                backlog=limits.BACKLOG,
            )
            self._listeners.append(listener)
        self._sweep()

    def stop(self) -> None:
        """Accept no more; connections are closed behind their next answer."""
        self.draining = True
        for listener in self._listeners:
            listener.close()

    async def close(self) -> None:
        """Close every connection: what was written gets a second to go out."""
        self.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.close()
        try:
            async with asyncio.timeout(1):
                while self._connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    def connected(self, connection: HttpConnection) -> None:
        """Count a connection in. When there are too many, the one that let payd wait longest makes room."""
        if len(self._connections) >= limits.CONNECTIONS_MAX:
            waiting = [(c.idle_since, id(c), c) for c in self._connections if c.idle_since is not None]
            if not waiting:
                connection.abort()
                return
            longest = min(waiting)[2]
            longest.abort()
            self._connections.discard(longest)  # at once: the next newcomer must not count on the same one
        self._connections.add(connection)

    def lost(self, connection: HttpConnection) -> None:
        """Count it out."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(limits.SWEEP_SECONDS, self._sweep)
        now = self.now()
        for connection in [c for c in self._connections if c.overdue(now)]:
            connection.abort()
