"""The request bodies and queries of the simulated API as tables of rules (sections 5.2, 6.2, 7.1, 7.5, 9.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from payd.sandbox.fields import Flag, Group, Items, NotifyUrl, Rule, Text, Time, Whole

OUT_TRADE_NO = Text("商户订单号", 32, minimum=6, pattern=re.compile(r"[0-9A-Za-z_\-|*]+"), required=True)
OUT_REFUND_NO = Text("商户退款单号", 64, pattern=re.compile(r"[0-9A-Za-z_\-|*@]+"), required=True)
MCHID = Text("直连商户号", 32, required=True)
_CNY = Text("货币类型", 16, choices=("CNY",))

_DETAIL = Group(
    "优惠功能",
    {
        "cost_price": Whole("订单原价"),
        "invoice_id": Text("商品小票ID", 32),
        "goods_detail": Items(
            "单品列表",
            Group(
                "单品",
                {
                    "merchant_goods_id": Text("商户侧商品编码", 32, required=True),
                    "wechatpay_goods_id": Text("微信支付商品编码", 32),
                    "goods_name": Text("商品名称", 256),
                    "quantity": Whole("商品数量", 1, required=True),
                    "unit_price": Whole("商品单价", required=True),
                },
            ),
        ),
    },
)
_SCENE: dict[str, Rule] = {
    "payer_client_ip": Text("用户终端IP", 45, required=True),
    "device_id": Text("商户端设备号", 32),
    "store_info": Group(
        "商户门店信息",
        {
            "id": Text("门店编号", 32, required=True),
            "name": Text("门店名称", 256),
            "area_code": Text("地区编码", 32),
            "address": Text("详细地址", 512),
        },
    ),
}
_H5_INFO = Group(
    "H5场景信息",
    {
        "type": Text("场景类型", 32, choices=("Wap", "iOS", "Android"), required=True),
        "app_name": Text("应用名称", 64),
        "app_url": Text("网站URL", 128),
        "bundle_id": Text("iOS平台BundleID", 128),
        "package_name": Text("Android平台PackageName", 128),
    },
    required=True,
)
_COMMON: dict[str, Rule] = {
    "appid": Text("应用ID", 32, required=True),
    "mchid": MCHID,
    "description": Text("商品描述", 127, required=True),
    "out_trade_no": OUT_TRADE_NO,
    "time_expire": Time("交易结束时间"),
    "attach": Text("附加数据", 128),
    "notify_url": NotifyUrl("通知地址", 255, required=True),
    "goods_tag": Text("订单优惠标记", 32),
    "support_fapiao": Flag("电子发票入口开放标识"),
    "amount": Group("订单金额", {"total": Whole("总金额", 1, required=True), "currency": _CNY}, required=True),
    "detail": _DETAIL,
    "scene_info": Group("场景信息", _SCENE),
    "settle_info": Group("结算信息", {"profit_sharing": Flag("是否指定分账")}),
}
_PAYER = Group("支付者", {"openid": Text("用户标识", 128, required=True)}, required=True)

#: product -> the rule of its prepay body
PREPAY: Mapping[str, Group] = {
    "native": Group("请求体", _COMMON),
    "app": Group("请求体", _COMMON),
    "jsapi": Group("请求体", {**_COMMON, "payer": _PAYER}),
    "h5": Group("请求体", {**_COMMON, "scene_info": Group("场景信息", {**_SCENE, "h5_info": _H5_INFO}, required=True)}),
}
DETAIL_BYTES = 6144  # section 5.2: the compact form of ``detail``

CLOSE = Group("请求体", {"mchid": MCHID})

REFUND = Group(
    "请求体",
    {
        "transaction_id": Text("微信支付订单号", 32),
        "out_trade_no": Text("商户订单号", 32, minimum=6),
        "out_refund_no": OUT_REFUND_NO,
        "reason": Text("退款原因", 80),
        "notify_url": NotifyUrl("退款结果回调url", 256),
        "funds_account": Text("退款资金来源", 32, choices=("AVAILABLE", "UNSETTLED")),
        "amount": Group(
            "金额信息",
            {
                "refund": Whole("退款金额", 1, required=True),
                "total": Whole("原订单金额", 1, required=True),
                "currency": Text("退款币种", 16, choices=("CNY",), required=True),
                "from": Items(
                    "退款出资账户及金额",
                    Group(
                        "出资账户",
                        {
                            "account": Text("出资账户类型", 32, choices=("AVAILABLE", "UNAVAILABLE"), required=True),
                            "amount": Whole("出资金额", 1, required=True),
                        },
                    ),
                ),
            },
            required=True,
        ),
        "goods_detail": Items(
            "退款商品",
            Group(
                "商品",
                {
                    "merchant_goods_id": Text("商户侧商品编码", 32, required=True),
                    "wechatpay_goods_id": Text("微信支付商品编码", 32),
                    "goods_name": Text("商品名称", 256),
                    "unit_price": Whole("商品单价", required=True),
                    "refund_amount": Whole("商品退款金额", required=True),
                    "refund_quantity": Whole("商品退货数量", 1, required=True),
                },
            ),
        ),
    },
)

ABNORMAL_REFUND = Group(
    "请求体",
    {
        "out_refund_no": OUT_REFUND_NO,
        "type": Text("异常退款处理方式", 32, choices=("USER_BANK_CARD", "MERCHANT_BANK_CARD"), required=True),
        "bank_type": Text("开户银行", 16),
        "bank_account": Text("收款银行卡号", 1024),
        "real_name": Text("收款用户姓名", 1024),
    },
)

ECHO = Group(
    "请求体",
    {
        "notify_url": NotifyUrl("通知地址", 256),
        "echo_message": Text("回显消息", 1024),
        "encrypted_echo_message": Text("加密回显消息", 1024),
    },
)

_DATE = Text("账单日期", 10, pattern=re.compile(r"\d{4}-\d{2}-\d{2}"), required=True)
_TAR = Text("压缩类型", 8, choices=("GZIP",))
#: api -> the rule of its query parameters; an api that is not here takes none
QUERIES: Mapping[str, Group] = {
    "query": Group("查询参数", {"mchid": MCHID}),
    "certificates": Group("查询参数", {"algorithm_type": Text("算法类型", 8, choices=("RSA", "SM2", "ALL"))}),
    "trade_bill": Group(
        "查询参数",
        {"bill_date": _DATE, "bill_type": Text("账单类型", 16, choices=("ALL", "SUCCESS", "REFUND")), "tar_type": _TAR},
    ),
    "fund_bill": Group(
        "查询参数",
        {
            "bill_date": _DATE,
            "account_type": Text("资金账户类型", 16, choices=("BASIC", "OPERATION", "FEES")),
            "tar_type": _TAR,
        },
    ),
    "download": Group(
        "查询参数", {"token": Text("下载令牌", 256, required=True), "tartype": Text("压缩类型", 8, choices=("gzip",))}
    ),
}
NO_QUERY = Group("查询参数", {})
