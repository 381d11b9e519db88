"""The only file that speaks HTTP: Tornado's client inside Textual's loop, one method per verb.

Redirects are never followed (they would carry the key elsewhere), answers are bounded, and every way a
request can fail is named by cause, because "cannot connect" without a reason helps nobody at night.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from dashboard.metrics import parse_metrics
from dashboard.settings import ApiKey
from dashboard.snapshots import METRICS, READY, Failure, Want

CONNECT_TIMEOUT_SECONDS = 3.0
REQUEST_TIMEOUT_SECONDS = 5.0
ACTION_TIMEOUT_SECONDS = 20.0
"""Longer than the daemon waits for WeChat, so that its 202 arrives instead of our own time-out."""
ANSWER_BYTES = 8 * 1024 * 1024
_NESTING = 40
_PUBLIC_PATHS = frozenset({METRICS.path, READY.path})
_CAUSES_BY_STATUS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "busy"}
_CAUSES_BY_CODE = {"api_key_not_configured": "not_configured"}


class RequestFailed(Exception):
    """No usable answer; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Action:
    """One change asked of the daemon. `idempotency_key` was made when its dialog opened."""

    path: str
    body: dict[str, Any] | None
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `settled` is False when nobody knows: repeat with the same key."""

    status: int | None
    body: Any
    failure: Failure | None = None

    @property
    def accepted(self) -> bool:
        """Whether the daemon did it (200, 201) or took it over (202)."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def settled(self) -> bool:
        """Whether the answer is final."""
        return self.status is not None and self.status != 202 and self.status < 500 and self.status != 429


class Source(Protocol):
    """Where answers come from: the daemon, or a recording."""

    async def read(self, want: Want) -> Any:
        """The decoded answer to `want`. Raises RequestFailed."""

    async def act(self, action: Action) -> Outcome:
        """Carry out an action; never raises for what the daemon or the line did."""

    def close(self) -> None:
        """Let go of connections."""


class ApiClient:
    """HTTP to one daemon. Construct and use inside the running loop."""

    def __init__(
        self,
        url: str,
        key: ApiKey | None,
        *,
        lang: str = "en",
        ca_file: str | None = None,
        request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._key = key
        self._lang = lang
        self._ca_file = ca_file
        self._timeout_seconds = request_timeout_seconds
        self._http: AsyncHTTPClient | None = None

    async def read(self, want: Want) -> Any:
        """GET, checked and decoded: a Metrics for `/metrics`, else JSON. Raises RequestFailed.

        `/readyz` answers 503 with a body when the daemon is up but not ready; that is data, not a failure.
        """
        if self._key is None and want.path not in _PUBLIC_PATHS:
            raise RequestFailed(Failure("no_key"))
        query = "?" + urlencode(want.params) if want.params else ""
        response = await self._fetch(want.path + query, "GET", None, {}, self._timeout_seconds)
        not_ready = want.path == READY.path and response.code == 503
        if response.code != 200 and not not_ready:
            raise RequestFailed(self._failure_of(response))
        try:
            if want.path == METRICS.path:
                return parse_metrics(response.body.decode("utf-8"))
            return _decoded(response)
        except (ValueError, RecursionError) as exc:
            raise RequestFailed(Failure("malformed", f"{want.path}: {exc}"[:200], response.code)) from exc

    async def act(self, action: Action) -> Outcome:
        """POST with the dialog's Idempotency-Key. A time-out is an unknown outcome, not a failure."""
        headers = {"Idempotency-Key": action.idempotency_key, "Content-Type": "application/json"}
        body = json.dumps(action.body if action.body is not None else {}, ensure_ascii=False)
        if self._key is None:
            return Outcome(None, None, Failure("no_key"))
        try:
            response = await self._fetch(action.path, "POST", body, headers, ACTION_TIMEOUT_SECONDS)
        except RequestFailed as exc:
            return Outcome(None, None, exc.failure)
        try:
            decoded = _decoded(response) if response.body else None
        except (ValueError, RecursionError):
            decoded = None
        failure = None if 200 <= response.code < 300 else self._failure_of(response)
        return Outcome(response.code, decoded, failure)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    async def _fetch(
        self, path: str, method: str, body: str | None, headers: dict[str, str], timeout_seconds: float
    ) -> HTTPResponse:
        if self._http is None:
            self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=10, max_body_size=ANSWER_BYTES)
        own = {"Accept-Language": self._lang, "User-Agent": "payd-dashboard"}
        if self._key is not None and path not in _PUBLIC_PATHS:
            own |= self._key.header()
        request = HTTPRequest(
            self._url + path,
            method=method,
            headers=own | headers,
            body=body,
            follow_redirects=False,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            request_timeout=timeout_seconds,
            ca_certs=self._ca_file,
        )
        try:
            return await self._http.fetch(request, raise_error=False)
        except (HTTPClientError, OSError, ValueError, StreamClosedError) as exc:
            raise RequestFailed(failure_of_error(exc)) from exc

    def _failure_of(self, response: HTTPResponse) -> Failure:
        if response.error is not None and response.code == 599:
            return failure_of_error(response.error)
        try:
            problem = _decoded(response)
        except (ValueError, RecursionError):
            problem = None
        fields = problem if isinstance(problem, dict) else {}
        detail = str(fields.get("detail") or fields.get("title") or response.reason or "")[:300]
        if self._key is not None:
            detail = self._key.hidden_in(detail)
        code = str(fields["code"])[:60] if "code" in fields else None
        cause = _CAUSES_BY_CODE.get(code or "") or _CAUSES_BY_STATUS.get(response.code, "http")
        return Failure(cause, detail, response.code, code)


def failure_of_error(error: BaseException) -> Failure:
    """The cause, in a word, of an exception that came instead of an answer."""
    chain: list[BaseException] = [error]
    while (below := chain[-1].__cause__ or getattr(chain[-1], "real_error", None)) and below not in chain:
        chain.append(below)
    detail = str(error)[:200]
    for link in chain:
        if isinstance(link, HTTPTimeoutError | TimeoutError):
            return Failure("timeout", detail)
        if isinstance(link, ssl.SSLError | ssl.CertificateError):
            return Failure("tls", detail)
        if isinstance(link, socket.gaierror):
            return Failure("name", detail)
        if isinstance(link, ConnectionRefusedError):
            return Failure("refused", detail)
        if isinstance(link, ConnectionResetError | BrokenPipeError):
            return Failure("reset", detail)
    if isinstance(error, HTTPStreamClosedError | StreamClosedError):
        return Failure("reset", detail)
    if isinstance(error, OSError):
        return Failure("unreachable", detail)
    return Failure("malformed", detail)


def path_of(*segments: str) -> str:
    """A path from segments, each escaped: an id from outside cannot climb out of its place."""
    return "/" + "/".join(quote(segment, safe="", errors="replace") for segment in segments)


def _decoded(response: HTTPResponse) -> Any:
    return sound(json.loads(response.body.decode("utf-8"), parse_constant=_no_constant))


def sound(value: Any, depth: int = 0) -> Any:
    """A JSON value without halves of surrogate pairs, which no terminal, file or URL can take.

    Raises ValueError when it is nested deeper than anything the contract describes.
    """
    if depth > _NESTING:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {sound(name): sound(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [sound(item, depth + 1) for item in value]
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
