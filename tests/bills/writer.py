"""Writes bills the way WeChat documents them (doc 4013071218, 4013071246), without any of payd's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

ALL = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
SUCCESS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注"
)
REFUND = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,"
    "退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
OLD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "总金额,企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率"
)
FUND_FLOW = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
#: Summary column -> the record column whose sum it is ("" counts the rows).
TRADE_SUMS = {
    "总交易单数": "",
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
}
OLD_SUMS = {
    "总交易单数": "",
    "总交易额": "总金额",
    "总退款金额": "退款金额",
    "总企业红包退款金额": "企业红包退款金额",
    "手续费总金额": "手续费",
}
#: A payment row's values where a test does not care.
PAYMENT = {
    "交易时间": "2026-11-22 09:08:07",
    "公众账号ID": "wx1234567890abcdef",
    "商户号": "1900000001",
    "特约商户号": "0",
    "设备号": "",
    "微信订单号": "4200000000202611221234567890",
    "商户订单号": "P20261122090807",
    "用户标识": "oHkLxt5HnHcBDewv4Lc8xivG1DuE",
    "交易类型": "NATIVE",
    "交易状态": "SUCCESS",
    "付款银行": "OTHERS",
    "货币种类": "CNY",
    "应结订单金额": "10.00",
    "代金券金额": "0.00",
    "微信退款单号": "0",
    "商户退款单号": "0",
    "退款金额": "0.00",
    "充值券退款金额": "0.00",
    "退款类型": "",
    "退款状态": "",
    "商品名称": "tea",
    "商户数据包": "",
    "手续费": "0.06000",
    "费率": "0.60%",
    "订单金额": "10.00",
    "申请退款金额": "0.00",
    "费率备注": "",
}
#: A refund row's values where a test does not care.
REFUNDED = PAYMENT | {
    "交易状态": "REFUND",
    "应结订单金额": "0.00",
    "订单金额": "0.00",
    "微信退款单号": "50300000002026112212345678901",
    "商户退款单号": "R20261122090807",
    "退款金额": "4.00",
    "申请退款金额": "4.00",
    "退款类型": "ORIGINAL",
    "退款状态": "SUCCESS",
    "手续费": "-0.02000",
}
MOVEMENT = {
    "记账时间": "2026-11-22 09:08:07",
    "微信支付业务单号": "4200000000202611221234567890",
    "资金流水单号": "1900000001202611220001",
    "业务名称": "交易",
    "业务类型": "交易",
    "收支类型": "收入",
    "收支金额(元)": "10.00",
    "账户结余(元)": "110.00",
    "资金变更提交申请人": "system",
    "备注": "",
    "业务凭证号": "P20261122090807",
}


def escape(text: str, *, refund: bool) -> str:
    """Write a merchant's text as WeChat does; the backtick and the single quote differ on refund rows."""
    table = {"\\": "\\\\", '"': '\\"', ",": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    table["`"] = "\\140" if refund else "\\`"
    if not refund:
        table["'"] = "\\'"
    return "".join(table.get(letter, letter) for letter in text)


def trade_lines(
    rows: Iterable[Mapping[str, str]], *, header: str = ALL, bom: bool = True, said: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """Write a trade bill line by line; ``said`` replaces totals."""
    columns = header.split(",")
    sums = OLD_SUMS if "总金额" in columns else TRADE_SUMS
    kept = [name for name, column in sums.items() if not column or column in columns]
    totals = dict.fromkeys(kept, Decimal(0))
    yield ("\ufeff" if bom else "").encode() + f"{header}\r\n".encode()
    for row in rows:
        yield (",".join("`" + row[column] for column in columns) + "\r\n").encode()
        for name in kept:
            totals[name] += Decimal(row[sums[name]]) if sums[name] else 1
    texts = {name: str(total) for name, total in totals.items()} | {"总交易单数": f"{totals['总交易单数']}.0"}
    yield (",".join(kept) + "\r\n").encode()
    yield (",".join("`" + (said or {}).get(name, texts[name]) for name in kept) + "\r\n").encode()


def fund_flow_lines(rows: Iterable[Mapping[str, str]], *, said: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """Write a fund-flow bill line by line."""
    columns = FUND_FLOW.split(",")
    count = {"收入": 0, "支出": 0}
    money = {"收入": Decimal(0), "支出": Decimal(0)}
    yield f"\ufeff{FUND_FLOW}\r\n".encode()
    for row in rows:
        yield (",".join("`" + row[column] for column in columns) + "\r\n").encode()
        count[row["收支类型"]] += 1
        money[row["收支类型"]] += Decimal(row["收支金额(元)"])
    totals = {
        "资金流水总笔数": f"{sum(count.values())}.0",
        "收入笔数": f"{count['收入']}.0",
        "收入金额": str(money["收入"]),
        "支出笔数": f"{count['支出']}.0",
        "支出金额": str(money["支出"]),
    } | dict(said or {})
    yield (",".join(totals) + "\r\n").encode()
    yield (",".join("`" + text for text in totals.values()) + "\r\n").encode()
