"""The journal: append-only history of an order, each line chained to the one before by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from payd.models.evidence import Source

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """One thing that happened (table ``journal``, key ``(out_trade_no, position)``, position from 1).

    ``subject`` is ``order``, ``payment``, ``refund`` or ``discrepancy``; ``subject_id`` its key. ``from_state`` None:
    it begins here; ``to_state`` None: a remark that moves nothing. ``request_id`` is the caller's,
    ``wechat_request_id`` WeChat's. ``hash`` covers every member and ``previous_hash``.
    """

    out_trade_no: str
    position: int
    subject: str
    subject_id: str
    from_state: str | None
    to_state: str | None
    source: Source
    at: datetime
    request_id: str | None
    wechat_request_id: str | None
    detail: Mapping[str, Any]
    previous_hash: str
    hash: str


def line_hash(
    *,
    out_trade_no: str,
    position: int,
    subject: str,
    subject_id: str,
    from_state: str | None,
    to_state: str | None,
    source: Source,
    at: datetime,
    request_id: str | None,
    wechat_request_id: str | None,
    detail: Mapping[str, Any],
    previous_hash: str,
) -> str:
    """Hash one line: SHA-256, hex, over the compact JSON list of its members (detail with sorted keys).

    ``at`` counts in whole microseconds since 1970, as it is stored, so that a re-check reads the same bytes.
    """
    members = [
        out_trade_no, position, subject, subject_id, from_state, to_state, source, stamp(at),
        request_id, wechat_request_id, detail, previous_hash,
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).hexdigest()


def stamp(at: datetime) -> int:
    """Count an aware time in whole microseconds since 1970-01-01 UTC, exactly: the storage's form."""
    return (at - _EPOCH) // _MICROSECOND
