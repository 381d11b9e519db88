"""WeChat Pay's error answers as a table: one name, one status, one code, one message.

Statuses, codes and messages are those of the API pages and of captures; the last number is the internal
code that WeChat appends to ``Request-ID``. Numbers marked "ours" were never seen in a capture.
"""

from __future__ import annotations

from typing import Any

from payd.sandbox.errors import Refusal

#: name: (HTTP status, code, message, Request-ID suffix)
REFUSALS: dict[str, tuple[int, str, str, int]] = {
    "accept_missing": (400, "INVALID_REQUEST", "Http头缺少Accept或User-Agent", 268435461),
    "content_type": (400, "INVALID_REQUEST", "Http头Content-Type必须为application/json", 268435461),
    "body_not_json": (400, "PARAM_ERROR", "请求体不是合法的JSON对象", 268435461),
    "platform_serial_wrong": (400, "PARAM_ERROR", "平台证书序列号Wechatpay-Serial错误", 268435461),
    "platform_serial_missing": (
        400,
        "PARAM_ERROR",
        "HTTP header缺少微信支付平台证书序列号(Wechatpay-Serial)",
        268435461,
    ),
    "sensitive_field": (400, "PARAM_ERROR", "敏感字段解密失败，请使用微信支付公钥或平台证书加密", 268435461),
    "mchid_body": (400, "PARAM_ERROR", "http header中的mchid与post payload中的mchid不匹配", 268447843),
    "mchid_query": (400, "PARAM_ERROR", "http header中的mchid与query中的mchid不匹配", 268447843),
    "appid_mchid": (400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配，请检查后再试", 268445527),
    "reentry_used": (403, "OUT_TRADE_NO_USED", "商户订单号重复", 268498688),
    "reentry_invalid": (400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致", 268498688),
    "order_paid": (400, "ORDERPAID", "该订单已支付", 268498689),
    "order_closed": (400, "ORDER_CLOSED", "订单已关闭", 268447914),
    "order_not_exist": (404, "ORDER_NOT_EXIST", "订单不存在", 268512771),
    "refund_not_exist": (404, "RESOURCE_NOT_EXISTS", "退款单不存在", 268512771),
    "refund_order_not_exist": (404, "RESOURCE_NOT_EXISTS", "订单不存在", 268512771),
    "refund_ids_differ": (400, "INVALID_REQUEST", "支付单号校验不一致，请核实后再试", 268435461),
    "refund_total_differs": (400, "INVALID_REQUEST", "您的请求参数与订单信息不一致", 268435461),
    "refund_reentry": (400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试", 268435461),
    "refund_too_much": (400, "INVALID_REQUEST", "申请退款金额大于订单可退金额", 268435464),
    "refund_from_differs": (400, "INVALID_REQUEST", "退款出资账户金额之和与退款金额不一致", 268435461),
    "refund_count": (400, "INVALID_REQUEST", "该订单部分退款次数已达上限50次", 268435464),
    "refund_overdue": (400, "INVALID_REQUEST", "订单已超过可退款的最大期限(365天)", 268447914),
    "refund_interval": (403, "RULE_LIMIT", "同一订单的退款请求间隔不得少于1分钟", 268447840),
    "refund_not_abnormal": (400, "INVALID_REQUEST", "退款单状态不为退款异常，不支持发起异常退款", 268435461),
    "not_enough": (403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起", 268447842),
    "user_account": (403, "USER_ACCOUNT_ABNORMAL", "用户账户注销或异常", 268448010),
    "no_certificate": (
        404,
        "RESOURCE_NOT_EXISTS",
        "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥",
        268512771,
    ),
    "no_statement": (400, "NO_STATEMENT_EXIST", "请求的账单文件不存在", 268512771),
    "statement_creating": (400, "STATEMENT_CREATING", "账单文件正在生成中，请稍后重试", 268447914),
    "bill_date_range": (400, "INVALID_REQUEST", "账单日期不合法，仅支持三个月内且早于今天的日期", 268435464),
    "bill_token": (400, "INVALID_REQUEST", "下载链接已失效，请重新申请账单", 268435461),
    "frequency": (429, "FREQUENCY_LIMITED", "频率超限，请降低请求频率", 268447840),
    "system_error": (500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用", 268435456),
    "nonce_used": (401, "SIGN_ERROR", "请求随机串重复", 268443699),
    "authorization_format": (401, "SIGN_ERROR", "Authorization不合法", 268443699),
    "authorization_missing": (401, "SIGN_ERROR", "Http头Authorization格式错误", 268443699),
    "pay_unauthorized": (401, "SIGN_ERROR", "签名信息错误，验签失败", 268443699),
    "timestamp_window": (401, "SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟", 268443699),
    "merchant_serial": (401, "SIGN_ERROR", "商户证书序列号有误。", 268443699),
    "signature_wrong": (401, "SIGN_ERROR", "错误的签名，导致验签失败", 268443699),
}


def refusal(name: str, *, detail: dict[str, Any] | None = None) -> Refusal:
    """The answer called ``name``; every 401 is unsigned, everything else is signed (section 2.3)."""
    status, code, message, suffix = REFUSALS[name]
    return Refusal(
        status,
        code,
        message,
        suffix=suffix,
        detail=detail,
        signed=status != 401,
        with_request_id=name != "pay_unauthorized",
    )


def param_error(message: str, *, location: str, pointer: str, value: Any, suffix: int = 268435461) -> Refusal:
    """``PARAM_ERROR`` about one field, with ``detail`` as in section 10.1; ``value`` None is left out."""
    detail: dict[str, Any] = {"field": pointer, "issue": message, "location": location}
    if value is not None:
        detail["value"] = value
    return Refusal(400, "PARAM_ERROR", message, suffix=suffix, detail=detail)
