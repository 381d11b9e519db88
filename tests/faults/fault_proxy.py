"""A TCP proxy that breaks what passes through it, between payd and a real server.

Bytes are passed on as they come, whatever they mean. A `Fault` holds for every connection from the moment it is set;
without one the proxy is a plain wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class Fault:
    """What goes wrong on the wire.

    ``latency_seconds`` before each chunk that goes to the server; ``hang`` holds what the client sends and
    ``late_replies`` what the server says, both until the fault is lifted, then they pass; ``drop_replies`` loses what
    the server says; ``cut_after`` lets that many bytes of replies pass on each connection, then ends it;
    ``reset`` ends a connection with RST as soon as the client sends.
    """

    latency_seconds: float = 0.0
    hang: bool = False
    late_replies: bool = False
    drop_replies: bool = False
    cut_after: int | None = None
    reset: bool = False


SOUND = Fault()


class FaultProxy:
    """Listens on a loopback port of its own and passes on to ``target_port``. Lives on one loop."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.connections = 0
        self.asked_bytes = 0  # what clients sent, whether or not the server heard it
        self.replied_bytes = 0  # what the server said, whether or not the client heard it
        self._fault = SOUND
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        """Accept connections; after `refuse` on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """End every connection and let the kernel refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._open):
            await _shut(writer)
        self._open.clear()

    async def set(self, fault: Fault) -> None:
        """Let a fault begin, or with `SOUND` end."""
        async with self._changed:
            self._fault = fault
            self._changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that this proxy counts."""
        async with self._changed:
            await self._changed.wait_for(true)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(client_out)
        try:
            await self._count(connections=1)
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._open.add(server_out)
            pumps = [
                asyncio.ensure_future(self._requests(client_in, server_out, client_out)),
                asyncio.ensure_future(self._replies(server_in, client_out)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                await self._end(server_out)
        except (OSError, asyncio.CancelledError):
            pass  # the server is gone, or the proxy ends: either way the connection does
        finally:
            await self._end(client_out)
            self._tasks.discard(task)

    async def _requests(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            await self._count(asked_bytes=len(chunk))
            if self._fault.reset:
                client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.transport.abort()
                return
            await asyncio.sleep(self._fault.latency_seconds)
            await self.until(lambda: not self._fault.hang)
            sink.write(chunk)
            await sink.drain()

    async def _replies(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        passed = 0
        while chunk := await source.read(CHUNK_BYTES):
            await self._count(replied_bytes=len(chunk))
            await self.until(lambda: not self._fault.late_replies)
            fault = self._fault
            if fault.drop_replies:
                continue
            part = chunk if fault.cut_after is None else chunk[: max(0, fault.cut_after - passed)]
            passed += len(part)
            sink.write(part)
            await sink.drain()
            if len(part) < len(chunk):
                return

    async def _count(self, *, connections: int = 0, asked_bytes: int = 0, replied_bytes: int = 0) -> None:
        async with self._changed:
            self.connections += connections
            self.asked_bytes += asked_bytes
            self.replied_bytes += replied_bytes
            self._changed.notify_all()

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        await _shut(writer)


async def _shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


class ProxyThread:
    """A `FaultProxy` with a loop in a thread of its own, for tests that are not asynchronous."""

    def __init__(self, target_port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.proxy = FaultProxy(target_port)
        self.do(self.proxy.listen())

    @property
    def port(self) -> int:
        return self.proxy.port

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine of the proxy's there."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def set(self, fault: Fault) -> None:
        self.do(self.proxy.set(fault))

    def close(self) -> None:
        self.do(self.proxy.refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def proxy_before(port: int) -> Iterator[ProxyThread]:
    """Put a proxy before a local port while the block runs."""
    proxy = ProxyThread(port)
    try:
        yield proxy
    finally:
        proxy.close()
