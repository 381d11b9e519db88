"""One HTTP exchange with one host: bytes out, bytes in. The only IO towards WeChat.

Knows nothing of signatures or error codes. Every way an exchange can fail becomes `TransportFailure`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import certifi
import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest
from tornado.httputil import HTTPHeaders

from payd import __version__
from payd.config import is_loopback
from payd.limits import (
    BILL_FILE_BYTES_MAX,
    WECHAT_ANSWER_BYTES_MAX,
    WECHAT_CONNECT_TIMEOUT_MS,
    WECHAT_CONNECTIONS_MAX,
    WECHAT_IDLE_CONNECTION_SECONDS,
)

USER_AGENT: Final = f"payd/{__version__}"

_STATUS_LINE: Final = re.compile(rb"HTTP/[^ :]+ ")
#: RFC 9110, 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)

#: curl's errors after which the host has seen nothing of the request.
_NEVER_SENT: Final = frozenset(
    {
        pycurl.E_COULDNT_RESOLVE_PROXY,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A whole answer, nothing verified."""

    status: int
    headers: HTTPHeaders
    body: bytes


class TransportFailure(Exception):
    """No whole answer. ``reason`` is ``timeout``, ``connection`` or ``malformed`` (too large).

    ``sent`` False: the host has certainly seen nothing of the request.
    """

    def __init__(self, reason: str, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.reason = reason
        self.sent = sent


class Transport:
    """Keep-alive connections to WeChat's hosts. Opens nothing before the first request; needs the running loop then."""

    def __init__(self, *, timeout_ms: int) -> None:
        self._timeout_seconds = timeout_ms / 1000
        self._connect_seconds = min(timeout_ms, WECHAT_CONNECT_TIMEOUT_MS) / 1000
        self._client: AsyncHTTPClient | None = None
        self._download_client: AsyncHTTPClient | None = None

    async def exchange(
        self, base: str, *, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> HttpAnswer:
        """Send one request and take the whole answer within the time limit. Raises TransportFailure."""
        if self._client is None:
            self._client = _open_client(WECHAT_CONNECTIONS_MAX, WECHAT_ANSWER_BYTES_MAX)
        return await self._fetch(
            self._client, base + target, method=method, headers=headers, body=body, seconds=self._timeout_seconds
        )

    async def download(
        self, url: str, *, headers: Mapping[str, str], write: Callable[[bytes], None], seconds: float
    ) -> HttpAnswer:
        """GET a file and hand its pieces to ``write`` as they come; the answer's body is empty.

        Pieces of an error page are handed over too: look at the status first. Raises TransportFailure.
        """
        if self._download_client is None:
            self._download_client = _open_client(2, BILL_FILE_BYTES_MAX)
        return await self._fetch(
            self._download_client, url, method="GET", headers=headers, body=b"", seconds=seconds, write=write
        )

    async def _fetch(
        self,
        client: AsyncHTTPClient,
        url: str,
        *,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        write: Callable[[bytes], None] | None = None,
    ) -> HttpAnswer:
        sends: list[None] = []
        lines: list[bytes] = []
        request = HTTPRequest(
            url,
            method=method,
            headers=dict(headers),  # Tornado makes its own HTTPHeaders of it
            body=body if method == "POST" else None,
            connect_timeout=self._connect_seconds,
            request_timeout=seconds,
            follow_redirects=False,
            decompress_response=False,
            user_agent=USER_AGENT,
            ca_certs=certifi.where(),
            streaming_callback=write,
            prepare_curl_callback=lambda curl: _prepare(curl, url, sends, lines, once=method == "POST"),
        )
        try:
            response = await client.fetch(request, raise_error=False)
        except (HTTPError, OSError, pycurl.error, ValueError) as exc:
            raise _failure(exc, sends) from exc
        if response.error is not None and response.code == 599:
            raise _failure(response.error, sends) from response.error
        content = response.body if write is None else b""
        return HttpAnswer(status=response.code, headers=_headers(lines), body=content or b"")

    async def close(self) -> None:
        """Close all connections; a request under way ends as a failure of its own time limit."""
        for client in (self._client, self._download_client):
            if client is not None:
                client.close()
        self._client = self._download_client = None
        await asyncio.sleep(0)


def _open_client(max_clients: int, max_body_size: int) -> AsyncHTTPClient:
    return CurlAsyncHTTPClient(force_instance=True, max_clients=max_clients, max_body_size=max_body_size)


def _headers(lines: list[bytes]) -> HTTPHeaders:
    """Read the header lines of the last answer; those of a ``100 Continue`` before it go."""
    headers = HTTPHeaders()
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if _STATUS_LINE.match(line):
            headers = HTTPHeaders()
        elif not colon or not _TOKEN.fullmatch(name):
            continue  # nobody's header: whatever it was to say, it was not said
        elif name in headers:
            headers[name] = f"{headers[name]},{value.strip()}"
        else:
            headers[name] = value.strip()
    return headers


def _prepare(curl: pycurl.Curl, url: str, sends: list[None], lines: list[bytes], *, once: bool) -> None:
    def before_send(*_addresses: object) -> int:
        # curl sends again by itself when a kept connection was reset: whether a POST was carried out is then
        # unknown, and that is what the caller must hear (D7). A question may be asked twice.
        if once and sends:
            return int(pycurl.PREREQFUNC_ABORT)
        sends.append(None)
        return int(pycurl.PREREQFUNC_OK)

    curl.setopt(pycurl.PREREQFUNCTION, before_send)
    # Tornado would check each line against the grammar again: a tenth of the time of the whole call.
    curl.setopt(pycurl.HEADERFUNCTION, lines.append)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.MAXAGE_CONN, WECHAT_IDLE_CONNECTION_SECONDS)
    curl.setopt(pycurl.NOSIGNAL, 1)
    # The path is signed: curl must not tidy it up.
    curl.setopt(pycurl.PATH_AS_IS, 1)
    if is_loopback(urlsplit(url).hostname or ""):
        curl.setopt(pycurl.NOPROXY, "*")


def _failure(error: BaseException, sends: list[None]) -> TransportFailure:
    number = error.errno if isinstance(error, CurlError) else None
    sent = bool(sends) and number not in _NEVER_SENT
    if number == pycurl.E_OPERATION_TIMEDOUT or "queue" in str(error):
        return TransportFailure("timeout", str(error), sent=sent)
    if number == pycurl.E_WRITE_ERROR and "max_body_size" in str(error):
        return TransportFailure("malformed", "the answer is too large", sent=sent)
    return TransportFailure("connection", str(error), sent=sent)
