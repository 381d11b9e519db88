"""One client's connection: HTTP/1.1 (RFC 9112), read by llhttp, answered whole.

The bytes are llhttp's work (httptools), the socket is the event loop's; what is left is here: one request at a time in
the order in which they came, bounds on the head and the body, and when to hang up (README, D25).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from payd import limits
from payd.errors import Complaint, RequestError
from payd.http_headers import Headers
from payd.web.issues import issue

if TYPE_CHECKING:
    from payd.web.http_server import HttpServer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
END_OF_HEAD: Final = b"\r\n\r\n"
VERSIONS: Final = frozenset({"1.0", "1.1"})
#: An offer to speak another protocol, as headers and as words of ``Connection``.
UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})
NO_BODY: Final = frozenset({204, 304})
#: What a Host may hold (RFC 9110, 7.2), but for the comma.
HOST: Final = re.compile(r"(?:[\w.~!$&'()*+;=:\[\]-]|%[0-9A-Fa-f]{2})*", re.ASCII)
AUTHORITY: Final = re.compile(r"https?://[^/?#]*", re.ASCII | re.IGNORECASE)
PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request as it came. ``body`` ends one byte over the limit at the latest: enough to be refused by its size."""

    method: str
    path: str
    query: str  # without its question mark
    version: str  # 1.0 or 1.1
    headers: Headers
    fields: list[tuple[bytes, bytes]]  # the same, as they came
    body: bytes
    keep_alive: bool

    def lines_of(self, name: str) -> list[str]:
        """List the values of each line of one header, where two lines are not the same as a list in one."""
        if name not in self.headers:
            return []
        wanted = name.lower().encode()
        return [value.decode("latin-1").strip(" \t") for field, value in self.fields if field.lower() == wanted]


@dataclass(slots=True)
class Refusal:
    """What could not be read as a request, and its headers as far as they were understood."""

    error: RequestError
    headers: Headers


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end."""

    remote_ip: str
    protocol: str


class HttpConnection(asyncio.Protocol):
    """Reads requests, hands them on one after another, and writes their answers."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Request | Refusal] = deque()
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers = Headers()  # of the request that is read, once its head is whole
        self._body: list[bytes] = []
        self._request: Request | None = None
        self._busy = False  # a request is being answered
        self._unread = b""  # came and is not parsed yet, from `_read_at` on
        self._read_at = 0
        self._reads_soon = False  # a later turn parses on
        self._held = False  # nothing is taken from the socket
        self._paused = False  # the client does not read its answers
        self._last = False  # nothing more is read
        self._left = False  # the client has closed its side
        self._over = False  # hanging up: what still comes runs into nothing
        self._asks = False  # the client sends its body when it is told to
        self._in_head = self._in_trailers = self._in_body = False
        self._head_bytes = self._body_bytes = self._body_length = self._chunks = 0
        self._since = server.now()

    # -- the loop's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, if there is room."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only
        peer = transport.get_extra_info("peername")
        secure = transport.get_extra_info("sslcontext") is not None
        self.peer = Peer(peer[0] if isinstance(peer, tuple) else "0.0.0.0", "https" if secure else "http")  # noqa: S104
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._over or self._last:
            return
        self._unread = self._unread[self._read_at :] + data if self._unread else data
        self._read_at = 0
        self._read()

    def _read(self) -> None:
        """Parse on until a request is whole or this turn's share is used up: no client may hold the loop."""
        self._reads_soon = False
        data, at = self._unread, self._read_at
        share = min(len(data), at + limits.READ_TURN_BYTES)
        while at < share and not (self._waiting or self._last or self._over):
            at += self._feed(data[at : min(self._piece_end(data, at), share)])
        if at == len(data) or self._last:
            self._unread, self._read_at = b"", 0
        else:
            self._read_at = at
        self._next()
        self._go_on()

    def _piece_end(self, data: bytes, at: int) -> int:
        """Choose how far to parse at once: to the end of a head, or of a body whose length is known, else a slice.

        So a request is few pieces, and a piece seldom holds more than one.
        """
        if self._in_body and self._body_length > self._body_bytes:
            return at + self._body_length - self._body_bytes
        end = -1 if self._in_body else data.find(END_OF_HEAD, at, at + limits.READ_TURN_BYTES)
        return at + limits.READ_SLICE_BYTES if end < 0 else end + len(END_OF_HEAD)

    def _feed(self, piece: bytes) -> int:
        """Parse a piece; returns how many of its bytes were used: all, but for an offer of another protocol."""
        lines = self._fields if self._in_head or self._in_trailers else None
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            head = self._head_without_offer()
            self._parser = HttpRequestParser(self)
            self._feed(head)
            return int(upgrade.args[0])
        except HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, RequestError) else _malformed(error))
        except HttpParserError as error:
            self._refuse(_malformed(error))
        else:
            if lines is self._fields and (self._in_head or self._in_trailers):  # one head, and it does not end
                self._head_bytes += len(piece)
                if self._head_bytes > limits.HEADER_BYTES_MAX:
                    self._refuse(_head_too_large())
        return len(piece)

    def _head_without_offer(self) -> bytes:
        """Write the head again without its ``Upgrade``: the request is answered as it is (RFC 9110, 7.8).

        Java's client offers h2c with each request, and the parser leaves the body to the other protocol.
        """
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._uri, version)]
        for name, value in self._fields:
            kind = name.lower()
            if kind == b"connection":
                value = b",".join(part for part in value.split(b",") if part.strip().lower() not in UPGRADE)
            if kind not in UPGRADE:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _go_on(self) -> None:
        """Parse the rest in a later turn; meanwhile, and while a request waits, let the client's bytes wait as well."""
        if self._over:
            return
        if self._unread and not self._waiting and not self._reads_soon:
            self._reads_soon = True
            self._server.soon(self._read)
        held = bool(self._unread or self._waiting)
        if held is not self._held:
            self._held = held
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    def eof_received(self) -> bool:
        """Answer what was asked, even when the client closed its side for writing behind it."""
        self._last = self._left = True
        return self._busy and self.peer.protocol == "http"

    def pause_writing(self) -> None:
        """Begin nothing more for a client that does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._turn()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the client. Whoever still works on its request goes on: money may be on its way."""
        self._over = True
        self._waiting.clear()
        self._server.lost(self)

    # -- the parser's side --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._fields, self._headers, self._uri, self._body, self._version = [], Headers(), b"", [], ""
        self._head_bytes = self._body_bytes = self._body_length = self._chunks = 0
        self._in_head, self._asks = True, False
        self._since = self._server.now()

    def on_url(self, url: bytes) -> None:
        """Gather the request target."""
        self._uri += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather one header; trailers behind a chunked body are dropped (RFC 9110, 6.5.1)."""
        if self._in_head:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check what llhttp leaves open, and tell a client that asks first to go on."""
        if self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            return  # read again, see `_feed`
        self._in_head, self._in_body = False, True
        self._since, self._head = self._server.now(), self._fields
        size = sum(map(len, chain.from_iterable(self._fields))) + 4 * len(self._fields)
        if len(self._uri) + size > limits.HEADER_BYTES_MAX:
            raise _head_too_large()
        self._headers = headers = _headers(self._fields)
        self._version = version = self._parser.get_http_version()
        coding, length = headers.find("transfer-encoding"), int(headers.find("content-length") or 0)
        if version not in VERSIONS:
            raise _refusal(f"HTTP/{version} is not served here")
        if self._parser.get_method() == b"CONNECT":
            raise _refusal("this is no proxy")
        if not self._uri.isascii():
            raise _refusal("the request target holds bytes that are not ASCII")
        if coding is not None and (coding.lower() != "chunked" or version == "1.0"):
            raise _refusal("Transfer-Encoding must be chunked, in HTTP/1.1")
        host = headers.find("host", None if version == "1.1" else "")
        if host is None or "," in host:  # between two of them stands a comma, which is in no name
            raise _refusal("it must name its Host once")
        if not HOST.fullmatch(host):
            raise _refusal("its Host is no name of a host")
        expects = version == "1.1" and headers.find("expect") is not None
        if length > (limits.BODY_BYTES_MAX if expects else limits.DRAINED_BYTES_MAX):
            raise _body_too_large()
        self._asks, self._body_length = expects, length
        if expects:
            self._tell_to_send()

    def on_chunk_header(self) -> None:
        """Begin a chunk, or the trailers behind the last one."""
        self._chunks += 1
        if self._chunks > limits.CHUNKS_MAX:
            raise _refusal("its body has too many chunks")
        self._fields, self._head_bytes, self._in_trailers = [], 0, True

    def on_body(self, chunk: bytes) -> None:
        """Gather the body. Beyond the limit it is only counted: the client hears 413 when it has sent it all."""
        self._in_trailers = False
        if self._body_bytes <= limits.BODY_BYTES_MAX:
            self._body.append(chunk)
        self._body_bytes += len(chunk)
        if self._body_bytes > limits.DRAINED_BYTES_MAX:
            raise _body_too_large()

    def on_message_complete(self) -> None:
        """Queue the request: it is handed on outside of the parser, when those before it are answered."""
        if not self._in_body:
            return
        self._in_body = self._in_trailers = False
        path, _, query = _without_authority(self._uri.decode("ascii")).partition("?")
        self._waiting.append(
            Request(
                method=self._parser.get_method().decode("ascii"),
                path=path,
                query=query,
                version=self._version,
                headers=self._headers,
                fields=self._head,
                body=b"".join(self._body)[: limits.BODY_BYTES_MAX + 1],
                keep_alive=self._parser.should_keep_alive(),
            )
        )

    def _tell_to_send(self) -> None:
        if self._asks and self._in_body and not (self._busy or self._waiting or self._over):
            self._asks = False
            self._transport.write(CONTINUE)

    # -- the application's side ---------------------------------------------------------------------------------------

    def answer(self, code: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Write the whole answer to the request at hand, and turn to the next one or hang up.

        Its length is added; a HEAD gets all but the body (RFC 9110, 9.3.2). Raises ValueError, and hangs up, when a
        header holds the end of a line.
        """
        request = self._request
        lines = [f"HTTP/1.1 {code} {PHRASES[code]}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if code not in NO_BODY:
            lines.append(f"Content-Length: {len(body)}")
        stays = request is not None and self._stays(request)
        if request is None or not stays:
            lines.append("Connection: close")
        elif request.version == "1.0":
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) - 1:
            self.abort()
            raise ValueError("a header holds the end of a line")
        content = head.encode("latin-1") + b"\r\n\r\n"
        if request is None or request.method != "HEAD":
            content += body
        if not self._transport.is_closing():
            self._transport.write(content)
        self._busy, self._since = False, self._server.now()
        if not stays:
            self._hang_up()
        elif self._waiting:
            self._server.soon(self._turn)
        elif self._asks:
            self._tell_to_send()

    def _stays(self, request: Request) -> bool:
        return request.keep_alive and not self._server.draining and not (self._last and not self._waiting)

    # -- turns --------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._next()
        self._go_on()

    def _next(self) -> None:
        if self._busy or self._paused or self._over or not self._waiting:
            return
        request = self._waiting.popleft()
        self._busy = True
        if isinstance(request, Refusal):
            self._request = None
            self._server.refuse(self, request)
            return
        self._request = request
        handed_on = False
        try:
            self._server.take(self, request)
            handed_on = True
        finally:
            if not handed_on:  # a mistake of ours: nobody would ever answer
                self.abort()

    def _refuse(self, error: RequestError) -> None:
        """Answer, in its turn, what is no request; nothing after it can be understood."""
        self._last = True
        self._in_head = self._in_trailers = self._in_body = False
        self._waiting.append(Refusal(error, self._headers or _headers(self._fields)))

    def _hang_up(self) -> None:
        """Close so that the answer arrives: closing on a client that still sends would destroy it (RFC 9112, 9.6)."""
        self._over = True
        if not self._left and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            if self._held:  # what comes runs into nothing, and its end is seen
                self._held = False
                self._transport.resume_reading()
        else:
            self._transport.close()

    # -- the server's side --------------------------------------------------------------------------------------------

    @property
    def idle_since(self) -> float | None:
        """Since when payd waits for the client, on the loop's clock; None while the client waits for payd."""
        return None if self._busy else self._since

    def overdue(self, now: float) -> bool:
        """Tell whether the client let payd wait too long: for a request, for its body, or for reading its answer."""
        if self._busy and not self._paused:
            return False
        patience = limits.IDLE_CONNECTION_SECONDS
        if self._in_body:
            patience = limits.BODY_TIMEOUT_SECONDS
        elif self._over and not self._transport.get_write_buffer_size():
            patience = limits.LINGER_SECONDS
        return now - self._since > patience

    def close(self) -> None:
        """Close once what was written is sent."""
        self._over = True
        self._transport.close()

    def abort(self) -> None:
        """Cut."""
        self._over = True
        self._transport.abort()


def _headers(fields: list[tuple[bytes, bytes]]) -> Headers:
    headers = Headers({name.decode("latin-1").lower(): value.decode("latin-1").strip(" \t") for name, value in fields})
    if len(headers) < len(fields):  # some came twice
        headers.clear()
        for name, value in fields:
            headers.add(name.decode("latin-1"), value.decode("latin-1").strip(" \t"))
    return headers


def _without_authority(target: str) -> str:
    """Take the path and query of a target in absolute form, which every server must understand (RFC 9112, 3.2.2)."""
    match = AUTHORITY.match(target)
    if match is None:
        return target
    rest = target[match.end() :]
    return rest if rest.startswith("/") else "/" + rest


def _refusal(reason: str) -> RequestError:
    return RequestError("invalid_request", complaints=[Complaint("", issue("not_http", reason=reason[:200]))])


#: llhttp's words -> what they mean to the person who sent it.
_MEANINGS: Final = {
    "Pause on PRI/Upgrade": "HTTP/2 is not spoken here",
    "Invalid method encountered": "it begins with no method; is it TLS on a port without TLS?",
}


def _malformed(error: HttpParserError) -> RequestError:
    words = str(error)
    return _refusal(_MEANINGS.get(words, words) or "it cannot be read")


def _head_too_large() -> RequestError:
    complaint = Complaint("", issue("head_too_large", limit=limits.HEADER_BYTES_MAX))
    return RequestError("invalid_request", complaints=[complaint])


def _body_too_large() -> RequestError:
    return RequestError("body_too_large", limit=limits.BODY_BYTES_MAX)
