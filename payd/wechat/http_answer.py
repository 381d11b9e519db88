"""What an HTTP exchange with a host ends in: a whole answer with nothing verified, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from payd.http_headers import Headers

_STATUS_LINE: Final = re.compile(rb"HTTP/[^ :]+ ")
#: RFC 9110, 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A whole answer, nothing verified. ``headers`` find names in any spelling, or are spelled as WeChat does."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportFailure(Exception):
    """No whole answer. ``reason`` is ``timeout``, ``connection`` or ``malformed`` (too large).

    ``sent`` False: the host has certainly seen nothing of the request.
    """

    def __init__(self, reason: str, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.reason = reason
        self.sent = sent


def read_header_lines(lines: Iterable[bytes]) -> Headers:
    """Read the header lines of the last answer; those of a ``100 Continue`` before it go."""
    headers = Headers()
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and _TOKEN.fullmatch(name):
            headers.add(name, value.strip())
        elif _STATUS_LINE.match(line):
            headers = Headers()
        # Anything else is nobody's header: whatever it was to say, it was not said.
    return headers
