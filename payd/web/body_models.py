"""The request bodies as models: names, types and bounds of every member (contract 1.1-1.4).

What goes to WeChat follows WeChat's published rules (prepay and refund pages): lengths count bytes of UTF-8, characters
of four bytes and control characters are refused, unknown members are refused at every depth. Null on an optional
member means absent. Rules that look at two members stand in ``bodies.py``: they must speak even when a type is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from payd import limits
from payd.models import ids
from payd.web.issues import issue

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NOTE_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a note may have lines and tabs
FOUR_BYTES: Final = re.compile(r"[\U00010000-\U0010ffff]")
#: The same rules, as a regular expression of JSON Schema can say them.
PLAIN_TEXT_PATTERN: Final = "^[\\u0020-\\u007E\\u00A0-\\uD7FF\\uE000-\\uFFFF]*$"
NOTE_PATTERN: Final = "^(?=.*\\S)[^\\u0000-\\u0008\\u000B-\\u001F\\u007F-\\u009F]*$"

TradeType = Literal["NATIVE", "JSAPI", "APP", "H5"]


def complain(name: str, **params: object) -> PydanticCustomError:
    """Make the error a validator raises, out of the table of issues."""
    return PydanticCustomError("payd", "{text}", {"text": issue(name, **params)})


@dataclass(frozen=True, slots=True)
class WechatText:
    """A text that is sent to WeChat: 1 to ``bytes_max`` bytes of UTF-8, no four-byte and no control characters."""

    bytes_max: int
    pattern: re.Pattern[str] | None = None

    def check(self, value: str) -> str:
        """Return the text unchanged, or raise what is wrong with it."""
        if not value:
            raise complain("empty")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise complain("pattern", pattern=self.pattern.pattern)
        size = len(value) if value.isascii() else len(value.encode())
        if size > self.bytes_max:
            raise complain("bytes", found=size, limit=self.bytes_max)
        if CONTROL.search(value):
            raise complain("control")
        if FOUR_BYTES.search(value):
            raise complain("four_byte")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after pydantic has made sure that it is a string."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Say the rule in JSON Schema, which counts characters: a character has at least one byte."""
        pattern = f"^{self.pattern.pattern}$" if self.pattern is not None else PLAIN_TEXT_PATTERN
        return {**handler(schema), "minLength": 1, "maxLength": self.bytes_max, "pattern": pattern}


def _check_address(value: str) -> str:
    try:
        if "%" not in value:  # a zone means something on one machine only
            ipaddress.ip_address(value)
            return value
    except ValueError:
        pass
    raise complain("ip")


def _check_metadata(value: dict[str, str]) -> dict[str, str]:
    """Bound the merchant's own members as Stripe does; they never leave payd, so any character may stand in them."""
    if len(value) > limits.METADATA_MEMBERS_MAX:
        raise complain("too_many", limit=limits.METADATA_MEMBERS_MAX)
    return value


def _bounded(chars_max: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value) > chars_max:
            raise complain("chars", found=len(value), limit=chars_max)
        return value

    return AfterValidator(check)


def _check_name(value: str) -> str:
    if not value:
        raise complain("empty")
    return value


def _check_note(value: str) -> str:
    if not value.strip():
        raise complain("blank")
    if NOTE_CONTROL.search(value):
        raise complain("control")
    return value


Whole = Annotated[int, Field(ge=0, le=limits.INTEGER_MAX)]
Count = Annotated[int, Field(ge=1, le=limits.INTEGER_MAX)]
Code = Annotated[str, WechatText(limits.WECHAT_ID_BYTES_MAX)]
GoodsName = Annotated[str, WechatText(limits.GOODS_NAME_BYTES_MAX)]
AppText = Annotated[str, WechatText(limits.H5_APP_BYTES_MAX)]
OutTradeNo = Annotated[str, WechatText(32, ids.OUT_TRADE_NO)]
OutRefundNo = Annotated[str, WechatText(64, ids.OUT_REFUND_NO)]
#: A number that is only looked up: whatever it looks like, what does not exist is answered with 404.
LookedUp = Annotated[str, WechatText(limits.LOOKUP_BYTES_MAX)]
MetadataName = Annotated[
    str,
    AfterValidator(_check_name),
    _bounded(limits.METADATA_KEY_CHARS_MAX),
    Field(json_schema_extra={"minLength": 1, "maxLength": limits.METADATA_KEY_CHARS_MAX}),
]
MetadataText = Annotated[
    str,
    _bounded(limits.METADATA_VALUE_CHARS_MAX),
    Field(json_schema_extra={"maxLength": limits.METADATA_VALUE_CHARS_MAX}),
]
Metadata = Annotated[
    dict[MetadataName, MetadataText],
    AfterValidator(_check_metadata),
    Field(json_schema_extra={"maxProperties": limits.METADATA_MEMBERS_MAX}),
]


class Body(BaseModel):
    """What all request objects share: strict types, no unknown members, null is absent."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Let every optional member be null, as the code does."""
        written = handler.resolve_ref_schema(handler(schema))
        for name, member in written.get("properties", {}).items():
            if name not in written.get("required", ()) and {"type": "null"} not in member.get("anyOf", ()):
                kept = {key: member.pop(key) for key in ("default", "description") if key in member}
                written["properties"][name] = {"anyOf": [member, {"type": "null"}], **kept}
        return written


class Amount(Body):
    """What the order costs."""

    total: int = Field(ge=limits.TOTAL_FEN_MIN, le=limits.TOTAL_FEN_MAX, description="in fen, 1/100 yuan")
    currency: Literal["CNY"] = "CNY"


class Payer(Body):
    """Who pays, for JSAPI."""

    openid: Annotated[str, WechatText(limits.OPENID_BYTES_MAX)] = Field(description="the payer under this appid")


class OrderGoods(Body):
    """One article of an order."""

    merchant_goods_id: Code
    wechatpay_goods_id: Code | None = None
    goods_name: GoodsName | None = None
    quantity: Count
    unit_price: Whole = Field(description="in fen")


class Detail(Body):
    """What is bought, for coupons on single articles."""

    cost_price: Whole | None = Field(default=None, description="in fen, before discounts")
    invoice_id: Code | None = None
    goods_detail: list[OrderGoods] | None = Field(default=None, min_length=1)


class StoreInfo(Body):
    """Which shop."""

    id: Code
    name: GoodsName | None = None
    area_code: Code | None = None
    address: Annotated[str, WechatText(limits.STORE_ADDRESS_BYTES_MAX)] | None = None


class H5Info(Body):
    """Where an H5 payment starts."""

    type: Literal["Wap", "iOS", "Android"]
    app_name: Annotated[str, WechatText(limits.H5_APP_NAME_BYTES_MAX)] | None = None
    app_url: AppText | None = None
    bundle_id: AppText | None = None
    package_name: AppText | None = None


class SceneInfo(Body):
    """Where the payment happens."""

    payer_client_ip: Annotated[
        str,
        WechatText(limits.CLIENT_IP_BYTES_MAX),
        AfterValidator(_check_address),
        Field(json_schema_extra={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    ]
    device_id: Code | None = None
    store_info: StoreInfo | None = None
    h5_info: H5Info | None = Field(default=None, description="required for H5, refused otherwise")


class SettleInfo(Body):
    """How the proceeds are settled."""

    profit_sharing: bool | None = None


#: The rules about two members, as JSON Schema says them; ``bodies.py`` enforces them.
_NULL: Final = {"type": "null"}
_OBJECT: Final = {"type": "object"}
_OWN_MEMBERS: Final[list[Any]] = [
    {
        "if": {"properties": {"trade_type": {"const": "JSAPI"}}, "required": ["trade_type"]},
        "then": {"properties": {"payer": _OBJECT}, "required": ["payer"]},
        "else": {"properties": {"payer": _NULL}},
    },
    {
        "if": {"properties": {"trade_type": {"const": "H5"}}, "required": ["trade_type"]},
        "then": {
            "properties": {"scene_info": {**_OBJECT, "properties": {"h5_info": _OBJECT}, "required": ["h5_info"]}},
            "required": ["scene_info"],
        },
        "else": {"properties": {"scene_info": {"properties": {"h5_info": _NULL}}}},
    },
]
_ONE_ORDER: Final[list[Any]] = [
    {"properties": {one: {"type": "string"}, other: _NULL}, "required": [one]}
    for one, other in (("out_trade_no", "transaction_id"), ("transaction_id", "out_trade_no"))
]


class CreateBody(Body):
    """POST /pay/create."""

    model_config = ConfigDict(json_schema_extra={"allOf": _OWN_MEMBERS, "examples": [
        {"description": "Tea", "amount": {"total": 3800, "currency": "CNY"}, "out_trade_no": "shop-20261123-1"},
        {"description": "Tea", "amount": {"total": 1900}, "trade_type": "JSAPI", "payer": {"openid": "oUpF8uMuAJO_M2"}},
    ]})  # fmt: skip

    description: Annotated[str, WechatText(limits.DESCRIPTION_BYTES_MAX)] = Field(
        description="shown in the payer's bill; bytes of UTF-8 count"
    )
    amount: Amount
    trade_type: TradeType = "NATIVE"
    out_trade_no: OutTradeNo | None = Field(default=None, description="made by payd when absent")
    payer: Payer | None = Field(default=None, description="required for JSAPI, refused otherwise")
    scene_info: SceneInfo | None = Field(default=None, description="required for H5")
    expire_seconds: int = Field(
        default=limits.EXPIRE_SECONDS_DEFAULT, ge=limits.EXPIRE_SECONDS_MIN, le=limits.EXPIRE_SECONDS_MAX
    )
    attach: Annotated[str, WechatText(limits.ATTACH_BYTES_MAX)] | None = None
    goods_tag: Annotated[str, WechatText(limits.GOODS_TAG_BYTES_MAX)] | None = None
    detail: Detail | None = None
    support_fapiao: bool | None = None
    settle_info: SettleInfo | None = None
    metadata: Metadata | None = Field(default=None, description="the merchant's own, never sent to WeChat")


class CloseBody(Body):
    """POST /pay/close."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"out_trade_no": "shop-20261123-1"}]})

    out_trade_no: LookedUp


class RefundAsked(Body):
    """How much goes back."""

    refund: int = Field(ge=1, le=limits.INTEGER_MAX, description="in fen")


class RefundGoods(Body):
    """One article of a refund."""

    merchant_goods_id: Code
    wechatpay_goods_id: Code | None = None
    goods_name: GoodsName | None = None
    unit_price: Whole = Field(description="in fen")
    refund_amount: Whole = Field(description="in fen")
    refund_quantity: Count


class RefundBody(Body):
    """POST /pay/refund. Exactly one of ``out_trade_no`` and ``transaction_id``."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_ORDER, "examples": [
        {"out_trade_no": "shop-20261123-1", "out_refund_no": "back-1", "amount": {"refund": 1900}, "reason": "one tin"},
    ]})  # fmt: skip

    out_trade_no: LookedUp | None = None
    transaction_id: LookedUp | None = None
    amount: RefundAsked
    out_refund_no: OutRefundNo | None = Field(default=None, description="made by payd when absent")
    reason: Annotated[str, WechatText(limits.REASON_BYTES_MAX)] | None = Field(
        default=None, description="shown to the payer"
    )
    funds_account: Literal["AVAILABLE", "UNSETTLED"] | None = None
    goods_detail: list[RefundGoods] | None = Field(default=None, min_length=1, max_length=limits.GOODS_MAX)
    metadata: Metadata | None = None


class NoMembers(Body):
    """What needs no body may have an empty one."""


class ResolveBody(Body):
    """POST /pay/discrepancies/{id}/resolve."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "refunded by hand, bank reference 8812"}]})

    note: Annotated[str, AfterValidator(_check_note), _bounded(limits.NOTE_CHARS_MAX)] = Field(
        description="goes into the journal",
        json_schema_extra={"minLength": 1, "maxLength": limits.NOTE_CHARS_MAX, "pattern": NOTE_PATTERN},
    )
