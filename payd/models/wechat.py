"""What a call to WeChat can come to. Three kinds, told apart by what the caller may conclude."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A definite refusal: a signed, listed error. ``code`` is WeChat's, normalised (``ORDER_PAID``).

    The caller still decides whether it may count (first submission, or after a signed "does not exist").
    """

    status: int
    code: str
    message: str
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nothing may be concluded: time-out, reset, 5xx, 429, bad or missing signature, unlisted code, 202, 401.

    ``reason`` is one word for logs and metrics: ``timeout``, ``connection``, ``signature``, ``unsigned``, ``status``,
    ``rate_limited``, ``malformed``, ``code``, ``key_refresh``. ``status`` and ``code`` hold what was heard, if
    anything.
    """

    reason: str
    status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepayParameters:
    """A verified prepay answer: one of the three is set, by trade type."""

    prepay_id: str | None = None
    code_url: str | None = None
    h5_url: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A verified 204 to a close."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillOffer:
    """A verified answer to a bill application: where the file is and the SHA-1 of its uncompressed content."""

    download_url: str
    hash_type: str
    hash_value: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """The platform keys in use: ids, and when the last certificate ends (None in pure public-key mode)."""

    loaded: bool
    serials: tuple[str, ...]
    not_after: datetime | None
