"""Posts one signed webhook to a merchant's endpoint and says what came back.

The only judge of the answer is its status line: bodies are read to the cap, thrown away, and never stored or echoed.
Uses Tornado's simple client, because curl does its own DNS and would go round the address guard. It knows no proxies.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import certifi
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPInputError, parse_response_start_line
from tornado.iostream import StreamBufferFullError, UnsatisfiableReadError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from payd import __version__
from payd.config import WebhookConfig
from payd.limits import (
    HEADER_BYTES_MAX,
    WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_CONCURRENCY_MAX,
    WEBHOOK_TIMEOUT_SECONDS,
)
from payd.models.webhook import Delivery
from payd.ports import Clock, WebhookAnswer
from payd.webhook.address_guard import AddressRefused, GuardingResolver, Lookup, SystemLookup
from payd.webhook.signature import Signer

NOT_CONFIGURED: Final = "the endpoint is no longer in the configuration"

#: What a failed call is called, the first class that fits. Texts of the other side never get in.
FAILURES: Final[tuple[tuple[type[Exception], Callable[[Exception], str]], ...]] = (
    (HTTPTimeoutError, lambda exc: "no answer in time"),
    (HTTPStreamClosedError, lambda exc: "the connection was closed without a whole answer"),
    (HTTPClientError, lambda exc: "no usable answer"),
    (HTTPInputError, lambda exc: "the answer is not HTTP"),
    (UnsatisfiableReadError, lambda exc: "the answer's headers are too large"),
    (StreamBufferFullError, lambda exc: "the answer is too large"),
    (AddressRefused, lambda exc: f"address refused: {exc}"),
    (ssl.SSLCertVerificationError, lambda exc: "TLS: the certificate cannot be verified"),
    (ssl.SSLError, lambda exc: "TLS: the handshake failed"),
    (OSError, lambda exc: f"cannot connect: {getattr(exc, 'strerror', None) or type(exc).__name__}"),
    (ValueError, lambda exc: "the URL cannot be used"),
)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    signer: Signer
    allow_private_addresses: bool


class _StatusLine:
    """Reads the status off the header lines as they arrive: it is known even when the body never ends."""

    def __init__(self) -> None:
        self.status: int | None = None

    def __call__(self, line: str) -> None:
        if line.startswith("HTTP/"):
            code = parse_response_start_line(line.rstrip("\r\n")).code
            self.status = code if code >= HTTPStatus.OK else None  # 1xx only announces the answer


class HttpWebhookSender:
    """`ports.WebhookSender` over HTTP. Build it on the loop it is used on.

    Signatures are made at each attempt, so a changed secret holds for what was decided under the old one too.
    ``clock`` must be the machine's own, never a simulator's: receivers compare the stamp with their clocks.
    ``lookup`` and ``tls`` are the system's resolver and certifi's authorities unless said otherwise.
    """

    def __init__(
        self,
        endpoints: Sequence[WebhookConfig],
        *,
        clock: Clock,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = WEBHOOK_TIMEOUT_SECONDS,
    ) -> None:
        self._endpoints = {e.url: _Endpoint(Signer(e.secrets), e.allow_private_addresses) for e in endpoints}
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._tls = tls or ssl.create_default_context(cafile=certifi.where())  # once: reading certifi takes 20 ms
        self._own_lookup = SystemLookup() if lookup is None else None
        found = self._own_lookup or lookup
        assert found is not None, "one of the two is there"
        at_once = max(WEBHOOK_CONCURRENCY_MAX, len(self._endpoints))
        self._clients = {allow: _client(found, allow, at_once) for allow in (False, True)}

    async def send(self, delivery: Delivery) -> WebhookAnswer:
        """Post a delivery. Never raises: whatever goes wrong is an answer without a status."""
        return await self.post(delivery.url, webhook_id=delivery.webhook_id, payload=delivery.payload)

    async def post(self, url: str, *, webhook_id: str, payload: bytes) -> WebhookAnswer:
        """Post ``payload`` (JSON) to a configured endpoint, signed as of now. Never raises."""
        began = self._clock.monotonic()
        status, error = await self._post(url, webhook_id, payload)
        return WebhookAnswer(status, error, round((self._clock.monotonic() - began) * 1000))

    async def _post(self, url: str, webhook_id: str, payload: bytes) -> tuple[int | None, str | None]:
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            return None, NOT_CONFIGURED
        complaint = _url_complaint(url, allow_private=endpoint.allow_private_addresses)
        if complaint is not None:
            return None, complaint
        line = _StatusLine()
        try:
            signature = endpoint.signer.headers(webhook_id, payload, at=self._clock.now())
            request = self._request(url, signature, payload, line)
            await self._clients[endpoint.allow_private_addresses].fetch(request, raise_error=False)
        except tuple(kind for kind, _ in FAILURES) as exc:
            if line.status is None:
                return None, next(say(exc) for kind, say in FAILURES if isinstance(exc, kind))
        return line.status, _status_error(line.status)

    def _request(self, url: str, signature: Mapping[str, str], payload: bytes, line: _StatusLine) -> HTTPRequest:
        return HTTPRequest(
            url,
            method="POST",
            headers={**signature, "Content-Type": "application/json"},
            body=payload,
            user_agent=f"payd/{__version__}",
            connect_timeout=self._timeout_seconds,
            request_timeout=self._timeout_seconds,  # counted from the start, name look-up and TLS included
            follow_redirects=False,
            decompress_response=False,
            header_callback=line,
            streaming_callback=_discard,
            ssl_options=self._tls,
        )

    async def close(self) -> None:
        """Close the clients. Attempts still running end without an answer."""
        for client in self._clients.values():
            client.close()
        if self._own_lookup is not None:
            self._own_lookup.close()


def _client(lookup: Lookup, allow_private: bool, at_once: int) -> SimpleAsyncHTTPClient:
    return SimpleAsyncHTTPClient(
        force_instance=True,
        max_clients=at_once,  # the dispatcher never starts more: waiting here would eat the attempt's time
        resolver=GuardingResolver(lookup=lookup, allow_private=allow_private),
        max_buffer_size=2 * WEBHOOK_ANSWER_BYTES_MAX,
        max_header_size=HEADER_BYTES_MAX,
        max_body_size=WEBHOOK_ANSWER_BYTES_MAX,
    )


def _discard(_chunk: bytes) -> None:
    """Throw a piece of the answer's body away."""


def _url_complaint(url: str, *, allow_private: bool) -> str | None:
    """Check again what the configuration checked: nothing else stands between a URL and the network."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return "the URL carries a user name or password"
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        return "the URL is not https"
    return None


def _status_error(status: int | None) -> str | None:
    if status is None:
        return "no usable answer"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status < HTTPStatus.BAD_REQUEST:
        return f"answered {status}: redirects are not followed"
    return f"answered {status}"
