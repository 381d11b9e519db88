"""Query strings -> filters. Strict: an unknown, repeated or ill-formed parameter is a complaint, all of them at once.

Each route has one model here; the functions at the end turn a raw query string into what ``ports.Storage`` takes.
"""

from __future__ import annotations

import binascii
import difflib
import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema

from payd import limits
from payd.errors import Complaint, RequestError
from payd.models.discrepancy import DiscrepancyStatus
from payd.models.journal import stamp
from payd.models.notification import NotificationResult
from payd.models.states import OrderState, RefundState
from payd.models.webhook import DeliveryStatus
from payd.ports import OrderFilter, Position, RefundFilter
from payd.web.body_models import LookedUp, TradeType, complain
from payd.web.issues import issue
from payd.web.validation import complaints_of

RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+ -]\d\d:\d\d)", re.ASCII)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR_CHARS_MAX: Final = 512  # a key of this program has at most 128 characters
PARAMETERS_MAX: Final = 32  # more than any route knows


def _whole(text: Any) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise complain("integer")
    return int(text)


def parse_time(text: Any) -> datetime:
    """Read an RFC 3339 time with an offset into aware UTC.

    A blank where ``+`` belongs is taken for it: that is what an unescaped plus becomes in a query string.
    """
    match = RFC3339.fullmatch(text)
    if match is None:
        raise complain("time")
    date, clock, fraction, offset = match.groups()
    zone = "+00:00" if offset in "Zz" else offset.replace(" ", "+")
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise complain("time") from None


def encode_cursor(position: Position) -> str:
    """Write where a page ended, opaque, with a check sum against cut or edited cursors (not against forgery)."""
    plain = f"{stamp(position.created_at)} {position.key}".encode()
    return urlsafe_b64encode(zlib.crc32(plain).to_bytes(4, "big") + plain).rstrip(b"=").decode()


def decode_cursor(text: Any) -> Position:
    """Read what `encode_cursor` wrote, and nothing else."""
    try:
        if not isinstance(text, str) or len(text) > CURSOR_CHARS_MAX:
            raise ValueError("too long")
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        moment, _, key = raw[4:].decode().partition(" ")
        position = Position(EPOCH + timedelta(microseconds=int(moment)), key)
        if encode_cursor(position) != text:
            raise ValueError("not as it was written")
    except (ValueError, OverflowError, binascii.Error):
        raise complain("cursor") from None
    return position


Limit = Annotated[int, Field(ge=1, le=limits.PAGE_LIMIT_MAX), BeforeValidator(_whole)]
Time = Annotated[datetime, PlainValidator(parse_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Cursor = Annotated[Position, PlainValidator(decode_cursor), WithJsonSchema({"type": "string", "minLength": 1})]


class Query(BaseModel):
    """What all query models share. Values arrive as texts, each name once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NoQuery(Query):
    """A route without parameters."""


class Paged(Query):
    """A list: newest first."""

    limit: Limit = Field(default=limits.PAGE_LIMIT_DEFAULT, description="entries on a page")
    cursor: Cursor | None = Field(default=None, description="next_cursor of the page before, as it was given")


class OrderQuery(Query):
    """GET /pay/query. At least one of the two; two must name the same order."""

    out_trade_no: LookedUp | None = None
    transaction_id: LookedUp | None = None


class RefundQuery(Query):
    """GET /pay/refund/query."""

    out_refund_no: LookedUp


class OrderListQuery(Paged):
    """GET /pay/orders."""

    status: OrderState | None = None
    trade_type: TradeType | None = None
    created_from: Time | None = Field(default=None, description="inclusive")
    created_to: Time | None = Field(default=None, description="exclusive")


class RefundListQuery(Paged):
    """GET /pay/refunds."""

    status: RefundState | None = None
    out_trade_no: LookedUp | None = None


class DiscrepancyListQuery(Paged):
    """GET /pay/discrepancies."""

    status: DiscrepancyStatus | None = Field(default=None, description="all when absent")


class NotificationListQuery(Paged):
    """GET /pay/notifications."""

    result: NotificationResult | None = None


class DeliveryListQuery(Paged):
    """GET /pay/deliveries."""

    status: DeliveryStatus | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """How much of a list, and from where."""

    limit: int
    after: Position | None


Q = TypeVar("Q", bound=Query)


def parse_query(raw: str, model: type[Q]) -> Q:
    """Read a raw query string (as it stands in the request line, without ``?``) by one model.

    Raises RequestError ``invalid_request`` with every complaint.
    """
    values, complaints = _split(raw)
    try:
        parsed = model.model_validate(values)
    except ValidationError as exc:
        complaints += [_as_parameter(complaint, model) for complaint in complaints_of(exc, model)]
    if complaints:
        raise RequestError("invalid_request", complaints=complaints)
    return parsed


def _split(raw: str) -> tuple[dict[str, str], list[Complaint]]:
    values: dict[str, str] = {}
    complaints: list[Complaint] = []
    parts = [part for part in raw.split("&") if part]
    if len(parts) > PARAMETERS_MAX:
        return {}, [Complaint("", issue("too_many", limit=PARAMETERS_MAX))]
    for part in parts:
        encoded_name, _, encoded_value = part.partition("=")
        name, value = _unquote(encoded_name), _unquote(encoded_value)
        if name is None or value is None:
            complaints.append(Complaint(name or "", issue("query_encoding")))
        elif name in values:
            complaints.append(Complaint(name, issue("repeated_parameter")))
        else:
            values[name] = value
    return values, complaints


def _unquote(text: str) -> str | None:
    """Decode one name or value; None when it is not valid percent-encoded UTF-8."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        return None
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:
        return None


def _as_parameter(complaint: Complaint, model: type[Query]) -> Complaint:
    if not complaint.issue.startswith(issue("unknown")):
        return complaint
    near = difflib.get_close_matches(complaint.field, model.model_fields, n=1)
    text = issue("unknown_parameter_near", near=near[0]) if near else issue("unknown_parameter")
    return Complaint(complaint.field, text)


def _page(query: Paged) -> Page:
    return Page(query.limit, query.cursor)


def query_order(raw: str) -> OrderQuery:
    """Read GET /pay/query: at least one of the two ids."""
    query = parse_query(raw, OrderQuery)
    if query.out_trade_no is None and query.transaction_id is None:
        text = issue("one_needed", one="out_trade_no", other="transaction_id")
        raise RequestError("invalid_request", complaints=[Complaint("out_trade_no", text)])
    return query


def query_refund(raw: str) -> str:
    """Read GET /pay/refund/query: the out_refund_no."""
    return parse_query(raw, RefundQuery).out_refund_no


def list_orders(raw: str) -> tuple[OrderFilter, Page]:
    """Read GET /pay/orders."""
    query = parse_query(raw, OrderListQuery)
    which = OrderFilter(
        status=query.status,
        trade_type=query.trade_type,
        created_from=query.created_from,
        created_to=query.created_to,
    )
    return which, _page(query)


def list_refunds(raw: str) -> tuple[RefundFilter, Page]:
    """Read GET /pay/refunds."""
    query = parse_query(raw, RefundListQuery)
    return RefundFilter(status=query.status, out_trade_no=query.out_trade_no), _page(query)


def list_discrepancies(raw: str) -> tuple[DiscrepancyStatus | None, Page]:
    """Read GET /pay/discrepancies."""
    query = parse_query(raw, DiscrepancyListQuery)
    return query.status, _page(query)


def list_notifications(raw: str) -> tuple[NotificationResult | None, Page]:
    """Read GET /pay/notifications."""
    query = parse_query(raw, NotificationListQuery)
    return query.result, _page(query)


def list_deliveries(raw: str) -> tuple[DeliveryStatus | None, Page]:
    """Read GET /pay/deliveries."""
    query = parse_query(raw, DeliveryListQuery)
    return query.status, _page(query)


def no_query(raw: str) -> None:
    """Refuse every parameter: the route knows none."""
    if raw:
        parse_query(raw, NoQuery)
