"""The only way out of the simulator: POSTs to loopback addresses, and to nothing else.

The guard stands twice: a URL must name a loopback host, and at connect time every address the name resolves
to must be loopback. So a simulated payment can never reach a real merchant's callback.

For https any certificate will do. What a certificate proves, that the receiver is who its name says, the address has
proved already: it is this machine. And no authority certifies a loopback address, so one made by hand is all there is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.netutil import DefaultLoopResolver, Resolver
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

TIMEOUT_SECONDS = 5.0  # section 8.4, network included
_MOST_CONNECTIONS = 256
_KEPT_BODY_BYTES = 512


@dataclass(frozen=True, slots=True)
class Heard:
    """What the receiver said: ``status`` None when it said nothing, then ``error`` says why."""

    status: int | None
    body: str
    error: str | None
    duration_ms: float


def is_loopback_host(host: str | None) -> bool:
    """True for localhost and for literal addresses of 127.0.0.0/8 and ::1."""
    if not host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_loopback_url(url: str) -> bool:
    """True when a POST to ``url`` stays on this machine."""
    try:
        return is_loopback_host(urlsplit(url).hostname)
    except ValueError:
        return False


class _LoopbackResolver(Resolver):
    """Resolves as usual and drops every address that is not loopback."""

    def initialize(self) -> None:
        self._resolver = DefaultLoopResolver()

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Loopback addresses of ``host``. Raises OSError when there is none."""
        found = await self._resolver.resolve(host, port, family)
        kept = [(kind, address) for kind, address in found if is_loopback_host(str(address[0]))]
        if not kept:
            raise OSError(f"{host} is not a loopback address")
        return kept


def _any_certificate() -> ssl.SSLContext:
    """TLS that hides what is sent and does not ask who receives it: only for addresses of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class LoopbackPoster:
    """Sends callbacks. Make it on the loop that will use it; close it there."""

    def __init__(self) -> None:
        # Waiting for a free connection must not count as the receiver's time, hence a queue of our own.
        self._free = asyncio.Semaphore(_MOST_CONNECTIONS)
        self._tls = _any_certificate()
        self._client = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=_MOST_CONNECTIONS, resolver=_LoopbackResolver()
        )

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Heard:
        """POST once, without redirects, within five seconds. Never raises for what the receiver does."""
        request = HTTPRequest(
            url,
            method="POST",
            headers=headers,
            body=body,
            follow_redirects=False,
            connect_timeout=TIMEOUT_SECONDS,
            request_timeout=TIMEOUT_SECONDS,
            decompress_response=False,
            ssl_options=self._tls,
        )
        async with self._free:
            return await self._fetch(request)

    async def _fetch(self, request: HTTPRequest) -> Heard:
        started = time.perf_counter()
        status: int | None = None
        text, error = "", None
        try:
            response = await self._client.fetch(request, raise_error=False)
        except HTTPTimeoutError:
            error = "no answer within 5 s"
        except (OSError, HTTPClientError, ValueError, asyncio.IncompleteReadError) as exc:
            error = f"{type(exc).__name__}: {exc}"
        else:
            status = response.code
            text = response.body[:_KEPT_BODY_BYTES].decode("utf-8", "replace")
            if response.code == 599:
                status, error = None, str(response.error)
        return Heard(status, text, error, round((time.perf_counter() - started) * 1000, 1))

    def close(self) -> None:
        """Release the client."""
        self._client.close()
