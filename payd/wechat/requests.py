"""The requests payd sends: paths, queries and exact bodies. Every body is serialised here, once.

WeChat allows no null and no characters of four bytes; ``web/bodies.py`` checked the lengths, here they are asserted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import orjson

from payd.limits import (
    ATTACH_BYTES_MAX,
    DESCRIPTION_BYTES_MAX,
    DETAIL_BYTES_MAX,
    GOODS_TAG_BYTES_MAX,
    NOTIFY_URL_BYTES_MAX,
    OPENID_BYTES_MAX,
    REASON_BYTES_MAX,
    TOTAL_FEN_MIN,
)
from payd.models.bill import BillKind
from payd.models.ids import BEIJING, OUT_REFUND_NO, OUT_TRADE_NO
from payd.models.order import CreateCommand, Order

#: trade_type -> the last segment of the prepay path.
PREPAY_PATHS: Final = {"NATIVE": "native", "JSAPI": "jsapi", "APP": "app", "H5": "h5"}

#: Which bill -> path and the query that asks for all of it.
BILL_PATHS: Final = {
    BillKind.TRADE: ("/v3/bill/tradebill", "bill_type=ALL"),
    BillKind.FUND_FLOW: ("/v3/bill/fundflowbill", "account_type=BASIC"),
}

_LAST_OF_THREE_BYTES: Final = "\uffff"


class Operation(StrEnum):
    """What is asked of WeChat; values are metric labels."""

    PREPAY = "prepay"
    QUERY = "query"
    CLOSE = "close"
    REFUND = "refund"
    REFUND_QUERY = "refund_query"
    ABNORMAL_REFUND = "abnormal_refund"
    BILL = "bill"
    DOWNLOAD = "download"
    CERTIFICATES = "certificates"
    ECHO = "echo"


#: Operations that change nothing at WeChat: an answer to a second try means the same as one to the first.
READ_ONLY: Final = frozenset(
    {
        Operation.QUERY,
        Operation.REFUND_QUERY,
        Operation.BILL,
        Operation.DOWNLOAD,
        Operation.CERTIFICATES,
        Operation.ECHO,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """One request, ready to be signed. ``target`` is path and query as they go on the wire; GET has no body.

    ``key_serial`` names the platform key that sensitive fields were encrypted with, None: the preferred one.
    """

    operation: Operation
    method: str
    target: str
    body: bytes = b""
    key_serial: str | None = None


def encode(members: Mapping[str, Any]) -> bytes:
    """Write compact UTF-8 JSON. Asserts that nothing in it is refused by WeChat's rules for characters and null."""
    _assert_wire_value(members)
    return orjson.dumps(members)


def prepay_members(
    command: CreateCommand, *, appid: str, mchid: str, out_trade_no: str, expires_at: datetime, notify_url: str
) -> dict[str, Any]:
    """Collect the members of a prepay body; what is None is left out."""
    assert OUT_TRADE_NO.fullmatch(out_trade_no), "out_trade_no has its shape"
    assert command.total_fen >= TOTAL_FEN_MIN, "a payment is at least one fen"
    _assert_bytes(command.description, DESCRIPTION_BYTES_MAX)
    _assert_bytes(notify_url, NOTIFY_URL_BYTES_MAX)
    _assert_bytes(command.attach or "", ATTACH_BYTES_MAX)
    _assert_bytes(command.goods_tag or "", GOODS_TAG_BYTES_MAX)
    _assert_bytes(command.openid or "", OPENID_BYTES_MAX)
    assert command.detail is None or len(orjson.dumps(command.detail)) <= DETAIL_BYTES_MAX, "detail is small enough"
    members: dict[str, Any] = {
        "appid": appid,
        "mchid": mchid,
        "description": command.description,
        "out_trade_no": out_trade_no,
        "time_expire": expires_at.astimezone(BEIJING).isoformat(timespec="seconds"),
        "attach": command.attach,
        "notify_url": notify_url,
        "goods_tag": command.goods_tag,
        "support_fapiao": command.support_fapiao,
        "amount": {"total": command.total_fen, "currency": command.currency},
        "payer": None if command.openid is None else {"openid": command.openid},
        "detail": command.detail,
        "scene_info": command.scene_info,
        "settle_info": command.settle_info,
    }
    return {name: value for name, value in members.items() if value is not None}


def prepay_request(trade_type: str, body: bytes) -> WireRequest:
    """POST the order of one product; the mini program uses JSAPI's path."""
    target = f"/v3/pay/transactions/{PREPAY_PATHS[trade_type]}"
    return WireRequest(operation=Operation.PREPAY, method="POST", target=target, body=body)


def query_request(out_trade_no: str, mchid: str) -> WireRequest:
    """GET an order by its merchant number."""
    target = f"/v3/pay/transactions/out-trade-no/{_segment(out_trade_no)}?mchid={_segment(mchid)}"
    return WireRequest(operation=Operation.QUERY, method="GET", target=target)


def close_request(out_trade_no: str, mchid: str) -> WireRequest:
    """POST the close of an unpaid order."""
    target = f"/v3/pay/transactions/out-trade-no/{_segment(out_trade_no)}/close"
    return WireRequest(operation=Operation.CLOSE, method="POST", target=target, body=encode({"mchid": mchid}))


def refund_members(
    order: Order,
    *,
    out_refund_no: str,
    refund_fen: int,
    reason: str | None,
    content: Mapping[str, Any],
    notify_url: str,
) -> dict[str, Any]:
    """Collect the members of a refund body. ``amount.total`` is the order's original total, not what is left of it."""
    assert OUT_REFUND_NO.fullmatch(out_refund_no), "out_refund_no has its shape"
    assert 1 <= refund_fen <= order.total_fen, "a refund is at least one fen and at most the order"
    _assert_bytes(reason or "", REASON_BYTES_MAX)
    members: dict[str, Any] = {
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no if order.transaction_id is None else None,
        "out_refund_no": out_refund_no,
        "reason": reason,
        # Without it a URL set in the console gets the notification in v2's XML.
        "notify_url": notify_url,
        "funds_account": content.get("funds_account"),
        "amount": {"refund": refund_fen, "total": order.total_fen, "currency": order.currency},
        "goods_detail": content.get("goods_detail"),
    }
    return {name: value for name, value in members.items() if value is not None}


def refund_request(body: bytes) -> WireRequest:
    """POST a refund; there is no mchid in it, the Authorization header says who."""
    return WireRequest(operation=Operation.REFUND, method="POST", target="/v3/refund/domestic/refunds", body=body)


def refund_query_request(out_refund_no: str) -> WireRequest:
    """GET a refund by its merchant number."""
    target = f"/v3/refund/domestic/refunds/{_segment(out_refund_no)}"
    return WireRequest(operation=Operation.REFUND_QUERY, method="GET", target=target)


def abnormal_refund_request(refund_id: str, members: Mapping[str, Any], *, key_serial: str) -> WireRequest:
    """POST where an ABNORMAL refund shall go. Sensitive members are already encrypted with ``key_serial``'s key."""
    return WireRequest(
        operation=Operation.ABNORMAL_REFUND,
        method="POST",
        target=f"/v3/refund/domestic/refunds/{_segment(refund_id)}/apply-abnormal-refund",
        body=encode(members),
        key_serial=key_serial,
    )


def bill_request(bill_date: date, kind: BillKind) -> WireRequest:
    """GET where yesterday's file is; always the compressed one, the hash is over the plain content either way."""
    path, which = BILL_PATHS[kind]
    target = f"{path}?bill_date={bill_date.isoformat()}&{which}&tar_type=GZIP"
    return WireRequest(operation=Operation.BILL, method="GET", target=target)


def certificates_request() -> WireRequest:
    """GET the platform certificates."""
    return WireRequest(operation=Operation.CERTIFICATES, method="GET", target="/v3/certificates")


def echo_request(members: Mapping[str, Any], *, key_serial: str) -> WireRequest:
    """POST WeChat's self-test, which moves no money."""
    return WireRequest(
        operation=Operation.ECHO,
        method="POST",
        target="/v3/security/echo",
        body=encode(members),
        key_serial=key_serial,
    )


def _segment(value: str) -> str:
    return quote(value, safe="")


def _assert_bytes(text: str, most: int) -> None:
    assert len(text.encode()) <= most, f"at most {most} bytes"


def _assert_wire_value(value: object) -> None:
    if isinstance(value, str):
        assert value.isascii() or max(value) <= _LAST_OF_THREE_BYTES, "WeChat takes no four-byte characters"
    elif isinstance(value, Mapping):
        for name, member in value.items():
            assert isinstance(name, str), "names are texts"
            _assert_wire_value(member)
    elif isinstance(value, list | tuple):
        for member in value:
            _assert_wire_value(member)
    else:
        assert isinstance(value, bool | int), "WeChat takes no null and payd sends no float"
