"""The one catalogue of refusals: code, status, whether a repeat can help, title and detail in English and Chinese.

``code`` never changes and is never translated; ``title`` and ``detail`` follow Accept-Language (RFC 9457, RFC 9110
section 12.5.4). The README's table and the OpenAPI document are made from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final, Literal

from payd.errors import RequestError
from payd.web.issues import translate_issue

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Text:
    """A title and a detail. The detail names its parameters; when one is missing the title stands in for it."""

    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One way to refuse. ``retryable``: the same request can succeed later. ``retry_after``: seconds, when not told."""

    code: str
    status: int
    retryable: bool
    en: Text
    zh: Text
    retry_after: int | None = None

    @property
    def params(self) -> frozenset[str]:
        """Name the parameters the details are filled with."""
        return _names(self.en.detail) | _names(self.zh.detail)


def _names(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


PROBLEMS: Final[tuple[Problem, ...]] = (
    Problem("invalid_json", 400, False,
            Text("The body is not valid JSON", "The body is not the JSON payd takes: {reason}."),
            Text("请求体不是有效的 JSON", "请求体不是 payd 接受的 JSON：{reason}。")),
    Problem("invalid_request", 400, False,
            Text("The request is not valid", "The request is not valid; errors names every member and what is wrong."),
            Text("请求无效", "请求无效；errors 列出每个字段及其问题。")),
    Problem("missing_api_key", 401, False,
            Text("An API key is required", "Send an API key in X-Api-Key or as Authorization: Bearer."),
            Text("缺少 API 密钥", "请在 X-Api-Key 或 Authorization: Bearer 中提供 API 密钥。")),
    Problem("invalid_api_key", 401, False,
            Text("The API key is not valid", "No configured API key matches the one that was sent."),
            Text("API 密钥无效", "所提供的 API 密钥与任何已配置的密钥都不符。")),
    Problem("scope_denied", 403, False,
            Text("The API key may not do this", "The API key {key_id} lacks the scope {scope}."),
            Text("API 密钥无此权限", "API 密钥 {key_id} 没有权限 {scope}。")),
    Problem("not_found", 404, False,
            Text("There is nothing here", "There is nothing at {path}."),
            Text("此处没有内容", "{path} 处没有内容。")),
    Problem("order_not_found", 404, False,
            Text("There is no such order", "No order has the number {out_trade_no}."),
            Text("订单不存在", "没有编号为 {out_trade_no} 的订单。")),
    Problem("refund_not_found", 404, False,
            Text("There is no such refund", "No refund has the number {out_refund_no}."),
            Text("退款不存在", "没有编号为 {out_refund_no} 的退款。")),
    Problem("method_not_allowed", 405, False,
            Text("This path has other methods", "This path does not take {method}; it takes {allowed}."),
            Text("不支持此方法", "此路径不支持 {method}，支持 {allowed}。")),
    Problem("order_paid", 409, False,
            Text("The order is paid", "The order {out_trade_no} is paid and cannot be closed; refund it instead."),
            Text("订单已支付", "订单 {out_trade_no} 已支付，无法关闭；请改为退款。")),
    Problem("out_trade_no_used", 409, False,
            Text("The out_trade_no is used by another order",
                 "The out_trade_no {out_trade_no} belongs to another order; errors names what differs."),
            Text("商户订单号已被使用", "商户订单号 {out_trade_no} 属于内容不同的订单；errors 列出不同之处。")),
    Problem("out_refund_no_used", 409, False,
            Text("The out_refund_no is used by another refund",
                 "The out_refund_no {out_refund_no} belongs to another refund; errors names what differs."),
            Text("商户退款单号已被使用", "商户退款单号 {out_refund_no} 属于内容不同的退款；errors 列出不同之处。")),
    Problem("order_not_paid", 409, False,
            Text("The order is not paid", "The order {out_trade_no} is {status}: only paid money can be refunded."),
            Text("订单未支付", "订单 {out_trade_no} 状态为 {status}：只有已支付的款项可以退款。")),
    Problem("refund_window_closed", 409, False,
            Text("The order is too old to be refunded",
                 "The order {out_trade_no} was paid more than 365 days ago: WeChat Pay refunds it no longer."),
            Text("订单已超过退款期限", "订单 {out_trade_no} 支付已超过 365 天：微信支付不再受理退款。")),
    Problem("refund_exceeds_paid", 409, False,
            Text("The refund exceeds what was paid", "{refund} fen were asked for; {refundable} fen can be refunded."),
            Text("退款金额超过可退金额", "申请退款 {refund} 分；可退 {refundable} 分。")),
    Problem("refund_limit_reached", 409, False,
            Text("The order has too many refunds", "The order has {limit} refunds, as many as WeChat Pay allows."),
            Text("退款次数已达上限", "该订单已有 {limit} 笔退款，达到微信支付的上限。")),
    Problem("refund_too_soon", 409, True,
            Text("The order was refunded a moment ago",
                 "Refunds of one order must be a minute apart: try again in {seconds} s."),
            Text("退款间隔过短", "同一订单的退款须间隔一分钟：请在 {seconds} 秒后重试。"), retry_after=60),
    Problem("idempotency_key_in_use", 409, True,
            Text("A request with this Idempotency-Key is running",
                 "The first request with this Idempotency-Key is still running; try again shortly."),
            Text("相同 Idempotency-Key 的请求正在处理", "使用该 Idempotency-Key 的首个请求仍在处理，请稍后重试。"),
            retry_after=1),
    Problem("body_too_large", 413, False,
            Text("The body is too large", "The body is larger than {limit} bytes."),
            Text("请求体过大", "请求体超过 {limit} 字节。")),
    Problem("unsupported_media_type", 415, False,
            Text("The body must be JSON", "The Content-Type must be application/json; it was {content_type}."),
            Text("请求体必须是 JSON", "Content-Type 必须为 application/json；收到的是 {content_type}。")),
    Problem("idempotency_key_reused", 422, False,
            Text("The Idempotency-Key was used for another request",
                 "This Idempotency-Key was sent before with another body; use a new key for a new request."),
            Text("Idempotency-Key 已用于其他请求", "该 Idempotency-Key 曾用于不同的请求体；新的请求请使用新的键。")),
    Problem("wechat_refused", 422, False,
            Text("WeChat Pay refused", "WeChat Pay refused for good: {wechat_code} {wechat_message}"),
            Text("微信支付拒绝", "微信支付明确拒绝：{wechat_code} {wechat_message}")),
    Problem("rate_limited", 429, True,
            Text("Too many requests", "Too many requests; try again in {seconds} s."),
            Text("请求过于频繁", "请求过于频繁，请在 {seconds} 秒后重试。"), retry_after=1),
    Problem("internal_error", 500, True,
            Text("Something went wrong in payd", "Something went wrong in payd; the log names it by the request_id."),
            Text("payd 内部错误", "payd 内部出错；日志中可按 request_id 查找。")),
    Problem("api_key_not_configured", 503, False,
            Text("No API key is configured",
                 "payd has no API key and so refuses every call: make one with payd key new, put it in pay.api_keys."),
            Text("未配置 API 密钥", "payd 未配置 API 密钥，因此拒绝所有调用：请用 payd key new 生成并写入配置。")),
    Problem("storage_unavailable", 503, True,
            Text("The database cannot write now", "The database cannot write now; nothing was done. Try again."),
            Text("数据库暂时无法写入", "数据库暂时无法写入；未执行任何操作，请重试。"), retry_after=1),
    Problem("draining", 503, True,
            Text("payd is stopping", "payd is finishing its work before it stops; try again shortly."),
            Text("payd 正在停止", "payd 正在完成现有工作并停止；请稍后重试。"), retry_after=5),
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Problem]] = {problem.code: problem for problem in PROBLEMS}

CONTENT_TYPE: Final = "application/problem+json"  # RFC 9457; no charset: it is UTF-8 (RFC 8259)
STANDARD_MEMBERS: Final = ("type", "title", "status", "detail", "code", "retryable", "request_id", "errors")


def problem_type(code: str) -> str:
    """Write the ``type`` of a problem: a reference to its entry on the docs page of the same daemon."""
    return f"/docs#problem-{code}"


def problem_document(
    error: RequestError, *, request_id: str, language: Language
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Make the answer to a refusal: status, headers, and the members of the problem document.

    ``error.extra`` adds members, it never replaces one of the standard ones. A code that is not in the catalogue is a
    programmer's mistake: KeyError.
    """
    problem = CATALOGUE[error.code]
    text = problem.zh if language == "zh" else problem.en
    body: dict[str, Any] = {
        "type": problem_type(problem.code),
        "title": text.title,
        "status": problem.status,
        "detail": _filled(text, error.params),
        "code": problem.code,
        "retryable": problem.retryable,
        "request_id": request_id,
        "errors": [{"field": c.field, "issue": translate_issue(c.issue, language)} for c in error.complaints],
    }
    body.update({name: value for name, value in error.extra.items() if name not in STANDARD_MEMBERS})
    return problem.status, _headers(problem, error, language), body


def _filled(text: Text, params: Mapping[str, object]) -> str:
    if any(params.get(name) is None for name in _names(text.detail)):
        return text.title
    return text.detail.format_map(params)


def _headers(problem: Problem, error: RequestError, language: Language) -> dict[str, str]:
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Language": "zh-CN" if language == "zh" else "en",
        "Vary": "Accept-Language",
    }
    retry_after = error.retry_after if error.retry_after is not None else problem.retry_after
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, retry_after))
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="payd"'
    if problem.code == "method_not_allowed" and error.params.get("allowed"):
        headers["Allow"] = str(error.params["allowed"])
    return headers


_RANGE: Final = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]{1,32})?\s*(?:;\s*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?", re.ASCII
)


def language_of(accept_language: str | None) -> Language:
    """Choose English or Chinese by the ranges and q-values of Accept-Language; English when neither is acceptable.

    Ranges that are not well-formed count for nothing. Of equal weights the language named first wins.
    """
    weights: dict[str, float] = {}
    for part in (accept_language or "").split(","):
        match = _RANGE.fullmatch(part)
        if match is not None:
            tag = match[1].lower()
            weights[tag] = max(weights.get(tag, 0.0), float(match[2] or 1))
    rest = weights.get("*", 0.0)
    english, chinese = weights.get("en", rest), weights.get("zh", rest)
    if english == chinese:
        named = [tag for tag in weights if tag in ("en", "zh")]
        return "zh" if chinese and named[:1] == ["zh"] else "en"
    return "zh" if chinese > english else "en"


def catalogue_table() -> str:
    """Write the README's table of codes, in Markdown."""
    rows = [
        f"| {problem.status} | `{problem.code}` | {'yes' if problem.retryable else 'no'} "
        f"| {problem.en.title} | {problem.zh.title} |"
        for problem in PROBLEMS
    ]
    return "\n".join(["| Status | Code | Retryable | English | Chinese |", "|---|---|---|---|---|", *rows]) + "\n"
