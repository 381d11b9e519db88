"""The trade bill: every payment that succeeded and every refund that was accepted on one Beijing day.

One table of columns serves the three bill types (ALL, SUCCESS, REFUND) and the old format: a column that a file does
not have reads as its ``missing`` value. 用户标识 (the payer) is not read: the books need no person.
Source: doc 4013071218, 4013071249, 4013071254.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from payd.core.bill_format import (
    BillDamaged,
    BillReader,
    Column,
    Layout,
    Total,
    amount_fen,
    beijing_time,
    decimal_number,
    merchant_text,
    optional_fen,
    optional_time,
    required_text,
    same_count,
    same_fen,
    same_yuan,
)

_PERCENT: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?%", re.ASCII)
#: What stands in 微信退款单号 on a payment row.
_NO_REFUND: Final = frozenset({"", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart:
    """What only a refund row says. ``refund_fen`` is what the merchant asked back (申请退款金额), ``settled_fen`` the
    part of it that is settled (退款金额: without coupons the merchant need not fund), both in fen.

    The two times stand only in bills of type REFUND.
    """

    refund_id: str
    out_refund_no: str
    refund_fen: int
    settled_fen: int
    coupon_fen: int
    refund_type: str
    refund_status: str
    accepted_at: datetime | None
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One line: a payment (``refund`` None) or a refund. Amounts in fen; on refund rows the payment's amounts are 0.

    ``at`` is when the payment succeeded, on refund rows when the refund was accepted. ``total_fen`` is what the order
    asked (订单金额), ``settlement_fen`` what the fee counts on (应结订单金额). ``fee`` is the exact number in yuan,
    ``fee_fen`` the same rounded half up; both negative where WeChat gives a fee back. ``rate_percent`` None: the
    bill states no percentage.
    """

    line: int
    at: datetime
    appid: str
    mchid: str
    device_info: str
    transaction_id: str
    out_trade_no: str
    trade_type: str
    trade_state: str
    bank_type: str
    currency: str
    total_fen: int
    settlement_fen: int
    coupon_fen: int
    description: str
    attach: str
    fee: Decimal
    fee_fen: int
    rate_percent: Decimal | None
    rate_note: str
    refund: RefundPart | None


def fee_fen(fee: Decimal) -> int:
    """Round a fee in yuan to fen, half away from zero."""
    return int((fee * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _rate(text: str) -> Decimal | None:
    return Decimal(text[:-1]) if _PERCENT.fullmatch(text) else None


COLUMNS: Final[tuple[Column, ...]] = (
    Column("at", ("交易时间",), beijing_time),
    Column("appid", ("公众账号ID",)),
    Column("mchid", ("商户号",), required_text),
    Column("device_info", ("设备号",), merchant_text, need=False, missing=""),
    Column("transaction_id", ("微信订单号",), required_text),
    Column("out_trade_no", ("商户订单号",), required_text),
    Column("trade_type", ("交易类型",)),
    Column("trade_state", ("交易状态",), required_text),
    Column("bank_type", ("付款银行",), need=False, missing=""),
    Column("currency", ("货币种类",), required_text),
    Column("settlement_fen", ("应结订单金额", "总金额"), amount_fen),
    Column("coupon_fen", ("代金券金额", "代金券或立减优惠金额", "企业红包金额"), optional_fen, need=False, missing=0),
    Column("total_fen", ("订单金额", "总金额"), amount_fen, need=False),
    Column("refund_id", ("微信退款单号",), need=False, missing=""),
    Column("out_refund_no", ("商户退款单号",), need=False, missing=""),
    Column("settled_refund_fen", ("退款金额",), optional_fen, need=False, missing=0),
    Column(
        "coupon_refund_fen",
        ("充值券退款金额", "代金券或立减优惠退款金额", "企业红包退款金额"),
        optional_fen,
        need=False,
        missing=0,
    ),
    Column("refund_fen", ("申请退款金额",), optional_fen, need=False),
    Column("refund_type", ("退款类型",), need=False, missing=""),
    Column("refund_status", ("退款状态",), need=False, missing=""),
    Column("accepted_at", ("退款申请时间",), optional_time, need=False),
    Column("succeeded_at", ("退款成功时间",), optional_time, need=False),
    Column("description", ("商品名称",), merchant_text, need=False, missing=""),
    Column("attach", ("商户数据包",), merchant_text, need=False, missing=""),
    Column("fee", ("手续费",), decimal_number),
    Column("rate_percent", ("费率",), _rate, need=False),
    Column("rate_note", ("费率备注",), need=False, missing=""),
)

TOTALS: Final[tuple[Total[TradeRow], ...]] = (
    Total("rows", ("总交易单数",), "", lambda row: 1, same_count, need=True),
    Total("settlement_fen", ("应结订单总金额", "总交易额"), "settlement_fen", lambda row: row.settlement_fen, same_fen),
    Total(
        "settled_refund_fen",
        ("退款总金额", "总退款金额"),
        "settled_refund_fen",
        lambda row: row.refund.settled_fen if row.refund else 0,
        same_fen,
    ),
    Total(
        "coupon_refund_fen",
        ("充值券退款总金额", "总代金券或立减优惠退款金额", "总企业红包退款金额"),
        "coupon_refund_fen",
        lambda row: row.refund.coupon_fen if row.refund else 0,
        same_fen,
    ),
    Total("fee", ("手续费总金额",), "fee", lambda row: row.fee, same_yuan),
    Total("total_fen", ("订单总金额",), "total_fen", lambda row: row.total_fen, same_fen),
    Total(
        "refund_fen",
        ("申请退款总金额",),
        "refund_fen",
        lambda row: row.refund.refund_fen if row.refund else 0,
        same_fen,
    ),
)


def _refund(line: int, values: Mapping[str, Any]) -> RefundPart | None:
    if values["refund_id"] in _NO_REFUND:
        if values["trade_state"] == "REFUND":
            raise BillDamaged(line, "微信退款单号", "a refund row without its number")
        return None
    settled: int = values["settled_refund_fen"]
    asked: int | None = values["refund_fen"]
    return RefundPart(
        refund_id=values["refund_id"],
        out_refund_no=values["out_refund_no"],
        refund_fen=settled if asked is None else asked,
        settled_fen=settled,
        coupon_fen=values["coupon_refund_fen"],
        refund_type=values["refund_type"],
        refund_status=values["refund_status"],
        accepted_at=values["accepted_at"],
        succeeded_at=values["succeeded_at"],
    )


def _trade_row(line: int, values: Mapping[str, Any]) -> TradeRow:
    total: int | None = values["total_fen"]
    return TradeRow(
        line=line,
        at=values["at"],
        appid=values["appid"],
        mchid=values["mchid"],
        device_info=values["device_info"],
        transaction_id=values["transaction_id"],
        out_trade_no=values["out_trade_no"],
        trade_type=values["trade_type"],
        trade_state=values["trade_state"],
        bank_type=values["bank_type"],
        currency=values["currency"],
        total_fen=values["settlement_fen"] if total is None else total,
        settlement_fen=values["settlement_fen"],
        coupon_fen=values["coupon_fen"],
        description=values["description"],
        attach=values["attach"],
        fee=values["fee"],
        fee_fen=fee_fen(values["fee"]),
        rate_percent=values["rate_percent"],
        rate_note=values["rate_note"],
        refund=_refund(line, values),
    )


TRADE_LAYOUT: Final = Layout(columns=COLUMNS, totals=TOTALS, make=_trade_row)


def read_trade_bill(lines: Iterable[bytes]) -> BillReader[TradeRow]:
    """Read a trade bill of any type; see `BillReader` for how to iterate it and what it raises."""
    return BillReader(lines, TRADE_LAYOUT)
