"""What an answer allows to conclude: verified, a definite refusal, or nothing at all.

The order of questions is the safety rule. A 2xx counts only when its signature verifies. A refusal counts only when its
signature verifies AND its code is listed as definite for that operation (`error_codes`). Everything else is `Unclear`:
an unsigned 404 could have been written by anybody on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from payd.limits import WECHAT_MESSAGE_CHARS_MAX
from payd.models.wechat import Refused, Unclear
from payd.wechat.error_codes import is_definite, normal_code
from payd.wechat.http_answer import HttpAnswer
from payd.wechat.members import Malformed, parse_object
from payd.wechat.requests import Operation
from payd.wechat.verification import REQUEST_ID_HEADER

REQUEST_ID_CHARS_MAX: Final = 128
_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY: Final = 429

#: What a query's signed error says when the thing asked for does not exist.
ABSENT_CODES: Final = {Operation.QUERY: "ORDER_NOT_EXIST", Operation.REFUND_QUERY: "RESOURCE_NOT_EXISTS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A 200 or 204 whose signature verified. ``members`` is None for 204."""

    status: int
    members: Mapping[str, Any] | None
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A signed "does not exist" to a query."""

    code: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error answer says, cleaned for logs; None where it says nothing readable."""

    code: str | None
    message: str | None


def judge(operation: Operation, answer: HttpAnswer, *, distrust: str | None) -> Verified | Absent | Refused | Unclear:
    """Draw the only conclusion an answer allows. ``distrust`` None: its signature verified, else why it did not."""
    request_id = request_id_of(answer.headers)
    if answer.status in (_OK, _NO_CONTENT):
        if distrust is not None:
            return Unclear(reason=distrust, status=answer.status, request_id=request_id)
        return _verified(answer, request_id)
    error = read_error(answer.body)
    reason = _doubt(operation, answer.status, error.code, distrust)
    if reason is not None:
        return Unclear(
            reason=reason, status=answer.status, code=error.code, message=error.message, request_id=request_id
        )
    assert error.code is not None, "only a listed code passes"
    if ABSENT_CODES.get(operation) == error.code:
        return Absent(code=error.code, request_id=request_id)
    return Refused(status=answer.status, code=error.code, message=error.message or "", request_id=request_id)


def _doubt(operation: Operation, status: int, code: str | None, distrust: str | None) -> str | None:
    """Say why an answer that is no success settles nothing; None when it does settle something."""
    if status == _TOO_MANY:
        return "rate_limited"
    absent = status == 404 and code is not None and ABSENT_CODES.get(operation) == code
    if not absent and not is_definite(operation, status, code):
        # An unlisted code of a client error deserves another word in the logs than a broken gateway.
        return "code" if 400 <= status < 500 and status not in (401, 405) and code is not None else "status"
    return distrust


def _verified(answer: HttpAnswer, request_id: str | None) -> Verified | Unclear:
    if answer.status == _NO_CONTENT:
        return Verified(status=answer.status, members=None, request_id=request_id)
    try:
        return Verified(status=answer.status, members=parse_object(answer.body), request_id=request_id)
    except Malformed as exc:
        return Unclear(reason="malformed", status=answer.status, message=str(exc), request_id=request_id)


def read_error(body: bytes) -> ErrorBody:
    """Read ``code`` and ``message`` of an error body, whatever it is: proxies answer HTML or nothing."""
    try:
        members = parse_object(body)
    except Malformed:
        return ErrorBody(None, None)
    message = members.get("message")
    return ErrorBody(normal_code(members.get("code")), _printable(message, WECHAT_MESSAGE_CHARS_MAX))


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Take WeChat's Request-ID: log it on every call; its last digits are WeChat's internal code."""
    return _printable(headers.get(REQUEST_ID_HEADER), REQUEST_ID_CHARS_MAX)


def _printable(value: object, most: int) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    text = value[:most]
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
