"""What every answer has in common, whoever writes it: its id, its first headers, one count and one line in the log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from tornado.httputil import format_timestamp

from payd.logs import get_logger
from payd.models.ids import REQUEST_ID

if TYPE_CHECKING:
    from payd.web.services import Services

log = get_logger("payd.http")


def begun() -> float:
    """Note when a request began, for `answered`."""
    return time.perf_counter()


def request_id_of(headers: Mapping[str, str], services: Services) -> str:
    """Take the caller's own X-Request-Id if it is a safe one, else make one."""
    asked = headers.get("X-Request-Id")
    return asked if asked is not None and REQUEST_ID.fullmatch(asked) else services.entropy.token_hex(12)


def common_headers() -> dict[str, str]:
    """Give what every answer says first: nothing about the server's make, no guessing of types, no storing."""
    return {"Date": _http_date(int(time.time())), "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    """Write the Date header (RFC 9110, 6.6.1); many answers share a second."""
    return format_timestamp(second)


def answered(
    services: Services,
    method: str,
    route: str,
    status: int,
    *,
    started: float,
    request_id: str,
    key_id: str | None,
    told: Mapping[str, str | None],
) -> None:
    """Count and log an answer, after it is written. ``told`` is what the operation adds to its log line."""
    seconds = time.perf_counter() - started
    services.metrics.answered(route, method, status, seconds)
    level = log.error if status >= 500 else log.info
    level("answered", method=method, route=route, status=status, ms=round(seconds * 1000, 2), request_id=request_id,
          key_id=key_id, **told)  # fmt: skip


def where_of(error: BaseException) -> str:
    """Name the innermost place of an exception, for the log."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/payd/', 1)[-1]}:{trace.tb_lineno}"
