"""The HTTP/1.1 server over real sockets: every request gets its own answer, and what is no request gets none."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.testing import bind_unused_port

from payd import limits
from payd.errors import RequestError
from payd.http_headers import Headers
from payd.web.http_connection import HttpConnection, Refusal, Request
from payd.web.http_server import HttpServer
from tests.loops import LOOPS, PATIENCE_SECONDS, current_loop, until

HOST = b"Host: x\r\n"
SECOND = b"GET /echo?second HTTP/1.1\r\n" + HOST + b"\r\n"
LARGE_BYTES = 8_000_000  # more than the kernel takes off our hands on loopback


# -- a small house with a door ------------------------------------------------------------------------------------


@dataclass
class Seen:
    """A request as the door saw it, and over what it came."""

    uri: str
    body: bytes
    headers: Headers
    protocol: str


class Door:
    """Says to everybody what was asked, by what the path is called, and remembers."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.seen: list[Seen] = []
        self.refused: list[RequestError] = []
        self.broken: list[BaseException] = []
        self.answering: set[asyncio.Task[None]] = set()

    def refuse(self, connection: HttpConnection, refusal: Refusal) -> None:
        self.refused.append(refusal.error)
        code = refusal.error.code
        connection.answer(413 if code == "body_too_large" else 400, [], code.encode())

    def take(self, connection: HttpConnection, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self.answer(connection, request))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    async def answer(self, connection: HttpConnection, request: Request) -> None:
        """``/wait`` answers when the gate opens, ``/large`` more than a socket holds, ``/empty`` without content."""
        uri = request.path + ("?" + request.query if request.query else "")
        self.seen.append(Seen(uri, request.body, request.headers, connection.peer.protocol))
        if request.path == "/wait":
            await self.gate.wait()
        status, headers = 200, [("Content-Type", "text/plain")]
        body = f"{request.method} {uri} ".encode() + request.body
        if request.path == "/large":
            body = b"x" * LARGE_BYTES
        elif request.path == "/empty":
            status, body = 204, b""
        elif request.path == "/unsayable":
            headers = [("X-Split", "a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK")]
        elif request.path not in ("/echo", "/wait"):
            status = 404
        try:
            connection.answer(status, headers, body)
        except ValueError as error:
            self.broken.append(error)

    @property
    def uris(self) -> list[str]:
        return [seen.uri for seen in self.seen]


@dataclass
class Answer:
    """Status, headers and body of one answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, used as raw as it is."""

    def __init__(self, sock: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sock, self.reader, self.writer = sock, reader, writer

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            self.writer.write(data)
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "no header twice"
        return int(lines[0].split(" ")[1]), headers

    async def answer(self, *, bodiless: bool = False) -> Answer:
        status, headers = await self.head()
        size = 0 if bodiless or status == 204 else int(headers["content-length"])
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Answer(status, headers, await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """What comes until the server ends the connection in order."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    async def cut(self) -> bool:
        """Tell whether the server ends the connection, in whatever way, saying nothing more."""
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Vanish, as a crashed client does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class House:
    """A server with its door, a clock that moves when told, and clients that are closed in the end."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.door = Door()
        self.server = HttpServer(self.door, tls=tls)
        self.clock = 1000.0
        self.server.now = lambda: self.clock
        self.clients: list[Client] = []
        self.port = 0

    async def open(self, tls: ssl.SSLContext | None = None) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            except OSError:
                sock.close()
                raise
            named = {"ssl": tls, "server_hostname": "127.0.0.1"} if tls else {}
            client = Client(sock, *await asyncio.open_connection(sock=sock, **named))
        self.clients.append(client)
        return client

    async def known(self, count: int = 1) -> list[HttpConnection]:
        """The server's connections, once there are that many."""
        await until(lambda: len(self.server._connections) == count)
        return list(self.server._connections)

    async def talk(self, *pieces: bytes) -> Client:
        """A client that has sent this."""
        client = await self.open()
        for piece in pieces:
            await client.send(piece)
        return client

    def sweep(self, *, after: float) -> None:
        """Let time pass, and the server look who lets it wait."""
        self.clock += after
        self.server._sweeper.cancel()
        self.server._sweep()


@contextlib.asynccontextmanager
async def open_house(tls: ssl.SSLContext | None = None) -> AsyncIterator[House]:
    problems: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: problems.append(context))
    house = House(tls)
    sock, house.port = bind_unused_port(address="127.0.0.1")
    await house.server.start([sock])
    try:
        yield house
    finally:
        house.door.gate.set()
        for client in house.clients:
            await client.close()
        await house.server.close()
    assert problems == [], "nothing fell out of a callback"


@pytest.fixture(autouse=True, params=LOOPS)
def io_loop(request: pytest.FixtureRequest) -> Any:
    """The loop of asyncio itself and uvloop: they differ in how a connection ends."""
    with current_loop(request.param) as loop:
        yield loop


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(path: str, *chunks: bytes, trailers: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


# -- a wire without a socket --------------------------------------------------------------------------------------


class Wire:
    """A transport that keeps what is written, and that hands over no bytes while it is told to pause."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.readable = asyncio.Event()
        self.readable.set()
        self.ended = asyncio.Event()

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.ended.is_set(), "nothing is written behind the end"
        self.written += data

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def write_eof(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closing = True
        self.readable.set()
        self.ended.set()

    abort = close


async def play(pieces: Iterable[bytes], *, gate: bool = True, ends: bool = True) -> tuple[bytes, Door]:
    """Feed these pieces; the answers and the door. With ``ends`` the connection must end by itself."""
    door = Door()
    if gate:
        door.gate.set()
    wire, connection = Wire(), HttpConnection(HttpServer(door))
    connection.connection_made(wire)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for piece in pieces:
            await wire.readable.wait()
            if not wire.closing:
                connection.data_received(piece)
        if ends:
            await wire.ended.wait()
        else:
            await until(lambda: not (connection._busy or connection._waiting or connection._unread))
    connection.connection_lost(None)
    return wire.written, door


def bodies(answers: bytes) -> list[bytes]:
    """The bodies of concatenated answers; nothing may be left over."""
    found = []
    while answers:
        head, answers = answers.split(b"\r\n\r\n", 1)
        size = re.search(rb"(?i)^content-length: (\d+)\r?$", head, re.MULTILINE)
        assert head.startswith(b"HTTP/1.1 ")
        assert size is not None
        assert len(answers) >= int(size[1]), "a whole body"
        found.append(answers[: int(size[1])])
        answers = answers[int(size[1]) :]
    return found


# -- keep-alive ---------------------------------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_another() -> None:
    """HTTP/1.1 stays open, and says nothing about it."""
    async with open_house() as house:
        client = await house.open()

        for number in range(5):
            await client.send(post(f"/echo?{number}", b"tea"))
            answer = await client.answer()

            assert (answer.status, answer.body) == (200, f"POST /echo?{number} tea".encode())
            assert "connection" not in answer.headers


async def test_connection_close_closes() -> None:
    """The answer says so too; what is sent behind it is no request any more."""
    async with open_house() as house:
        client = await house.talk(get("/echo", "Connection: close") + SECOND)

        answer = await client.answer()

        assert (answer.body, answer.headers["connection"]) == (b"GET /echo ", "close")
        assert await client.rest() == b""
        assert house.door.uris == ["/echo"]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://x/echo", "/echo"), ("HTTP://x/echo", "/echo"), ("http://x?u=/pay/create", "/?u=/pay/create"),
        ("https://x:8443/echo?a=//b", "/echo?a=//b"), ("http://x/", "/"), ("http://x", "/"),
        ("/echo?u=http://x/y", "/echo?u=http://x/y"), ("//x/echo", "//x/echo"),
    ],
)  # fmt: skip
async def test_a_target_in_absolute_form_is_its_path(target: str, path: str) -> None:
    """Every server must understand it (RFC 9112, 3.2.2); proxies send it."""
    async with open_house() as house:
        client = await house.talk(get(target))

        await client.answer()

        assert house.door.uris == [path]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([], "once"), (["x", "y"], "once"), (["x,y"], "once"), (["a b"], "no name"), (["a/b"], "no name"),
        (["a@b"], "no name"), (["%4"], "no name"), ([""], None), (["[::1]:8080"], None), (["shop.example:80"], None),
    ],
    ids=str,
)  # fmt: skip
async def test_a_host_is_named_once_and_is_one(hosts: list[str], words: str | None) -> None:
    """What is wrong with it is said; an empty one is allowed (RFC 9112, 3.2)."""
    async with open_house() as house:
        lines = ["GET /echo HTTP/1.1", *(f"Host: {host}" for host in hosts), "", ""]
        client = await house.talk("\r\n".join(lines).encode())

        answer = await client.answer()

        assert answer.status == (400 if words else 200)
        assert [words in str(refused.complaints[0].issue) for refused in house.door.refused] == [True] * bool(words)


async def test_http_1_0_closes() -> None:
    """Also without Host, which 1.0 does not know."""
    async with open_house() as house:
        client = await house.talk(b"GET /echo HTTP/1.0\r\n\r\n")

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""


async def test_http_1_0_with_keep_alive_stays_and_says_so() -> None:
    """An old client does not know otherwise that it may go on."""
    async with open_house() as house:
        client = await house.open()

        for _ in range(2):
            await client.send(get("/echo", "Connection: keep-alive", version="1.0"))
            answer = await client.answer()

            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")


async def test_head_answers_carry_no_body() -> None:
    """The length is the one of GET, and the next answer begins at once."""
    async with open_house() as house:
        client = await house.talk(b"HEAD /echo HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND)

        head = await client.answer(bodiless=True)
        second = await client.answer()

        assert (head.status, head.headers["content-length"]) == (200, "11")
        assert second.body == b"GET /echo?second "


async def test_an_answer_without_content_needs_no_length() -> None:
    """204 has none, and the connection stays."""
    async with open_house() as house:
        client = await house.talk(get("/empty") + SECOND)

        empty = await client.answer()
        second = await client.answer()

        assert (empty.status, "content-length" in empty.headers) == (204, False)
        assert second.body == b"GET /echo?second "


# -- pipelining ---------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order() -> None:
    """The second waits for the first, however long that takes."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + post("/echo?1", b"a"), post("/echo?2", b"b"))
        await until(lambda: house.door.seen)
        before = list(house.door.uris)
        house.door.gate.set()

        answers = [await client.answer() for _ in range(3)]

        assert before == ["/wait"]
        assert [a.body for a in answers] == [b"GET /wait ", b"POST /echo?1 a", b"POST /echo?2 b"]


async def test_hundreds_of_requests_in_one_write_are_all_answered() -> None:
    """None is lost, none comes twice, whatever piece of one a read ends with."""
    async with open_house() as house:
        client = await house.open()
        sending = asyncio.create_task(client.send(b"".join(post(f"/echo?{n}", b"x" * n) for n in range(800))))

        answers = [await client.answer() for _ in range(800)]
        await sending

        assert [a.body for a in answers] == [f"POST /echo?{n} ".encode() + b"x" * n for n in range(800)]
        assert len(house.door.seen) == 800


def connect(door: Door) -> tuple[HttpConnection, Wire]:
    """A connection without a socket."""
    wire, connection = Wire(), HttpConnection(HttpServer(door))
    connection.connection_made(wire)
    return connection, wire


async def test_one_turn_reads_a_bounded_share_whatever_came() -> None:
    """Thousands of requests in one read cost a turn no more than a few dozen: the others' turns come in between."""
    door = Door()
    door.gate.set()
    connection, wire = connect(door)
    small = get("/echo")
    most = limits.READ_SLICE_BYTES // len(small) + 2

    connection.data_received(small * 4000)

    assert len(door.seen) <= 1
    assert len(connection._waiting) <= most
    assert not wire.readable.is_set(), "and nothing more is taken from the socket"
    worst = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(door.seen) < 4000:
            await asyncio.sleep(0)
            worst = max(worst, len(connection._waiting))
    assert worst <= most
    await until(lambda: not connection._busy)
    assert len(bodies(wire.written)) == 4000
    assert wire.readable.is_set()
    connection.connection_lost(None)


async def test_one_turn_reads_a_bounded_share_of_a_body() -> None:
    """A body goes on in the turns that follow, and arrives whole."""
    door = Door()
    connection, _ = connect(door)
    body = b"x" * limits.BODY_BYTES_MAX

    connection.data_received(post("/echo", body))

    assert connection._body_bytes <= limits.READ_TURN_BYTES
    await until(lambda: bool(door.seen))
    assert door.seen[0].body == body
    connection.connection_lost(None)


async def test_a_body_of_countless_chunks_is_refused() -> None:
    """A chunk of one byte costs as much as a large one."""
    written, door = await play([chunked("/echo", *[b"x"] * (limits.CHUNKS_MAX + 1))])

    assert not door.seen
    assert len(door.refused) == 1
    assert len(bodies(written)) == 1


async def test_a_thousand_upgrades_in_one_write_are_a_thousand_requests() -> None:
    """None is lost, nothing recurses, and what stands before them is served as well."""
    written, door = await play([SECOND + get("/echo", H2C) * 1000], ends=False)

    assert len(door.seen) == 1001
    assert len(bodies(written)) == 1001


async def test_a_read_that_begins_and_ends_inside_heads_is_not_taken_for_one_long_head() -> None:
    """Only what belongs to one request counts against the limit of its head."""
    stream = get("/echo", "X-Pad: " + "p" * 200) * 200
    middle = len(stream) - 100

    answers, door = await play([stream[:100], stream[100:middle], stream[middle:]], ends=False)

    assert bodies(answers) == [b"GET /echo "] * 200
    assert door.refused == []


async def test_garbage_behind_requests_is_refused_in_its_turn() -> None:
    """What was asked well is answered well first."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + get("/echo?1") + b"\x00\x01\x02\r\n\r\n" + SECOND)
        await until(lambda: house.door.seen)
        house.door.gate.set()

        answers = [await client.answer() for _ in range(3)]

        assert [(a.status, a.body) for a in answers[:2]] == [(200, b"GET /wait "), (200, b"GET /echo?1 ")]
        assert (answers[2].status, answers[2].headers["connection"]) == (400, "close")
        assert await client.rest() == b""
        assert house.door.uris == ["/wait", "/echo?1"]


# -- in pieces ----------------------------------------------------------------------------------------------------


async def test_a_request_may_come_byte_by_byte() -> None:
    """Head and body."""
    async with open_house() as house:
        client = await house.open()

        for byte in post("/echo", b"tea", "X-Empty:"):
            await client.send(bytes([byte]))

        assert (await client.answer()).body == b"POST /echo tea"


async def test_a_head_below_the_limit_passes_in_any_pieces() -> None:
    """Its bytes are counted once, not once for each way to look at them."""
    long = limits.HEADER_BYTES_MAX - 400
    request = get("/echo?" + "u" * (long // 2), "X-Pad: " + "p" * (long // 2), "Connection: close")

    answers, door = await play(bytes([byte]) for byte in request)

    assert door.refused == []
    assert len(bodies(answers)) == 1


async def test_a_body_may_come_in_pieces() -> None:
    """It is whole when the handler sees it."""
    async with open_house() as house:
        request = post("/echo", b"x" * 200_000)

        client = await house.talk(request[:100], request[100:70_000], request[70_000:])

        assert len((await client.answer()).body) == len(b"POST /echo ") + 200_000


async def test_a_chunked_body_is_put_together_and_its_trailers_are_dropped() -> None:
    """They become headers neither of this request nor of the next one."""
    async with open_house() as house:
        client = await house.talk(chunked("/echo", b"te", b"a", trailers=b"X-Api-Key: evil\r\nX-More: 1\r\n") + SECOND)

        first, second = await client.answer(), await client.answer()

        assert (first.body, second.body) == (b"POST /echo tea", b"GET /echo?second ")
        assert all("x-api-key" not in seen.headers for seen in house.door.seen)


@pytest.mark.parametrize("send", [post, chunked])
async def test_a_body_at_the_limit_passes_whole_and_one_byte_more_is_seen_as_that(send: Any) -> None:
    """The door tells a body that is too large by its size; whatever its length, it gets one byte more than allowed."""
    async with open_house() as house:
        for size in (limits.BODY_BYTES_MAX, limits.BODY_BYTES_MAX + 1, limits.BODY_BYTES_MAX + 500_000):
            client = await house.open()
            sending = asyncio.create_task(client.send(send("/empty", b"x" * size)))
            await client.answer()
            await sending

        most = limits.BODY_BYTES_MAX
        assert [len(seen.body) for seen in house.door.seen] == [most, most + 1, most + 1]


async def test_a_body_that_nobody_wants_to_drain_is_refused_by_its_length() -> None:
    """413 before a byte of it is read."""
    async with open_house() as house:
        length = limits.DRAINED_BYTES_MAX + 1
        client = await house.talk(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % length)

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.rest() == b""
        assert house.door.seen == []


async def test_a_chunked_body_that_nobody_wants_to_drain_is_refused_on_the_way(monkeypatch: Any) -> None:
    """Its length is only known when it is there; and the client that sends on can read why."""
    monkeypatch.setattr(limits, "DRAINED_BYTES_MAX", 400_000)
    async with open_house() as house:
        client = await house.open()
        sending = asyncio.create_task(client.send(chunked("/echo", *[b"x" * 1000] * 2000)))

        answer = await client.answer()

        assert answer.status == 413
        await sending
        assert await client.rest() == b""
        assert house.door.seen == []


# -- Expect -------------------------------------------------------------------------------------------------------

ASKING = b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    """Before its body, and it gets its answer behind it."""
    async with open_house() as house:
        client = await house.talk(ASKING % 3)

        told = await client.head()
        await client.send(b"tea")
        answer = await client.answer()

        assert (told, answer.body) == ((100, {}), b"POST /echo tea")


async def test_a_client_that_asks_first_is_told_at_once_when_its_body_is_too_large() -> None:
    """Nothing of it is waited for."""
    async with open_house() as house:
        client = await house.talk(ASKING % (limits.BODY_BYTES_MAX + 1))

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.rest() == b""
        assert house.door.seen == []


async def test_a_client_that_asks_behind_another_request_is_told_behind_its_answer() -> None:
    """A 100 before the first answer would be taken for its beginning."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + ASKING % 3)
        [connection] = await house.known()
        await until(lambda: house.door.seen and connection._in_body)
        house.door.gate.set()

        first = await client.answer()
        told = await client.head()
        await client.send(b"tea")
        second = await client.answer()

        assert (first.body, told, second.body) == (b"GET /wait ", (100, {}), b"POST /echo tea")


# -- what is no request -------------------------------------------------------------------------------------------

ECHO = b"GET /echo HTTP/1.1\r\n" + HOST
POST = b"POST /echo HTTP/1.1\r\n" + HOST
NOT_HTTP = {
    "length_and_coding": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding_and_length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two_lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\ntea",
    "the_same_length_twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\ntea",
    "a_list_of_lengths": POST + b"Content-Length: 3, 3\r\n\r\ntea",
    "plus_length": POST + b"Content-Length: +2\r\n\r\nte",
    "minus_length": POST + b"Content-Length: -2\r\n\r\nte",
    "hex_length": POST + b"Content-Length: 0x3\r\n\r\ntea",
    "no_length": POST + b"Content-Length:\r\n\r\ntea",
    "huge_length": POST + b"Content-Length: 99999999999999999999999\r\n\r\ntea",
    "gzip_chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked_twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked_in_1_0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk_size_is_none": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk_longer_than_said": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\ntea\r\n0\r\n\r\n",
    "chunk_line_ends_in_lf": POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\ntea\r\n0\r\n\r\n",
    "space_before_colon": ECHO + b"X-A : 1\r\n\r\n",
    "nul_in_a_header": ECHO + b"X-A: a\x00b\r\n\r\n",
    "cr_in_a_header": ECHO + b"X-A: a\rb\r\n\r\n",
    "bare_lf": b"GET /echo HTTP/1.1\nHost: x\n\n",
    "bare_lf_behind_a_header": b"GET /echo HTTP/1.1\r\nHost: x\n\r\n",
    "folded_header": ECHO + b"X-A: a\r\n b\r\n\r\n",
    "header_without_colon": ECHO + b"X-A\r\n\r\n",
    "header_without_name": ECHO + b": a\r\n\r\n",
    "no_host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two_hosts": ECHO + b"Host: y\r\n\r\n",
    "http_2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http_2": b"GET /echo HTTP/2.0\r\n" + HOST + b"\r\n",
    "http_1_2": b"GET /echo HTTP/1.2\r\n" + HOST + b"\r\n",
    "http_0_9": b"GET /echo\r\n",
    "garbage": b"\x00\xff\x00\xff no request at all\r\n\r\n",
    "an_answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "tls_on_a_plain_port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "non_ascii_target": "GET /echo?茶 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "control_in_the_target": b"GET /ec\x01ho HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown_method": b"BREW /echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
}


@pytest.mark.parametrize("bad", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_no_request_is_refused_and_nothing_behind_it_is_served(bad: bytes) -> None:
    """One answer, the end of the connection, and no handler ran: nothing can be smuggled in behind it."""
    async with open_house() as house:
        client = await house.talk(bad + SECOND)

        answer = await client.answer()

        assert 400 <= answer.status < 500
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""
        assert house.door.seen == []


@pytest.mark.parametrize("bad", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_no_request_is_refused_in_any_pieces(bad: bytes) -> None:
    """Byte by byte as at once."""
    whole, _ = await play([bad + SECOND])

    pieces, door = await play(bytes([byte]) for byte in bad + SECOND)

    assert whole == pieces
    assert door.seen == []


ENDLESS = {
    "many_headers": (ECHO, b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
    "one_header": (ECHO + b"X-A: ", b"a" * 100),
    "one_name": (ECHO, b"a" * 100),
    "request_line": (b"GET /echo?", b"a" * 100),
    "many_trailers": (chunked("/echo")[:-2], b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
    "one_trailer": (chunked("/echo")[:-2] + b"X-A: ", b"a" * 100),
}


@pytest.mark.parametrize("begin, more", ENDLESS.values(), ids=ENDLESS)
async def test_an_endless_head_is_refused_while_it_comes(begin: bytes, more: bytes) -> None:
    """Soon behind the limit, however it comes: nobody fills the memory with it."""
    pieces = [more] * (2 * limits.HEADER_BYTES_MAX // len(more) + 1)

    for fed in ([begin, *pieces], [begin + b"".join(pieces[: len(pieces) // 2]), *pieces[len(pieces) // 2 :]]):
        answers, door = await play(fed)

        assert [error.code for error in door.refused] == ["invalid_request"]
        assert len(bodies(answers)) == 1
        assert door.seen == []


@pytest.mark.parametrize("begin, more", ENDLESS.values(), ids=ENDLESS)
async def test_who_sends_on_can_read_why_he_was_refused(begin: bytes, more: bytes) -> None:
    """The server hears the client out: a connection reset by its bytes would take the refusal with it."""
    async with open_house() as house:
        client = await house.talk(begin)
        await house.known()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not house.door.refused:
                await client.send(more * 10)
                await asyncio.sleep(0)
        await client.send(more * (1_000_000 // len(more)))

        answer = await client.answer()

        assert answer.status == 400
        assert await client.rest() == b""
        assert house.door.seen == []


async def test_who_sends_on_behind_a_request_without_host_can_read_why() -> None:
    """The same for what is refused only behind the parser."""
    async with open_house() as house:
        client = await house.talk(NOT_HTTP["no_host"])
        await until(lambda: house.door.refused)
        for _ in range(10):
            await client.send(SECOND * 2000)

        assert (await client.answer()).status == 400
        assert await client.rest() == b""
        assert house.door.seen == []


async def test_a_refused_client_that_does_not_leave_is_cut() -> None:
    """It had its time to read."""
    async with open_house() as house:
        client = await house.talk(NOT_HTTP["garbage"])
        await client.answer()

        house.sweep(after=limits.LINGER_SECONDS)
        lingering = len(house.server._connections)
        house.sweep(after=1)

        assert lingering == 1
        await house.known(0)


# -- Upgrade ------------------------------------------------------------------------------------------------------

H2C = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__"


@pytest.mark.parametrize(
    "upgrade", [H2C, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"], ids=["h2c", "websocket"]
)
async def test_an_upgrade_is_answered_as_an_ordinary_request(upgrade: str) -> None:
    """The offer is not taken, and HTTP/1.1 goes on."""
    async with open_house() as house:
        client = await house.talk(get("/wait", upgrade) + SECOND)
        await until(lambda: house.door.seen)
        await client.send(SECOND)
        house.door.gate.set()

        answers = [await client.answer() for _ in range(3)]

        assert [(a.status, a.body) for a in answers] == [(200, b"GET /wait "), *[(200, b"GET /echo?second ")] * 2]
        assert [seen.headers.get("Upgrade") for seen in house.door.seen] == [None] * 3


@pytest.mark.parametrize("request_", [post, chunked])
async def test_a_body_behind_an_upgrade_belongs_to_its_request(request_: Any) -> None:
    """Java's client offers h2c with every first POST; a body taken for another request would be a smuggled one."""
    whole = request_("/wait", SECOND).replace(HOST, HOST + H2C.encode() + b"\r\n", 1)
    end = whole.index(b"\r\n\r\n") + 4

    for pieces in ([whole + SECOND], [whole[:end], whole[end:], SECOND], [bytes([byte]) for byte in whole + SECOND]):
        answers, door = await play(pieces, ends=False)

        assert bodies(answers) == [b"POST /wait " + SECOND, b"GET /echo?second "]
        assert [(seen.uri, seen.body) for seen in door.seen] == [("/wait", SECOND), ("/echo?second", b"")]


async def test_a_client_that_asks_first_and_offers_an_upgrade_is_told_once() -> None:
    """The second look at its head says nothing."""
    async with open_house() as house:
        client = await house.talk((ASKING % 3).replace(HOST, HOST + H2C.encode() + b"\r\n"))

        told = await client.head()
        await client.send(b"tea")
        answer = await client.answer()

        assert (told, answer.body) == ((100, {}), b"POST /echo tea")


# -- clients that leave -------------------------------------------------------------------------------------------


async def test_a_client_that_stops_sending_still_gets_its_answer() -> None:
    """Closing one's side for writing is no farewell; a pipelined request is served too."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + SECOND)
        client.writer.write_eof()
        [connection] = await house.known()
        await until(lambda: house.door.seen)
        house.door.gate.set()

        first, second = await client.answer(), await client.answer()

        assert (first.body, second.body) == (b"GET /wait ", b"GET /echo?second ")
        assert await client.rest() == b""
        assert connection._last


async def test_a_client_that_leaves_between_requests_is_forgotten() -> None:
    """Also in the middle of one."""
    async with open_house() as house:
        for beginning in (b"", b"POST /echo HTTP/1.1\r\nHo", POST + b"Content-Length: 5\r\n\r\nab"):
            client = await house.talk(SECOND, beginning)
            await client.answer()
            await house.known(1)
            client.writer.close()
            await house.known(0)

        assert house.door.uris == ["/echo?second"] * 3


async def test_what_was_begun_is_ended_when_its_client_has_gone() -> None:
    """Money may be on its way; the answer harms nobody."""
    async with open_house() as house:
        client = await house.talk(get("/wait"))
        await until(lambda: house.door.seen)

        client.reset()
        await house.known(0)
        house.door.gate.set()
        await until(lambda: not house.door.answering)
        other = await house.talk(SECOND)

        assert (await other.answer()).body == b"GET /echo?second "
        assert house.door.broken == []
        await house.known(1)


async def test_an_answer_is_not_given_to_who_has_gone() -> None:
    """Requests that waited behind the one whose client is gone are never begun."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + SECOND)
        await until(lambda: house.door.seen)
        [connection] = await house.known()
        connection._transport.abort()
        await house.known(0)
        house.door.gate.set()

        assert await client.cut()
        await until(lambda: not house.door.answering)
        assert house.door.uris == ["/wait"]


# -- answers that cannot be given ---------------------------------------------------------------------------------


async def test_an_answer_that_would_be_two_is_none() -> None:
    """Whoever made the header hears of it, and the connection ends: nobody reads another answer for this one."""
    async with open_house() as house:
        client = await house.talk(get("/unsayable") + SECOND)

        assert await client.cut()
        assert [str(error) for error in house.door.broken] == ["a header holds the end of a line"]
        assert house.door.uris == ["/unsayable"]


async def test_a_mistake_behind_the_door_ends_the_connection_and_is_heard_of(monkeypatch: Any) -> None:
    """It is ours: nobody is told that the request was bad, and nobody waits for ever."""
    async with open_house() as house:
        heard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        monkeypatch.setattr(house.server, "take", lambda connection, request: 1 / 0)
        client = await house.talk(SECOND)

        assert await client.cut()
        await house.known(0)
        assert len(heard) == 1
        assert house.door.refused == []


# -- clients that let payd wait -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /echo HTTP/1.1\r\nHo"], ids=["nothing", "half a head"])
async def test_who_sends_no_request_is_cut(sent: bytes) -> None:
    """From the beginning of the connection; bytes that come meanwhile buy no time."""
    async with open_house() as house:
        client = await house.talk(sent)
        await house.known()

        house.sweep(after=limits.IDLE_CONNECTION_SECONDS)
        patient = len(house.server._connections)
        await client.send(b"s" if sent else b"\r\n")
        house.sweep(after=1)

        assert patient == 1
        assert await client.cut()
        await house.known(0)


async def test_who_is_idle_between_requests_is_cut() -> None:
    """Counted from the last answer."""
    async with open_house() as house:
        client = await house.open()
        for _ in range(2):
            house.sweep(after=limits.IDLE_CONNECTION_SECONDS - 1)
            await client.send(SECOND)
            await client.answer()

        house.sweep(after=limits.IDLE_CONNECTION_SECONDS + 1)

        assert await client.rest() == b""


async def test_who_sends_its_body_slowly_is_cut() -> None:
    """Counted from the end of its head."""
    async with open_house() as house:
        client = await house.talk(POST + b"Content-Length: 300\r\n\r\nabc")
        [connection] = await house.known()
        await until(lambda: connection._in_body)

        house.sweep(after=limits.BODY_TIMEOUT_SECONDS)
        patient = len(house.server._connections)
        await client.send(b"d")
        house.sweep(after=1)

        assert patient == 1
        assert await client.cut()
        assert house.door.seen == []


async def test_who_never_reads_its_answer_is_cut() -> None:
    """And nothing more is begun for it."""
    async with open_house() as house:
        client = await house.talk(get("/large") + SECOND)
        [connection] = await house.known()
        await until(lambda: connection._paused and not connection._busy)

        house.sweep(after=limits.IDLE_CONNECTION_SECONDS)
        patient = len(house.server._connections)
        house.sweep(after=1)

        await house.known(0)
        assert patient == 1
        assert house.door.uris == ["/large"]
        with contextlib.suppress(ConnectionError):
            assert len(await client.rest()) < LARGE_BYTES


async def test_who_reads_its_answer_late_gets_it_and_the_next() -> None:
    """It is whole, and the second request was only put off."""
    async with open_house() as house:
        client = await house.talk(get("/large") + SECOND)
        [connection] = await house.known()
        await until(lambda: connection._paused and not connection._busy)
        assert house.door.uris == ["/large"]
        house.sweep(after=limits.IDLE_CONNECTION_SECONDS)

        large, second = await client.answer(), await client.answer()

        assert (len(large.body), second.body) == (LARGE_BYTES, b"GET /echo?second ")


async def test_who_reads_its_last_answer_late_gets_it_whole() -> None:
    """Being the last shortens no answer: the short patience is for those who have theirs."""
    async with open_house() as house:
        client = await house.talk(get("/large", "Connection: close"))
        [connection] = await house.known()
        await until(lambda: connection._over)

        house.sweep(after=limits.IDLE_CONNECTION_SECONDS)

        assert len((await client.answer()).body) == LARGE_BYTES
        assert await client.rest() == b""


async def test_who_never_reads_its_last_answer_is_cut() -> None:
    """A closing connection is no way to stay for ever."""
    async with open_house() as house:
        await house.talk(get("/large", "Connection: close"))
        [connection] = await house.known()
        await until(lambda: connection._over)

        house.sweep(after=limits.IDLE_CONNECTION_SECONDS + 1)

        await house.known(0)


@pytest.mark.parametrize("behind", [b"", SECOND, POST + b"Content-Length: 9\r\n\r\nabc"], ids=["none", "one", "half"])
async def test_who_waits_for_payd_is_never_cut(behind: bytes) -> None:
    """Whatever else it has sent already."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + behind)
        await until(lambda: house.door.seen)

        house.sweep(after=10_000)
        house.door.gate.set()

        assert (await client.answer()).body == b"GET /wait "
        house.sweep(after=1)
        await house.known(1)


# -- too many -----------------------------------------------------------------------------------------------------


async def test_the_one_that_let_payd_wait_longest_makes_room(monkeypatch: Any) -> None:
    """A client that payd works for stays, however old it is."""
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 3)
    async with open_house() as house:
        busy = await house.talk(get("/wait"))
        await until(lambda: house.door.seen)
        older, newer = await house.open(), await house.open()
        await house.known(3)
        house.clock += 1
        await older.send(SECOND)
        await older.answer()
        house.clock += 1

        last = await house.talk(SECOND)

        assert (await last.answer()).status == 200
        assert await newer.cut()
        await older.send(SECOND)
        assert (await older.answer()).status == 200
        house.door.gate.set()
        assert (await busy.answer()).body == b"GET /wait "


async def test_when_payd_works_for_all_the_newcomer_is_turned_away(monkeypatch: Any) -> None:
    """No answer is given up for a stranger."""
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)
    async with open_house() as house:
        busy = [await house.talk(get("/wait")) for _ in range(2)]
        await until(lambda: len(house.door.seen) == 2)

        stranger = await house.open()

        assert await stranger.cut()
        house.door.gate.set()
        assert [(await client.answer()).status for client in busy] == [200, 200]


async def test_many_at_once_are_no_more_than_allowed(monkeypatch: Any) -> None:
    """Each newcomer takes the place of another one, also when they come in one turn of the loop."""
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 4)
    async with open_house() as house:
        clients = await asyncio.gather(*(house.open() for _ in range(40)))
        last = await house.talk(SECOND)

        assert (await last.answer()).status == 200
        await until(lambda: sum(c.reader.at_eof() or c.reader.exception() is not None for c in clients) == 37)
        assert len(house.server._connections) == 4


# -- the end ------------------------------------------------------------------------------------------------------


async def test_answers_behind_stop_are_the_last_ones() -> None:
    """What is under way and what an open connection still asks is answered, and nobody new is let in."""
    async with open_house() as house:
        working, idle = await house.talk(get("/wait")), await house.open()
        await until(lambda: house.door.seen)
        await house.known(2)

        house.server.stop()
        house.door.gate.set()
        await idle.send(SECOND)

        for client in (working, idle):
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await house.open()


async def test_a_pipelining_client_can_read_the_last_answer() -> None:
    """What it sent behind is not served, and does not destroy the answer either."""
    async with open_house() as house:
        client = await house.talk(get("/wait") + SECOND)
        await until(lambda: house.door.seen)
        for _ in range(20):
            client.writer.write(SECOND * 100)

        house.server.stop()
        house.door.gate.set()
        await until(lambda: not house.server._connections or next(iter(house.server._connections))._over)
        await client.send(SECOND * 100)

        assert (await client.answer()).body == b"GET /wait "
        assert await client.rest() == b""
        assert house.door.uris == ["/wait"]


async def test_close_closes_the_idle_and_lets_written_answers_go_out() -> None:
    """An answer that payd gave arrives whole."""
    async with open_house() as house:
        idle, reading = await house.open(), await house.talk(get("/large"))
        connections = await house.known(2)
        await until(lambda: any(connection._paused for connection in connections))

        _, large, nothing = await asyncio.gather(house.server.close(), reading.answer(), idle.rest())

        assert (len(large.body), nothing) == (LARGE_BYTES, b"")
        assert await reading.rest() == b""
        assert not house.server._connections


async def test_close_waits_for_nobody_for_long() -> None:
    """Who does not read is cut."""
    async with open_house() as house:
        await house.talk(get("/large"))
        [connection] = await house.known()
        await until(lambda: connection._paused)

        async with asyncio.timeout(PATIENCE_SECONDS):
            await house.server.close()

        await house.known(0)


# -- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that vouches for itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


@pytest.fixture
def tls(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's side and the client's."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return server, ssl.create_default_context(cafile=str(certificate / "cert.pem"))


async def test_https_is_the_same_behind_tls(tls: Any) -> None:
    """The handler sees what it came by; the connection stays, pipelines, refuses and closes as a plain one."""
    async with open_house(tls[0]) as house:
        client = await house.open(tls[1])

        await client.send(post("/echo", b"tea"))
        first = await client.answer()
        await client.send(SECOND + SECOND + NOT_HTTP["garbage"])
        others = [await client.answer() for _ in range(3)]

        assert first.body == b"POST /echo tea"
        assert [seen.protocol for seen in house.door.seen] == ["https"] * 3
        assert [answer.status for answer in others] == [200, 200, 400]
        assert await client.rest() == b""


async def test_a_large_answer_arrives_whole_behind_tls(tls: Any) -> None:
    """Also when it is the last one."""
    async with open_house(tls[0]) as house:
        client = await house.open(tls[1])
        await client.send(get("/large", "Connection: close"))

        assert len((await client.answer()).body) == LARGE_BYTES
        assert await client.rest() == b""


async def test_a_tls_client_may_go_before_its_answer(tls: Any) -> None:
    """It runs into nothing."""
    async with open_house(tls[0]) as house:
        client = await house.open(tls[1])
        await client.send(get("/wait"))
        await until(lambda: house.door.seen)

        client.reset()
        await house.known(0)
        house.door.gate.set()
        await until(lambda: not house.door.answering)

        assert house.door.broken == []


# -- any bytes ----------------------------------------------------------------------------------------------------

BODY = st.binary(max_size=300)
HEADER = st.sampled_from([(), ("X-Empty:",), ("X-A: 1", "X-A: 2"), ("X-Pad: " + "p" * 3000,)])
REQUEST = st.one_of(
    st.builds(lambda n, headers: get(f"/echo?{n}", *headers), st.integers(0, 9), HEADER),
    st.builds(lambda body, headers: post("/echo", body, *headers), BODY, HEADER),
    st.builds(lambda body, headers: post("/wait", body, *headers), BODY, HEADER),
    st.builds(lambda chunks: chunked("/echo", *chunks), st.lists(st.binary(min_size=1, max_size=300), max_size=4)),
    st.just(chunked("/echo", b"tea", trailers=b"X-Evil: 1\r\n")),
)
LAST = get("/echo?last", "Connection: close")


@given(requests=st.lists(REQUEST, max_size=40), cuts=st.lists(st.floats(0, 1), max_size=30))
@example(requests=[post("/echo", b"tea")], cuts=[n / 200 for n in range(200)])
@example(requests=[get("/echo", "X-Pad: " + "p" * 3000)] * 10, cuts=[0.05, 0.95])
def test_any_split_of_a_stream_of_requests_has_the_same_answers(requests: list[bytes], cuts: list[float]) -> None:
    """How the network cuts the bytes is nothing that an answer may depend on."""
    stream = b"".join([*requests, LAST])
    places = sorted({0, len(stream), *(int(cut * len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in zip(places, places[1:], strict=False)]

    whole, _ = asyncio.run(play([stream]))
    split, door = asyncio.run(play(pieces))

    assert undated(split) == undated(whole)
    assert len(bodies(split)) == len(requests) + 1
    assert len(door.seen) == len(requests) + 1
    assert door.refused == []


def undated(answers: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", answers)


WORDS = [
    b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b"PRI ", b"/echo ", b"/wait ", b"* ", b"HTTP/1.1\r\n", b"HTTP/1.0\r\n",
    b"HTTP/2.0\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"\r\n\r\n", b"\n",
    b"0\r\n", b"5\r\n", b"12345", b": ", b"\x00", b"\xff", SECOND, ECHO, POST,
]  # fmt: skip


@given(pieces=st.lists(st.one_of(st.lists(st.sampled_from(WORDS)).map(b"".join), st.binary())))
def test_no_bytes_are_too_strange(pieces: list[bytes]) -> None:
    """Nothing is thrown, every answer is a whole one, and there is one for each request that a handler saw."""
    answers, door = asyncio.run(play(pieces, ends=False))

    answers = answers.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    heads = re.findall(rb"HTTP/1\.1 (\d+) ", answers)
    assert len(heads) == len(door.seen) + len(door.refused)
    assert len(door.refused) <= 1
