"""Reading members of WeChat's JSON: the right type or `Malformed`, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_TEXT_CHARS_MAX = 4_096


class Malformed(Exception):
    """An answer or a resource lacks a member, has one of a wrong type, or speaks of something else."""


def parse_object(body: bytes) -> Mapping[str, Any]:
    """Parse a JSON object. Raises Malformed."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Malformed("not JSON") from exc
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def text(members: Mapping[str, Any], name: str) -> str:
    """Take a non-empty text. Raises Malformed."""
    value = members.get(name)
    if type(value) is not str or not value or len(value) > _TEXT_CHARS_MAX:
        raise Malformed(f"{name} is no text")
    return value


def optional_text(members: Mapping[str, Any], name: str) -> str | None:
    """Take a text; None when it is absent, null or empty. Raises Malformed."""
    value = members.get(name)
    if type(value) is str and len(value) <= _TEXT_CHARS_MAX:
        return value or None
    return None if value is None else text(members, name)


#: The largest whole number the database holds.
INTEGER_MAX: Final = 2**63 - 1
#: Years that WeChat Pay can speak of; sums of times outside them overflow.
YEARS: Final = range(2011, 2200)


def integer(members: Mapping[str, Any], name: str) -> int:
    """Take a whole number, not below zero; 1.0 and true are none. Raises Malformed."""
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        raise Malformed(f"{name} is no amount")
    return value


def optional_integer(members: Mapping[str, Any], name: str) -> int | None:
    """Take a whole number, not below zero, or None. Raises Malformed."""
    return None if members.get(name) is None else integer(members, name)


def optional_object(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Take an object; empty when it is absent or null. Raises Malformed."""
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{name} is no object")
    return value


def optional_time(members: Mapping[str, Any], name: str) -> datetime | None:
    """Take an RFC 3339 time as aware UTC, or None. Raises Malformed."""
    value = optional_text(members, name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise Malformed(f"{name} has no time zone")
        moment = moment.astimezone(UTC)
        if moment.year not in YEARS:
            raise Malformed(f"{name} is no time of our days")
        return moment
    except (ValueError, OverflowError) as exc:
        raise Malformed(f"{name} is no time") from exc
