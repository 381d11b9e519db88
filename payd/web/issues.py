"""What can be wrong with one member of an input: one table, in English and Chinese.

Validators write English with `issue`; `translate_issue` finds the Chinese of a text by the very same table, so that a
Complaint stays a plain text. A text that is not in the table is shown as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: name -> (English, Chinese). Both name the same parameters.
ISSUES: Final[dict[str, tuple[str, str]]] = {
    "required": ("is required", "必填"),
    "unknown": ("unknown member", "未知字段"),
    "unknown_near": ("unknown member, did you mean {near}?", "未知字段，是否想写 {near}？"),
    "unknown_parameter": ("unknown query parameter", "未知查询参数"),
    "unknown_parameter_near": ("unknown query parameter, did you mean {near}?", "未知查询参数，是否想写 {near}？"),
    "repeated_parameter": ("is given more than once", "重复给出"),
    "query_encoding": ("is not valid percent-encoded UTF-8", "不是有效的百分号编码 UTF-8"),
    "string": ("must be a string", "必须是字符串"),
    "integer": ("must be an integer", "必须是整数"),
    "boolean": ("must be true or false", "必须是 true 或 false"),
    "object": ("must be an object", "必须是对象"),
    "array": ("must be an array", "必须是数组"),
    "at_least": ("must be at least {limit}", "不得小于 {limit}"),
    "at_most": ("must be at most {limit}", "不得大于 {limit}"),
    "one_of": ("must be one of {choices}", "必须是以下之一：{choices}"),
    "too_few": ("must have at least {limit} entries", "至少要有 {limit} 项"),
    "too_many": ("must have at most {limit} entries", "最多 {limit} 项"),
    "empty": ("must not be empty", "不得为空"),
    "blank": ("must not be blank", "不得为空白"),
    "bytes": (
        "is {found} bytes long in UTF-8, more than the {limit} that are allowed",
        "UTF-8 编码长 {found} 字节，超过允许的 {limit} 字节",
    ),
    "chars": (
        "is {found} characters long, more than the {limit} that are allowed",
        "长 {found} 个字符，超过允许的 {limit} 个",
    ),
    "compact_bytes": (
        "is {found} bytes long as compact JSON, more than the {limit} that are allowed",
        "紧凑 JSON 长 {found} 字节，超过允许的 {limit} 字节",
    ),
    "control": ("must not contain control characters", "不得含有控制字符"),
    "four_byte": (
        "must not contain characters of four bytes such as emoji: WeChat Pay refuses them",
        "不得含有表情等四字节字符：微信支付会拒绝",
    ),
    "pattern": ("must match {pattern}", "必须符合 {pattern}"),
    "ip": ("must be an IPv4 or IPv6 address", "必须是 IPv4 或 IPv6 地址"),
    "time": (
        "must be an RFC 3339 time with an offset, such as 2026-11-23T13:05:09Z",
        "必须是带时区的 RFC 3339 时间，例如 2026-11-23T13:05:09Z",
    ),
    "cursor": ("is no cursor: use next_cursor as it was given", "不是游标：请原样使用 next_cursor"),
    "for_trade_type": ("is required for trade_type {trade_type}", "trade_type 为 {trade_type} 时必填"),
    "not_for_trade_type": (
        "belongs to trade_type {owner} and must be left out for {trade_type}",
        "仅用于 trade_type {owner}，trade_type 为 {trade_type} 时不得填写",
    ),
    "one_needed": ("{one} or {other} is required", "{one} 与 {other} 必须填写一个"),
    "not_both": ("give either {one} or {other}, not both", "{one} 与 {other} 只能填写一个"),
    "top_level": ("the body must be one JSON object", "请求体必须是一个 JSON 对象"),
    "key_once": ("must be given once", "只能给出一次"),
    "printable": ("must be 1 to {limit} printable ASCII characters", "必须是 1 至 {limit} 个可打印 ASCII 字符"),
    "key_damaged": (
        "looks like a payd key but its checksum does not fit: it was cut or mistyped",
        "看似 payd 密钥但校验和不符：可能被截断或输错",
    ),
    "not_http": ("this is not HTTP/1.1 as payd takes it: {reason}", "不是 payd 接受的 HTTP/1.1：{reason}"),
    "head_too_large": (
        "the request line and headers are longer than {limit} bytes",
        "请求行和请求头超过 {limit} 字节",
    ),
    "differs_order": ("differs from the order that has this out_trade_no", "与已有的同号订单不同"),
    "differs_refund": ("differs from the refund that has this number", "与已有的同号退款不同"),
}  # fmt: skip


def issue(name: str, **params: object) -> str:
    """Write one issue in English."""
    return ISSUES[name][0].format_map(params)


def translate_issue(text: str, language: str) -> str:
    """Say an English issue in ``language`` (``en`` or ``zh``); a text that no entry made stays as it is."""
    if language != "zh":
        return text
    for pattern, chinese in _patterns():
        match = pattern.fullmatch(text)
        if match:
            return chinese.format_map(match.groupdict())
    return text


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(english), chinese) for english, chinese in ISSUES.values())


def _pattern(template: str) -> re.Pattern[str]:
    literal = re.escape(template)
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", literal), re.DOTALL)
