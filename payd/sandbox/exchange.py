"""One request and its answer, between the wire (``gateway``) and the APIs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from payd.sandbox.errors import Refusal

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """An authentic request: who is asking is settled, what is asked is parsed but not yet checked.

    ``subjects`` are the merchant's numbers the request names; faults are matched against them.
    """

    api: str
    arguments: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    wechatpay_serial: str | None
    now: float
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. ``suffix`` is the number that ends ``Request-ID``; 0 means success."""

    status: int
    body: bytes = b""
    suffix: int = 0
    code: str | None = None
    content_type: str = JSON_TYPE
    signed: bool = True
    with_request_id: bool = True

    @classmethod
    def of(cls, value: Mapping[str, Any], status: int = 200) -> Answer:
        """A JSON answer with its keys in alphabetical order, as in captures (section 6.1)."""
        return cls(status, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    @classmethod
    def refusing(cls, refusal: Refusal) -> Answer:
        """The answer that carries ``refusal``."""
        body: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
        if refusal.detail is not None:
            body["detail"] = refusal.detail
        return cls(
            refusal.status,
            orjson.dumps(body, option=orjson.OPT_SORT_KEYS),
            refusal.suffix,
            refusal.code,
            signed=refusal.signed,
            with_request_id=refusal.with_request_id,
        )
