"""The trade bill reads back as it was written, and a damaged one is refused by line and column."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd import limits
from payd.core.bill_format import BillDamaged
from payd.core.trade_bill import TradeRow, read_trade_bill

from . import writer


def read(lines: Sequence[bytes]) -> list[TradeRow]:
    return list(read_trade_bill(lines))


MERCHANT_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.text(
    "\\'\"`,\n\r\tn140 茶", max_size=20
)
FEN = st.integers(0, 100_000_000)
SECONDS = st.integers(1_600_000_000, 2_000_000_000)
BEIJING = timezone(timedelta(hours=8))


def yuan(fen: int) -> str:
    return str((Decimal(fen) / 100).quantize(Decimal("0.01")))


@st.composite
def payment(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, object]]:
    """A payment row: its cells, and what they must read back as."""
    total, coupon = draw(FEN), draw(FEN)
    fee = Decimal(draw(st.integers(-10_000_000, 10_000_000))) / draw(st.sampled_from((100, 100_000)))
    at, text, attach = draw(SECONDS), draw(MERCHANT_TEXT), draw(MERCHANT_TEXT)
    cells = writer.PAYMENT | {
        "交易时间": datetime.fromtimestamp(at, BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        "订单金额": yuan(total), "应结订单金额": yuan(total), "代金券金额": yuan(coupon), "手续费": f"{fee:.5f}",
        "商品名称": writer.escape(text, refund=False), "商户数据包": writer.escape(attach, refund=False),
    }  # fmt: skip
    values = {
        "at": at, "total_fen": total, "coupon_fen": coupon, "fee": fee, "description": text, "attach": attach,
        "refunded": None,
    }  # fmt: skip
    return cells, values


@st.composite
def refund(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, object]]:
    """A refund row: its cells, and what they must read back as."""
    cells, values = draw(payment())
    asked, settled = draw(FEN), draw(FEN)
    copied = ("交易状态", "微信退款单号", "商户退款单号", "退款类型", "退款状态")
    numbers = {column: writer.REFUNDED[column] for column in copied}
    cells = cells | numbers | {
        "订单金额": "0.00", "应结订单金额": "0.00", "申请退款金额": yuan(asked), "退款金额": yuan(settled),
        "商品名称": writer.escape(str(values["description"]), refund=True),
        "商户数据包": writer.escape(str(values["attach"]), refund=True),
    }  # fmt: skip
    return cells, values | {"total_fen": 0, "refunded": (asked, settled)}


@given(st.lists(payment() | refund(), max_size=8), st.booleans())
def test_every_row_reads_back_as_it_was_written(
    written: list[tuple[dict[str, str], dict[str, object]]], bom: bool
) -> None:
    """Amounts, fees, times and merchants' texts survive writing and reading, in the file's order."""
    rows = read(list(writer.trade_lines([cells for cells, _ in written], bom=bom)))

    got = [
        {
            "at": row.at.timestamp(), "total_fen": row.total_fen, "coupon_fen": row.coupon_fen, "fee": row.fee,
            "description": row.description, "attach": row.attach,
            "refunded": (row.refund.refund_fen, row.refund.settled_fen) if row.refund else None,
        }
        for row in rows
    ]  # fmt: skip
    assert [values for _, values in written] == got


@given(st.integers(-1_000_000, 1_000_000), st.sampled_from((2, 3, 5)))
def test_a_fee_rounds_half_up_to_fen(units: int, decimals: int) -> None:
    """A fee with any number of decimals is kept exactly and rounded half away from zero to fen."""
    fee = Decimal(units).scaleb(-decimals)

    [row] = read(list(writer.trade_lines([writer.PAYMENT | {"手续费": f"{fee:.{decimals}f}"}])))

    assert fee == row.fee
    assert int((fee * 100).to_integral_value(ROUND_HALF_UP)) == row.fee_fen


def test_a_payment_row_says_who_paid_what_and_when() -> None:
    """Every column that the books need stands in its own member, times in UTC."""
    [row] = read(list(writer.trade_lines([writer.PAYMENT])))

    assert datetime(2026, 11, 22, 1, 8, 7, tzinfo=UTC) == row.at
    assert (row.appid, row.mchid) == ("wx1234567890abcdef", "1900000001")
    assert (row.out_trade_no, row.transaction_id) == ("P20261122090807", "4200000000202611221234567890")
    assert (1000, 1000, 6, Decimal("0.60")) == (row.total_fen, row.settlement_fen, row.fee_fen, row.rate_percent)
    assert (row.trade_type, row.trade_state, row.currency, row.refund) == ("NATIVE", "SUCCESS", "CNY", None)


def test_a_bill_of_refunds_has_both_times() -> None:
    """The REFUND type tells when a refund was accepted and when it succeeded; an empty time is none."""
    cells = writer.REFUNDED | {"退款申请时间": "2026-11-22 09:08:07", "退款成功时间": ""}

    [row] = read(list(writer.trade_lines([cells], header=writer.REFUND)))

    assert row.refund is not None
    assert (datetime(2026, 11, 22, 1, 8, 7, tzinfo=UTC), None) == (row.refund.accepted_at, row.refund.succeeded_at)


def test_a_bill_of_payments_lacks_the_refund_columns() -> None:
    """The SUCCESS type has no refund columns: all its rows are payments."""
    [row] = read(list(writer.trade_lines([writer.PAYMENT], header=writer.SUCCESS)))

    assert (row.refund, row.total_fen) == (None, 1000)


def test_the_old_format_reads_by_its_own_names() -> None:
    """总金额 and 企业红包金额 stand for the new columns, and the missing right-hand ones follow from them."""
    old = {"总金额": "10.00", "企业红包金额": "1.00", "企业红包退款金额": "0.50"}
    paid = writer.PAYMENT | old | {"企业红包退款金额": "0.00"}
    refunded = writer.REFUNDED | old | {"总金额": "0.00", "企业红包金额": "0.00"}

    rows = read(list(writer.trade_lines([paid, refunded], header=writer.OLD)))

    assert [(row.total_fen, row.settlement_fen, row.coupon_fen) for row in rows] == [(1000, 1000, 100), (0, 0, 0)]
    assert rows[1].refund is not None
    assert (rows[1].refund.refund_fen, rows[1].refund.settled_fen, rows[1].refund.coupon_fen) == (400, 400, 50)


def test_columns_are_found_by_name_in_any_order() -> None:
    """A file whose columns stand in another order, with one that payd does not know, reads the same."""
    header = ",".join(reversed(writer.ALL.split(","))) + ",新列"

    rows = read(list(writer.trade_lines([writer.PAYMENT | {"新列": "x"}], header=header)))

    assert read(list(writer.trade_lines([writer.PAYMENT]))) == rows


def test_plain_line_ends_and_a_missing_last_one_are_read() -> None:
    """LF instead of CRLF, and a last line without its end, change nothing."""
    lines = [line.replace(b"\r\n", b"\n") for line in writer.trade_lines([writer.PAYMENT])]
    lines[-1] = lines[-1].rstrip()

    assert read(list(writer.trade_lines([writer.PAYMENT]))) == read(lines)


def test_the_totals_are_told_after_the_end() -> None:
    """Rows and sums are counted while reading; complete only after the summary agreed."""
    bill = read_trade_bill(list(writer.trade_lines([writer.PAYMENT, writer.REFUNDED])))
    iterator = iter(bill)

    next(iterator)
    assert not bill.complete
    list(iterator)

    assert bill.complete
    assert (2, 1000, 400, Decimal("0.04")) == (
        bill.rows, bill.sums["settlement_fen"], bill.sums["refund_fen"], bill.sums["fee"],
    )  # fmt: skip


def test_a_fee_total_may_carry_fewer_decimals_than_the_rows() -> None:
    """Rows with five decimals and a rounded total agree."""
    rows = [writer.PAYMENT | {"手续费": "0.01234"}] * 3

    assert len(read(list(writer.trade_lines(rows, said={"手续费总金额": "0.04"})))) == 3


DAMAGED_CELLS = [
    ("交易时间", "2026-02-30 09:08:07"),
    ("交易时间", "2026-11-22T09:08:07"),
    ("交易时间", ""),
    ("商户订单号", ""),
    ("微信订单号", ""),
    ("商户号", ""),
    ("应结订单金额", "10,00"),
    ("应结订单金额", ""),
    ("应结订单金额", "1.005"),
    ("应结订单金额", "-1.00"),
    ("应结订单金额", "1e3"),
    ("订单金额", "١٠"),
    ("订单金额", "1_0.00"),
    ("订单金额", "NaN"),
    ("退款金额", " 1.00"),
    ("手续费", ""),
    ("手续费", "0.0.1"),
]


@pytest.mark.parametrize(("column", "text"), DAMAGED_CELLS)
def test_a_cell_that_cannot_be_read_is_named(column: str, text: str) -> None:
    """A bad amount, time or number raises with its line and column."""
    good = list(writer.trade_lines([writer.PAYMENT]))
    bad = ",".join("`" + (writer.PAYMENT | {column: text})[name] for name in writer.ALL.split(","))

    with pytest.raises(BillDamaged) as caught:
        read([*good[:2], f"{bad}\r\n".encode(), *good[2:]])

    assert (3, column) == (caught.value.line, caught.value.column)


@pytest.mark.parametrize("total", writer.TRADE_SUMS)
def test_a_total_that_does_not_agree_is_named(total: str) -> None:
    """Each number of the summary line is held against the rows."""
    with pytest.raises(BillDamaged) as caught:
        read(list(writer.trade_lines([writer.PAYMENT, writer.REFUNDED], said={total: "77.00"})))

    assert (5, total) == (caught.value.line, caught.value.column)


@pytest.mark.parametrize("column", ["交易时间", "商户订单号", "应结订单金额", "手续费", "交易状态"])
def test_a_missing_column_is_named(column: str) -> None:
    """Without one of the columns that the books need the file is refused at its first line."""
    header = ",".join(name for name in writer.ALL.split(",") if name != column)

    with pytest.raises(BillDamaged) as caught:
        read([f"{header}\r\n".encode(), *list(writer.trade_lines([writer.PAYMENT]))[1:]])

    assert (1, column) == (caught.value.line, caught.value.column)


def test_a_cut_file_never_reads_as_whole() -> None:
    """Wherever a bill is cut, short of its last line end and zeros that change nothing, it is refused."""
    rows = [writer.PAYMENT, writer.REFUNDED, writer.PAYMENT | {"商户订单号": "P2"}]
    whole = b"".join(writer.trade_lines(rows))
    wanted = len(read(whole.splitlines(keepends=True)))

    passed = []
    for size in range(len(whole)):
        try:
            passed.append(len(read(whole[:size].splitlines(keepends=True))))
        except BillDamaged:
            continue

    assert {wanted} == set(passed)
    assert len(passed) <= 4  # two bytes of line end, two zeros of "4.00"


def test_a_line_too_many_or_too_few_is_refused() -> None:
    """A record lost, doubled, or moved behind the totals does not pass."""
    lines = list(writer.trade_lines([writer.PAYMENT, writer.PAYMENT | {"商户订单号": "P2"}]))

    for broken in (lines[:1] + lines[2:], [*lines[:2], lines[1], *lines[2:]], [*lines, lines[1]]):
        with pytest.raises(BillDamaged):
            read(broken)


STRANGE = [
    [],
    [b""],
    [b'{"code":"NO_AUTH","message":"x"}'],
    [b"\xff\xfe\x00"],
    [b"`2026-11-22 09:08:07,`x\r\n"],
    [writer.ALL.replace("公众账号ID", "交易时间").encode() + b"\r\n"],
    [writer.ALL.encode() + b"\r\n", b"`" + b"x" * limits.BILL_LINE_BYTES_MAX + b"\r\n"],
    [writer.ALL.encode() + b"\r\n", "总交易单数\r\n".encode(), b"0\r\n"],
    [writer.ALL.encode() + b"\r\n", "应结订单总金额\r\n".encode(), b"`0\r\n"],
    [writer.ALL.encode() + b"\r\n", b"\r\n", "总交易单数\r\n".encode(), b"`0\r\n"],
]


@pytest.mark.parametrize("lines", STRANGE)
def test_what_is_no_bill_is_refused(lines: list[bytes]) -> None:
    """An error page, a foreign encoding, an endless line or a file without totals is damaged, nothing else."""
    with pytest.raises(BillDamaged):
        read(lines)


@given(st.binary(max_size=300))
def test_any_bytes_either_read_or_are_damaged(noise: bytes) -> None:
    """Nothing but BillDamaged comes out of a bill with noise in it."""
    lines = list(writer.trade_lines([writer.PAYMENT]))

    for broken in ([noise], [lines[0], noise, *lines[1:]], [*lines[:3], noise]):
        with contextlib.suppress(BillDamaged):
            read(broken)


def test_a_refund_row_needs_its_number() -> None:
    """A row of trade_state REFUND without 微信退款单号 contradicts itself."""
    with pytest.raises(BillDamaged) as caught:
        read(list(writer.trade_lines([writer.REFUNDED | {"微信退款单号": "0"}])))

    assert caught.value.column == "微信退款单号"
