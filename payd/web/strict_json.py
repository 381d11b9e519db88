"""Strict JSON: what Python's reader lets through and a payment must not depend on is refused.

Refused: a byte order mark, invalid UTF-8, NaN and Infinity, a member named twice in one object (readers disagree on
which one counts), nesting deeper than ``limits.JSON_DEPTH_MAX``, more members than ``limits.JSON_MEMBERS_MAX``,
surrogates without their other half.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from payd import limits

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]", re.ASCII)
#: A string, or an unclosed one to the end of the text: always linear.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_INTEGER_DIGITS_MAX: Final = 19  # of a 64-bit integer
_TOO_LARGE: Final = 10**_INTEGER_DIGITS_MAX  # above every bound of every member


class JsonError(ValueError):
    """The text is not the JSON payd takes; the message says why and where, without quoting it."""


def read_json(raw: bytes) -> Any:
    """Read one JSON text. Raises JsonError.

    An integer too long for 64 bits becomes one that no bound allows, so that it costs nothing and is still named.
    """
    if not raw.strip():
        raise JsonError("the body is empty")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise JsonError("it begins with a byte order mark")
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise JsonError(f"it is not valid UTF-8 at byte {exc.start}") from None
    if raw.count(b"[") + raw.count(b"{") > limits.JSON_DEPTH_MAX or raw.count(b",") > limits.JSON_MEMBERS_MAX:
        _check_shape(raw)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        raise JsonError(f"{exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_shape(raw: bytes) -> None:
    """Bound depth and size before anything is built: peel matching brackets layer by layer.

    What a well-formed text still has after that is too deep; which bracket matches which is the reader's business.
    """
    bare = _STRING.sub(b"", raw)
    brackets = bare.translate(_ONE_KIND, _NO_BRACKET)
    if bare.count(b",") + brackets.count(b"[") > limits.JSON_MEMBERS_MAX:
        raise JsonError(f"it has more than {limits.JSON_MEMBERS_MAX} members")
    for _ in range(limits.JSON_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise JsonError(f"it is nested deeper than {limits.JSON_DEPTH_MAX} levels, or a bracket is not closed")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise JsonError("it contains half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("an object has two members of the same name")
    return members


def _integer(digits: str) -> int:
    negative = digits.startswith("-")
    if len(digits) - negative <= _INTEGER_DIGITS_MAX:
        return int(digits)
    return -_TOO_LARGE if negative else _TOO_LARGE


def _constant(name: str) -> None:
    raise JsonError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
