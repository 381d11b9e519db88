"""Writes answers as WeChat's front servers do — and breaks them on the wire when a fault asks for it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from email.utils import formatdate
from http.client import responses

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine

from payd.sandbox import witness
from payd.sandbox.exchange import Answer
from payd.sandbox.faults import Fault
from payd.sandbox.platform_keys import PlatformKey

KEEP_ALIVE_SECONDS = 8  # section 2.5
_DRIPS = 20
_HTML_502 = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def request_id(suffix: int) -> str:
    """``Request-ID``: 42 hex digits and WeChat's internal number (section 2.5)."""
    return f"08{secrets.token_hex(20).upper()}-{suffix}"


def headers_of(answer: Answer, key: PlatformKey | None, *, wall_now: float, fault: Fault | None = None) -> HTTPHeaders:
    """All headers of one answer; ``key`` None leaves it unsigned. A fault may spoil the signature."""
    signing = "true" if fault is None else fault.plan.signing
    skew = fault.seconds if fault is not None and signing == "skew" else 0.0
    headers = HTTPHeaders()
    headers["Server"] = "nginx"
    headers["Date"] = formatdate(wall_now + skew, usegmt=True)
    headers["Connection"] = "keep-alive"
    headers["Keep-Alive"] = f"timeout={KEEP_ALIVE_SECONDS}"
    if answer.body:
        headers["Content-Type"] = answer.content_type
    if answer.status != 204:
        headers["Content-Length"] = str(len(answer.body))
    headers["Cache-Control"] = "no-cache, must-revalidate"
    headers["X-Content-Type-Options"] = "nosniff"
    if answer.with_request_id:
        headers["Request-ID"] = request_id(answer.suffix)
    headers["Content-Language"] = "zh-CN"
    if key is not None and answer.signed and signing != "none":
        shift = skew - (fault.seconds if fault is not None and signing == "stale" else 0.0)
        for name, value in witness.signature_headers(
            key, answer.body, timestamp=int(wall_now + shift), nonce=secrets.token_hex(16)
        ).items():
            headers[name] = value
        _spoil(headers, signing)
    return headers


def _spoil(headers: HTTPHeaders, signing: str) -> None:
    if signing == "foreign":
        headers["Wechatpay-Signature"] = witness.foreign_signature()
    elif signing == "probe":
        headers["Wechatpay-Signature"] = witness.probe_signature()
    elif signing == "serial":
        headers["Wechatpay-Serial"] = secrets.token_hex(20).upper()


def write(request: HTTPServerRequest, answer: Answer, headers: HTTPHeaders) -> None:
    """Send a whole answer; a client that has gone away is no error."""
    connection = _connection(request)
    connection.write_headers(_start(answer.status), headers, answer.body or None)
    if not connection.stream.closed():
        connection.finish()


def write_bare(request: HTTPServerRequest, status: int, *, wall_now: float) -> None:
    """What the router says by itself: a status and an empty body (section 1.6)."""
    headers = HTTPHeaders({"Server": "nginx", "Date": formatdate(wall_now, usegmt=True), "Content-Length": "0"})
    connection = _connection(request)
    connection.write_headers(_start(status), headers)
    connection.finish()


def write_bad_gateway(request: HTTPServerRequest, *, wall_now: float) -> None:
    """An nginx page that never saw WeChat's inside."""
    headers = HTTPHeaders(
        {
            "Server": "nginx",
            "Date": formatdate(wall_now, usegmt=True),
            "Content-Type": "text/html",
            "Content-Length": str(len(_HTML_502)),
        }
    )
    connection = _connection(request)
    connection.write_headers(_start(502), headers, _HTML_502)
    connection.finish()


def reset(request: HTTPServerRequest) -> None:
    """Cut the connection so that the client sees a reset and not an orderly end."""
    stream = _connection(request).stream
    if not stream.closed():
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


async def hang(request: HTTPServerRequest, seconds: float, stopping: asyncio.Event) -> None:
    """Say nothing until the client goes, ``seconds`` are over or the simulator stops; then cut."""
    gone = asyncio.Event()
    _connection(request).set_close_callback(gone.set)
    waits = [asyncio.ensure_future(event.wait()) for event in (gone, stopping)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in waits:
            waiting.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    reset(request)


async def truncate(request: HTTPServerRequest, answer: Answer, headers: HTTPHeaders) -> None:
    """Promise the whole body, send half of it and hang up; an empty body is cut before its head ends."""
    connection = _connection(request)
    if not answer.body:
        reset(request)
        return
    await _swallow(connection.write_headers(_start(answer.status), headers, answer.body[: len(answer.body) // 2]))
    connection.stream.close()


async def drip(
    request: HTTPServerRequest, answer: Answer, headers: HTTPHeaders, seconds: float, stopping: asyncio.Event
) -> None:
    """Send the body in small pieces spread over ``seconds``."""
    connection = _connection(request)
    step = max(1, -(-len(answer.body) // _DRIPS))
    await _swallow(connection.write_headers(_start(answer.status), headers))
    for start in range(0, len(answer.body), step):
        if connection.stream.closed():
            return
        await _swallow(connection.write(answer.body[start : start + step]))
        await pause(seconds / _DRIPS, stopping)
    if not connection.stream.closed():
        connection.finish()


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep, but not longer than the simulator lives."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


async def _swallow(written: asyncio.Future[None]) -> None:
    """Wait for a write; a client that hung up is no error of the simulator's."""
    try:
        await written
    except OSError:
        return


def _start(status: int) -> ResponseStartLine:
    return ResponseStartLine("HTTP/1.1", status, responses.get(status, "Unknown"))


def _connection(request: HTTPServerRequest) -> HTTP1Connection:
    connection = request.connection
    assert isinstance(connection, HTTP1Connection)
    return connection
