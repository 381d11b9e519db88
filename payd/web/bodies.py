"""Request bodies: raw bytes -> a validated model -> the command the core takes.

Three gates, in this order: the media type (415), the JSON text (400 ``invalid_json``), its content (400
``invalid_request`` with every complaint at once, those about two members included).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from payd import limits
from payd.errors import Complaint, RequestError
from payd.models.order import CreateCommand
from payd.models.refund import RefundCommand
from payd.web.body_models import Body, CloseBody, CreateBody, NoMembers, RefundBody, ResolveBody
from payd.web.issues import issue
from payd.web.strict_json import JsonError, read_json
from payd.web.validation import complaints_of

B = TypeVar("B", bound=Body)

#: trade_type -> the member only it has; that member's own rules stand in its model.
OWN_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "NATIVE": (),
    "APP": (),
    "JSAPI": ("payer",),
    "H5": ("scene_info", "h5_info"),
}


def parse_body(raw: bytes, content_type: str | None, model: type[B]) -> B:
    """Read one request body. Raises RequestError: ``unsupported_media_type``, ``invalid_json``, ``invalid_request``."""
    if not _is_json(content_type):
        raise RequestError("unsupported_media_type", content_type=(content_type or "none")[:100])
    try:
        data = read_json(raw)
    except JsonError as exc:
        raise RequestError("invalid_json", reason=str(exc)) from None
    if not isinstance(data, dict):
        raise RequestError("invalid_request", complaints=[Complaint("", issue("top_level"))])
    complaints: list[Complaint] = []
    try:
        body = model.model_validate(data)
    except ValidationError as exc:
        complaints = complaints_of(exc, model)
    complaints += CROSS_CHECKS.get(model, _nothing)(data)
    if complaints:
        raise RequestError("invalid_request", complaints=complaints)
    return body


def _is_json(content_type: str | None) -> bool:
    """Tell whether a Content-Type is ``application/json``, with ``charset=utf-8`` or no parameter at all."""
    if content_type == "application/json":
        return True
    media, _, parameter = (content_type or "").partition(";")
    name, _, value = parameter.strip().partition("=")
    if media.strip().lower() != "application/json":
        return False
    return not parameter.strip() or (name.lower() == "charset" and value.strip('"').lower() in ("utf-8", "utf8"))


def _nothing(_data: Mapping[str, Any]) -> list[Complaint]:
    return []


def _check_create(data: Mapping[str, Any]) -> list[Complaint]:
    """Find what single members do not show: whose member belongs to which trade type, and the size of ``detail``."""
    complaints = []
    trade_type = data.get("trade_type") or "NATIVE"
    if isinstance(trade_type, str) and trade_type in OWN_MEMBERS:
        complaints += _check_payer(data, trade_type) + _check_scene(data, trade_type)
    detail = data.get("detail")
    if isinstance(detail, dict):
        size = len(orjson.dumps(detail))
        if size > limits.DETAIL_BYTES_MAX:
            complaints.append(Complaint("detail", issue("compact_bytes", found=size, limit=limits.DETAIL_BYTES_MAX)))
    return complaints


def _check_payer(data: Mapping[str, Any], trade_type: str) -> list[Complaint]:
    payer = data.get("payer")
    if trade_type == "JSAPI" and payer is None:
        return [Complaint("payer.openid", issue("for_trade_type", trade_type=trade_type))]
    if trade_type != "JSAPI" and payer is not None:
        return [Complaint("payer", issue("not_for_trade_type", owner="JSAPI", trade_type=trade_type))]
    return []


def _check_scene(data: Mapping[str, Any], trade_type: str) -> list[Complaint]:
    scene = data.get("scene_info")
    if trade_type == "H5" and scene is None:
        text = issue("for_trade_type", trade_type=trade_type)
        return [Complaint("scene_info.payer_client_ip", text), Complaint("scene_info.h5_info.type", text)]
    if not isinstance(scene, dict):
        return []
    if trade_type == "H5" and scene.get("h5_info") is None:
        return [Complaint("scene_info.h5_info.type", issue("for_trade_type", trade_type=trade_type))]
    if trade_type != "H5" and scene.get("h5_info") is not None:
        text = issue("not_for_trade_type", owner="H5", trade_type=trade_type)
        return [Complaint("scene_info.h5_info", text)]
    return []


def _check_refund(data: Mapping[str, Any]) -> list[Complaint]:
    """Demand exactly one way to name the order."""
    one, other = "out_trade_no", "transaction_id"
    given = [name for name in (one, other) if data.get(name) is not None]
    if len(given) == 1:
        return []
    return [Complaint(one, issue("not_both" if given else "one_needed", one=one, other=other))]


#: Rules about two members, on plain data: they speak also when single members are wrong already.
CROSS_CHECKS: Final[Mapping[type[Body], Callable[[Mapping[str, Any]], list[Complaint]]]] = {
    CreateBody: _check_create,
    RefundBody: _check_refund,
}


def create_command(body: CreateBody) -> CreateCommand:
    """Make the command. ``content`` is everything but ``out_trade_no``, after defaults, absent members left out."""
    content = body.model_dump(exclude_none=True)
    content.pop("out_trade_no", None)
    return CreateCommand(
        out_trade_no=body.out_trade_no,
        trade_type=body.trade_type,
        description=body.description,
        total_fen=body.amount.total,
        currency=body.amount.currency,
        expire_seconds=body.expire_seconds,
        openid=body.payer.openid if body.payer is not None else None,
        attach=body.attach,
        goods_tag=body.goods_tag,
        detail=content.get("detail"),
        scene_info=content.get("scene_info"),
        settle_info=content.get("settle_info"),
        support_fapiao=body.support_fapiao,
        metadata=content.get("metadata"),
        content=content,
    )


def refund_command(body: RefundBody) -> RefundCommand:
    """Make the command. ``content`` leaves out how the order was named and the number: they do not make it another."""
    content = body.model_dump(exclude_none=True)
    for name in ("out_trade_no", "transaction_id", "out_refund_no"):
        content.pop(name, None)
    goods = content.get("goods_detail")
    return RefundCommand(
        out_trade_no=body.out_trade_no,
        transaction_id=body.transaction_id,
        out_refund_no=body.out_refund_no,
        refund_fen=body.amount.refund,
        reason=body.reason,
        funds_account=body.funds_account,
        goods_detail=tuple(goods) if goods is not None else None,
        metadata=content.get("metadata"),
        content=content,
    )


def canonical_body(body: BaseModel) -> bytes:
    """Write a body so that equal requests have equal bytes: defaults filled in, absent members out, names sorted."""
    return orjson.dumps(body.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS)


__all__ = [
    "CloseBody", "CreateBody", "NoMembers", "RefundBody", "ResolveBody", "canonical_body", "create_command",
    "parse_body", "refund_command",
]  # fmt: skip
