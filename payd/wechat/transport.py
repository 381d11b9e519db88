"""The only IO towards WeChat: one HTTP exchange with one host, bytes out, bytes in.

Knows nothing of signatures or error codes. Every way an exchange can fail becomes `TransportFailure`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from payd.limits import BILL_FILE_BYTES_MAX, WECHAT_ANSWER_BYTES_MAX
from payd.wechat.curl_driver import CurlDriver
from payd.wechat.http_answer import HttpAnswer


class Transport:
    """Keep-alive connections to WeChat's hosts. Opens nothing before the first request; needs the running loop then."""

    def __init__(self, *, timeout_ms: int) -> None:
        self._timeout_seconds = timeout_ms / 1000
        self._driver: CurlDriver | None = None

    async def exchange(
        self, base: str, *, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> HttpAnswer:
        """Send one request and take the whole answer within the time limit. Raises TransportFailure."""
        assert method == "POST" or not body, "a question has no body"
        return await self._open().exchange(
            base + target,
            headers=headers,
            body=body if method == "POST" else None,
            seconds=self._timeout_seconds,
            most=WECHAT_ANSWER_BYTES_MAX,
        )

    async def download(
        self, url: str, *, headers: Mapping[str, str], write: Callable[[bytes], None], seconds: float
    ) -> HttpAnswer:
        """GET a file and hand its pieces to ``write`` as they come; the answer's body is empty.

        Pieces of an error page are handed over too: look at the status first. ``write`` must not raise: curl cannot
        carry it. Raises TransportFailure.
        """
        return await self._open().exchange(
            url, headers=headers, body=None, seconds=seconds, most=BILL_FILE_BYTES_MAX, take=write
        )

    def _open(self) -> CurlDriver:
        if self._driver is None:
            self._driver = CurlDriver()
        return self._driver

    async def close(self) -> None:
        """Close all connections; a request under way ends as a failure."""
        if self._driver is not None:
            self._driver.close()
        self._driver = None
        await asyncio.sleep(0)
