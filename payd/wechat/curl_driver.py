"""Drives libcurl on the event loop: many exchanges at once over kept connections, each awaited like a call.

Tornado's curl client does the same in general; what it sets up, queues and reports for every request cost four times
what libcurl itself does (README, D29). The way libcurl is driven, by its sockets and its timer, is that of libcurl's
manual (``curl_multi_socket_action``) and of Tornado's client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import certifi
import pycurl

from payd import __version__
from payd.config import is_loopback
from payd.limits import WECHAT_CONNECT_TIMEOUT_MS, WECHAT_CONNECTIONS_MAX, WECHAT_IDLE_CONNECTION_SECONDS
from payd.wechat.http_answer import HttpAnswer, TransportFailure, read_header_lines

USER_AGENT: Final = f"payd/{__version__}"

#: How long after its time limit an exchange ends even if curl has forgotten it.
_GRACE_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class Exchange:
    """One request under way. ``take`` gets the body's pieces as they come; without it they are kept, up to ``most``."""

    future: asyncio.Future[HttpAnswer]
    once: bool  # it may go on the wire a single time
    most: int  # bytes of the answer's body
    take: Callable[[bytes], None] | None
    sends: int = 0  # copies that went out; curl asks when connection and TLS stand, right before the first byte
    size: int = 0
    lines: list[bytes] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    def before_send(self, *_addresses: object) -> int:
        """Refuse the second copy of a POST.

        curl sends again by itself when a kept connection was reset: whether a POST was carried out is then unknown, and
        that is what the caller must hear (D7). A question may be asked twice.
        """
        if self.once and self.sends:
            return int(pycurl.PREREQFUNC_ABORT)
        self.sends += 1
        return int(pycurl.PREREQFUNC_OK)

    def on_body(self, piece: bytes) -> int | None:
        """Take a piece; fewer bytes than were given end the exchange."""
        self.size += len(piece)
        if self.size > self.most:
            return 0
        (self.take or self.pieces.append)(piece)
        return None

    def failed(self, number: int, detail: str) -> TransportFailure:
        """Say how it ended without a whole answer."""
        sent = self.sends > 0  # whatever became of another copy: the last error says nothing about the first
        if number == pycurl.E_OPERATION_TIMEDOUT:
            return TransportFailure("timeout", detail, sent=sent)
        if number == pycurl.E_WRITE_ERROR and self.size > self.most:
            return TransportFailure("malformed", "the answer is too large", sent=sent)
        return TransportFailure("connection", detail, sent=sent)


class CurlDriver:
    """Makes exchanges on the running loop. Connections are kept and bounded; those beyond the bound wait for one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = self._open_multi()
        self._watched: dict[int, int] = {}  # socket -> what curl waits for
        self._timer: asyncio.Handle | None = None
        self._free: list[pycurl.Curl] = []
        self._under_way: dict[pycurl.Curl, Exchange] = {}

    def _open_multi(self) -> pycurl.CurlMulti:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, WECHAT_CONNECTIONS_MAX)
        multi.setopt(pycurl.M_MAXCONNECTS, WECHAT_CONNECTIONS_MAX)
        return multi

    async def exchange(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
        most: int,
        take: Callable[[bytes], None] | None = None,
    ) -> HttpAnswer:
        """Make one request, a POST when it has a ``body``, and wait for its whole answer. Raises TransportFailure.

        ``seconds`` bound all of it, the wait for a connection too. Whoever stops waiting does not stop the request.
        """
        exchange = Exchange(self._loop.create_future(), once=body is not None, most=most, take=take)
        curl = self._free.pop() if self._free else pycurl.Curl()
        try:
            _set_up(curl, exchange, url, headers=headers, body=body, seconds=seconds)
            self._multi.add_handle(curl)
        except (pycurl.error, ValueError) as exc:
            curl.close()
            raise TransportFailure("connection", str(exc), sent=False) from exc
        self._under_way[curl] = exchange
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                return await exchange.future
        except TimeoutError:
            raise exchange.failed(pycurl.E_OPERATION_TIMEDOUT, "curl did not end it in time") from None

    def close(self) -> None:
        """Cut all connections; what is under way ends as a failure."""
        self._drop_all("payd is closing")
        for curl in self._free:
            curl.close()

    def _drop_all(self, reason: str) -> None:
        for curl, exchange in self._under_way.items():
            with contextlib.suppress(pycurl.error):  # a dead multi gives nothing back
                self._multi.remove_handle(curl)
            curl.close()
            _end(exchange, TransportFailure("connection", reason, sent=exchange.sends > 0))
        self._under_way.clear()
        self._multi.close()
        for fd in list(self._watched):
            self._unwatch(fd)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what curl asks for ------------------------------------------------------------------------------------------

    def _watch(self, what: int, fd: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Wait for a socket. Always anew: curl closes one and opens another under its number without a word."""
        self._unwatch(fd)
        if what == pycurl.POLL_REMOVE:
            return
        self._watched[fd] = what
        if what & pycurl.POLL_IN:
            self._loop.add_reader(fd, self._act, fd, pycurl.CSELECT_IN)
        if what & pycurl.POLL_OUT:
            self._loop.add_writer(fd, self._act, fd, pycurl.CSELECT_OUT)

    def _unwatch(self, fd: int) -> None:
        what = self._watched.pop(fd, 0)
        if what & pycurl.POLL_IN:
            self._loop.remove_reader(fd)
        if what & pycurl.POLL_OUT:
            self._loop.remove_writer(fd)

    def _set_timer(self, after_ms: int) -> None:
        """Come back later, or as soon as possible; never from inside: curl may not be called by its own call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if after_ms == 0:
            self._timer = self._loop.call_soon(self._act, pycurl.SOCKET_TIMEOUT, 0)
        elif after_ms > 0:
            self._timer = self._loop.call_later(after_ms / 1000, self._act, pycurl.SOCKET_TIMEOUT, 0)

    # -- what happens ------------------------------------------------------------------------------------------------

    def _act(self, fd: int, events: int) -> None:
        """Let curl work on a socket that is ready, or on what is due."""
        if fd == pycurl.SOCKET_TIMEOUT:
            self._timer = None
        try:
            self._multi.socket_action(fd, events)
        except pycurl.error as exc:  # a socket could not be watched: this multi is dead and would forget its calls
            self._drop_all(str(exc))
            self._multi = self._open_multi()
            return
        waiting = 1
        while waiting:
            waiting, done, failed = self._multi.info_read()
            for curl in done:
                self._finish(curl)
            for curl, number, detail in failed:
                self._finish(curl, self._under_way[curl].failed(number, detail))
        if self._timer is None and fd == pycurl.SOCKET_TIMEOUT:
            # The loop's clock and curl's differ by a hair: what was not yet due for curl is set again.
            after_ms = self._multi.timeout()
            if after_ms >= 0:
                self._set_timer(max(after_ms, 1))

    def _finish(self, curl: pycurl.Curl, failure: TransportFailure | None = None) -> None:
        exchange = self._under_way.pop(curl)
        self._multi.remove_handle(curl)
        if failure is None:
            status = int(curl.getinfo(pycurl.RESPONSE_CODE))
            answer = HttpAnswer(
                status=status, headers=read_header_lines(exchange.lines), body=b"".join(exchange.pieces)
            )
            _end(exchange, answer)
        else:
            _end(exchange, failure)
        if len(self._free) < WECHAT_CONNECTIONS_MAX:
            curl.reset()  # its options and what they hold go; the connection is the multi's
            self._free.append(curl)
        else:
            curl.close()


def _end(exchange: Exchange, result: HttpAnswer | TransportFailure) -> None:
    if exchange.future.done():  # nobody waits any more
        return
    if isinstance(result, TransportFailure):
        exchange.future.set_exception(result)
    else:
        exchange.future.set_result(result)


def _set_up(
    curl: pycurl.Curl, exchange: Exchange, url: str, *, headers: Mapping[str, str], body: bytes | None, seconds: float
) -> None:
    """Tell curl all about one request. Raises ValueError for a header that would be two."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines.append("Expect:")  # none: WeChat's bodies are small, and waiting for "100 Continue" costs a second
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a header holds the end of a line")
    timeout_ms = int(seconds * 1000)
    setopt = curl.setopt
    setopt(pycurl.URL, url)
    setopt(pycurl.HTTPHEADER, lines)
    if body is not None:
        setopt(pycurl.POSTFIELDS, body)
    setopt(pycurl.HEADERFUNCTION, exchange.lines.append)
    setopt(pycurl.WRITEFUNCTION, exchange.on_body)
    setopt(pycurl.PREREQFUNCTION, exchange.before_send)
    setopt(pycurl.TIMEOUT_MS, timeout_ms)
    setopt(pycurl.CONNECTTIMEOUT_MS, min(timeout_ms, WECHAT_CONNECT_TIMEOUT_MS))
    setopt(pycurl.USERAGENT, USER_AGENT)
    setopt(pycurl.CAINFO, certifi.where())
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    setopt(pycurl.MAXAGE_CONN, WECHAT_IDLE_CONNECTION_SECONDS)
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.PATH_AS_IS, 1)  # the path is signed: curl must not tidy it up
    if _on_this_machine(url):
        setopt(pycurl.NOPROXY, "*")


@lru_cache(maxsize=64)
def _is_loopback(base: str) -> bool:
    return is_loopback(urlsplit(base).hostname or "")


def _on_this_machine(url: str) -> bool:
    """Tell whether no proxy may stand in between. The host ends at the third slash."""
    return _is_loopback("/".join(url.split("/", 3)[:3]))
