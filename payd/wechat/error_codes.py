"""Every error code WeChat documents for payd's calls, as one table: what it means and what may be concluded.

``definite`` names the operations for which a SIGNED answer with this code says for sure that nothing happened. For all
others the outcome is unknown, and so it is for every code that is not here. Refunds are strict: a wrong "refused"
there ends in a second refund. Source: WeChat Pay v3, "status codes and error codes" and the table of each API page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from payd.wechat.requests import Operation

_PREPAY: Final = Operation.PREPAY
_QUERY: Final = Operation.QUERY
_CLOSE: Final = Operation.CLOSE
_REFUND: Final = Operation.REFUND
_REFUND_QUERY: Final = Operation.REFUND_QUERY
_ABNORMAL: Final = Operation.ABNORMAL_REFUND
_BILL: Final = Operation.BILL
_CERTIFICATES: Final = Operation.CERTIFICATES
_ECHO: Final = Operation.ECHO
_ALL: Final = (_PREPAY, _QUERY, _CLOSE, _REFUND, _REFUND_QUERY, _ABNORMAL, _BILL, _CERTIFICATES, _ECHO)
_ORDERS: Final = (_PREPAY, _QUERY, _CLOSE)

CODE_CHARS_MAX: Final = 64
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code: the statuses it was seen with, its meaning, where it is a definite refusal, what the caller does."""

    code: str
    statuses: tuple[int, ...]
    meaning: str
    definite: frozenset[Operation]
    caller: str


def _row(code: str, statuses: tuple[int, ...], meaning: str, definite: tuple[Operation, ...], caller: str) -> ErrorCode:
    return ErrorCode(code, statuses, meaning, frozenset(definite), caller)


ERROR_CODES: Final[tuple[ErrorCode, ...]] = (
    _row("PARAM_ERROR", (400,), "format", _ALL, "fix the request"),
    _row("INVALID_REQUEST", (400,), "a business rule is violated", _ALL, "fix; query when money is concerned"),
    _row("APPID_MCHID_NOT_MATCH", (400,), "appid not bound to mchid", (_PREPAY,), "configuration"),
    _row("MCH_NOT_EXISTS", (400, 404), "mchid unknown", _ALL, "configuration"),
    _row("ORDER_CLOSED", (400,), "the order is closed", (_PREPAY, _CLOSE), "new out_trade_no; on close: query"),
    _row("ORDER_PAID", (400,), "already paid", (_PREPAY, _CLOSE), "query and settle; never a failure"),
    _row("NO_STATEMENT_EXIST", (400,), "nothing happened that day", (_BILL,), "none, the bill is empty"),
    _row("STATEMENT_CREATING", (400,), "the bill is being made", (_BILL,), "apply again in half an hour"),
    _row("ALREADY_EXISTS", (400,), "number used (other products)", (), "query"),
    _row("RESOURCE_ALREADY_EXISTS", (400,), "number used (other products)", (), "query"),
    _row("SIGN_ERROR", (401,), "authentication", (), "configuration or clock; stop and call a person"),
    _row("NO_AUTH", (403,), "product not enabled or foreign resource", _ALL, "merchant console"),
    _row("OUT_TRADE_NO_USED", (403,), "number used with other parameters", (_PREPAY,), "query the old one, new number"),
    _row("RULE_LIMIT", (403,), "business or risk rule", _ORDERS, "back off, read the message"),
    _row("TRADE_ERROR", (403,), "business reason", _ORDERS, "query"),
    _row("NOT_ENOUGH", (403,), "the merchant's funds", (_REFUND, _ABNORMAL), "top up, repeat the same number"),
    _row("USER_ACCOUNT_ABNORMAL", (403,), "the payer's account", (_REFUND, _ABNORMAL), "refund by other means"),
    _row("ACCOUNT_ERROR", (403,), "account abnormal", (_PREPAY,), "give up or another account"),
    _row("REQUEST_BLOCKED", (403,), "blocked by risk control", (_PREPAY,), "merchant console"),
    _row("ORDER_NOT_EXIST", (404,), "order unknown", (_CLOSE,), "query: evidence that it is absent"),
    _row("RESOURCE_NOT_EXISTS", (404,), "refund, order or certificate unknown", (_REFUND, _ABNORMAL, _CERTIFICATES),
         "refund query: evidence that it is absent"),
    _row("NOT_FOUND", (404,), "other products; certificates in one SDK", (_CERTIFICATES,), "none"),
    _row("USERPAYING", (202, 400), "the payer is entering the password", (), "query, repeat"),
    _row("FREQUENCY_LIMITED", (429,), "too fast; a refund may be in process", (), "back off, query, same number"),
    _row("SYSTEM_ERROR", (500,), "unclear", (), "query or repeat the same"),
    _row("BANK_ERROR", (500,), "unclear", (), "query or repeat the same"),
    _row("OPENID_MISMATCH", (500,), "openid is not of this appid", (_PREPAY,), "configuration; definite although 500"),
    _row("INVALID_TRANSACTIONID", (500,), "older lists: transaction_id wrong", (), "query"),
    _row("SERVICE_UNAVAILABLE", (502, 503), "down or overloaded", (), "later"),
)  # fmt: skip

#: Spellings of the general page and of older pages -> the spelling of today's API pages.
ALIASES: Final = {
    "RATELIMITEXCEEDED": "FREQUENCY_LIMITED",
    "FREQUENCYLIMITEXCEED": "FREQUENCY_LIMITED",
    "FREQUENCYLIMIT": "FREQUENCY_LIMITED",
    "RATELIMITED": "FREQUENCY_LIMITED",
}


def _squeezed(code: str) -> str:
    return code.replace("_", "").upper()


_BY_SQUEEZED: Final = {_squeezed(row.code): row for row in ERROR_CODES}
_BY_SQUEEZED.update({alias: _BY_SQUEEZED[_squeezed(code)] for alias, code in ALIASES.items()})


def normal_code(code: object) -> str | None:
    """Write a code in today's spelling (``ORDERPAID`` -> ``ORDER_PAID``); unknown ones survive, non-codes are None."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    row = _BY_SQUEEZED.get(_squeezed(code))
    return row.code if row is not None else code.upper()


def is_definite(operation: Operation, status: int, code: str | None) -> bool:
    """Tell whether a signed error settles that nothing happened.

    Any 4xx counts with a listed code (WeChat's statuses vary between products), except those that are never an
    answer of the business: 401, 405, 429. A 5xx counts only when the code is listed with that very status.
    """
    row = _BY_SQUEEZED.get(_squeezed(code)) if code is not None else None
    if row is None or operation not in row.definite or status in (401, 405, 429):
        return False
    return 400 <= status < 500 or status in row.statuses
