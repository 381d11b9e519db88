"""The proxy itself: each fault does what it says, so that a passing test means something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.faults.fault_proxy import SOUND, Fault, FaultProxy


class Echo:
    """A server that says back what it hears, behind a proxy."""

    def __init__(self) -> None:
        self.heard = b""
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.proxy = FaultProxy(self._server.sockets[0].getsockname()[1])
        await self.proxy.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while chunk := await reader.read(100):
                self.heard += chunk
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        await self.proxy.refuse()
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


@pytest.fixture
def echo(io_loop: IOLoop) -> Iterator[Echo]:
    async def make() -> Echo:
        made = Echo()
        await made.start()
        return made

    made: Echo = io_loop.run_sync(make)
    yield made
    io_loop.run_sync(made.close)


async def test_without_a_fault_it_is_a_wire(echo: Echo) -> None:
    """Both ways, byte for byte."""
    reader, writer = await echo.connect()
    writer.write(b"hello")

    assert await reader.readexactly(5) == b"hello"


async def test_a_hang_holds_what_the_client_sends(echo: Echo) -> None:
    """The server hears nothing until the fault is lifted."""
    reader, writer = await echo.connect()
    await echo.proxy.set(Fault(hang=True))
    writer.write(b"hello")
    await echo.proxy.until(lambda: echo.proxy.asked_bytes == 5)

    assert echo.heard == b""
    await echo.proxy.set(SOUND)
    assert await reader.readexactly(5) == b"hello"


async def test_late_replies_come_when_the_fault_is_lifted(echo: Echo) -> None:
    """The server heard and answered; the client hears it later."""
    reader, writer = await echo.connect()
    await echo.proxy.set(Fault(late_replies=True))
    writer.write(b"hello")
    await echo.proxy.until(lambda: echo.proxy.replied_bytes == 5)
    answer = asyncio.ensure_future(reader.readexactly(5))
    await asyncio.sleep(0)

    assert not answer.done()
    await echo.proxy.set(SOUND)
    assert await answer == b"hello"


async def test_dropped_replies_are_lost(echo: Echo) -> None:
    """The server heard and answered; the client never hears that."""
    reader, writer = await echo.connect()
    await echo.proxy.set(Fault(drop_replies=True))
    writer.write(b"lost!")
    await echo.proxy.until(lambda: echo.proxy.replied_bytes == 5)
    await echo.proxy.set(SOUND)
    writer.write(b"found")

    assert await reader.readexactly(5) == b"found"
    assert echo.heard == b"lost!found"


async def test_a_connection_is_cut_after_so_many_bytes(echo: Echo) -> None:
    """What came before the cut arrives."""
    reader, writer = await echo.connect()
    await echo.proxy.set(Fault(cut_after=3))
    writer.write(b"hello")

    assert await reader.read() == b"hel"
    assert echo.heard == b"hello"


async def test_a_reset_is_a_reset(echo: Echo) -> None:
    """RST, not FIN: the client's read fails, and the server heard nothing."""
    reader, writer = await echo.connect()
    await echo.proxy.set(Fault(reset=True))
    writer.write(b"hello")

    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert echo.heard == b""


async def test_refused_is_refused_until_it_listens_again(echo: Echo) -> None:
    """Connections end, new ones fail, and the port comes back as it was."""
    first, _ = await echo.connect()
    port = echo.proxy.port
    await echo.proxy.until(lambda: echo.proxy.connections == 1)
    await echo.proxy.refuse()

    assert await first.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await echo.connect()
    await echo.proxy.listen()
    again, writer = await echo.connect()
    writer.write(b"hello")

    assert await again.readexactly(5) == b"hello"
    assert echo.proxy.port == port
