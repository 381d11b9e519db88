"""The fund-flow bill: movements, directions and its own summary."""

from __future__ import annotations

import pytest

from payd.core.bill_format import BillDamaged
from payd.core.fund_flow_bill import read_fund_flow_bill

from . import writer

SPENT = writer.MOVEMENT | {"收支类型": "支出", "收支金额(元)": "4.00", "账户结余(元)": "-6.00", "业务名称": "退款"}


def test_income_and_expense_are_told_apart() -> None:
    """The amount is never negative, the direction stands beside it, the balance may fall below zero."""
    rows = list(read_fund_flow_bill(writer.fund_flow_lines([writer.MOVEMENT, SPENT])))

    assert [(r.incoming, r.amount_fen, r.balance_fen) for r in rows] == [(True, 1000, 11000), (False, 400, -600)]
    assert (rows[0].business_no, rows[0].voucher_no) == ("4200000000202611221234567890", "P20261122090807")


@pytest.mark.parametrize("total", ["资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额"])
def test_a_total_that_does_not_agree_is_named(total: str) -> None:
    """Each number of the summary line is held against the rows."""
    with pytest.raises(BillDamaged) as caught:
        list(read_fund_flow_bill(writer.fund_flow_lines([writer.MOVEMENT, SPENT], said={total: "99"})))

    assert total == caught.value.column


def test_an_unknown_direction_is_damage() -> None:
    """A word that is neither 收入 nor 支出 is never guessed."""
    lines = b"".join(writer.fund_flow_lines([writer.MOVEMENT])).replace("收入,`10".encode(), "冻结,`10".encode())

    with pytest.raises(BillDamaged) as caught:
        list(read_fund_flow_bill(lines.splitlines(keepends=True)))

    assert (caught.value.line, caught.value.column) == (2, "收支类型")
