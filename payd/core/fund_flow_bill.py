"""The fund-flow bill: every movement of the merchant's account on one Beijing day. Source: doc 4013071246."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from payd.core.bill_format import (
    BillReader,
    Column,
    Layout,
    Total,
    amount_fen,
    beijing_time,
    decimal_number,
    required_text,
    same_count,
    same_fen,
)
from payd.models.money import fen_from_yuan

#: 收支类型: whether money came (True) or went.
DIRECTIONS: Final[dict[str, bool]] = {"收入": True, "支出": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class FundFlowRow:
    """One movement. ``amount_fen`` is never negative, ``incoming`` says its direction; ``balance_fen`` is after it.

    ``business_no`` is WeChat's number of what moved the money (the transaction_id of a payment, the refund_id of a
    refund); ``voucher_no`` the number on the voucher.
    """

    line: int
    at: datetime
    business_no: str
    flow_no: str
    business_name: str
    business_type: str
    incoming: bool
    amount_fen: int
    balance_fen: int
    applicant: str
    remark: str
    voucher_no: str


def _direction(text: str) -> bool:
    if text not in DIRECTIONS:
        raise ValueError(f"neither income nor expense: {text[:16]!r}")
    return DIRECTIONS[text]


def _balance(text: str) -> int:
    return fen_from_yuan(str(decimal_number(text)))


COLUMNS: Final[tuple[Column, ...]] = (
    Column("at", ("记账时间",), beijing_time),
    Column("business_no", ("微信支付业务单号",)),
    Column("flow_no", ("资金流水单号",), required_text),
    Column("business_name", ("业务名称",)),
    Column("business_type", ("业务类型",)),
    Column("incoming", ("收支类型",), _direction),
    Column("amount_fen", ("收支金额(元)", "收支金额（元）"), amount_fen),
    Column("balance_fen", ("账户结余(元)", "账户结余（元）"), _balance),
    Column("applicant", ("资金变更提交申请人",), need=False, missing=""),
    Column("remark", ("备注",), need=False, missing=""),
    Column("voucher_no", ("业务凭证号",), need=False, missing=""),
)

TOTALS: Final[tuple[Total[FundFlowRow], ...]] = (
    Total("rows", ("资金流水总笔数",), "", lambda row: 1, same_count, need=True),
    Total("income_rows", ("收入笔数",), "incoming", lambda row: int(row.incoming), same_count),
    Total("income_fen", ("收入金额",), "amount_fen", lambda row: row.amount_fen if row.incoming else 0, same_fen),
    Total("expense_rows", ("支出笔数",), "incoming", lambda row: int(not row.incoming), same_count),
    Total("expense_fen", ("支出金额",), "amount_fen", lambda row: 0 if row.incoming else row.amount_fen, same_fen),
)


def _fund_flow_row(line: int, values: Mapping[str, Any]) -> FundFlowRow:
    return FundFlowRow(line=line, **values)


FUND_FLOW_LAYOUT: Final = Layout(columns=COLUMNS, totals=TOTALS, make=_fund_flow_row)


def read_fund_flow_bill(lines: Iterable[bytes]) -> BillReader[FundFlowRow]:
    """Read a fund-flow bill; see `BillReader` for how to iterate it and what it raises."""
    return BillReader(lines, FUND_FLOW_LAYOUT)
