"""Writes WeChat's bill files: columns, order of fields, backticks, escapes, totals (section 9.3).

Pure text from records: the same book and day always give the same bytes, whenever they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from payd.sandbox.clock import beijing, beijing_day
from payd.sandbox.records import TRADE_TYPES, Order, Refund

BOM = "\ufeff"
FEE_RATE = Decimal("0.006")
_PAYMENT_HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额"
)
_REFUND_COLUMNS = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态"
_TAIL = "商品名称,商户数据包,手续费,费率,订单金额"
#: bill_type -> header line
TRADE_HEADERS = {
    "ALL": f"{_PAYMENT_HEAD},{_REFUND_COLUMNS},{_TAIL},申请退款金额,费率备注",
    "SUCCESS": f"{_PAYMENT_HEAD},{_TAIL},费率备注",
    "REFUND": f"{_PAYMENT_HEAD},退款申请时间,退款成功时间,{_REFUND_COLUMNS},{_TAIL},申请退款金额,费率备注",
}
TRADE_SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
SUCCESS_SUMMARY = "总交易单数,应结订单总金额,手续费总金额,订单总金额"
FUND_HEADER = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,"
    "业务凭证号"
)
FUND_SUMMARY = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"

_PAYMENT_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "`": "\\`", ",": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)
_REFUND_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "`": "\\140", ",": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One record with the amounts that the totals need; yuan as decimals."""

    fields: tuple[str, ...]
    settlement: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    asked_back: Decimal = Decimal(0)


def trade_bill(
    bill_type: str, *, mchid: str, payments: Iterable[Order], refunds: Iterable[tuple[Refund, Order]], as_of: float
) -> bytes | None:
    """The trade bill of one day, or None when nothing happened; ``as_of`` is when it was generated."""
    rows: list[_Row] = []
    if bill_type != "REFUND":
        rows += [_payment_row(order, mchid, short=bill_type == "SUCCESS") for order in payments]
    if bill_type != "SUCCESS":
        rows += [_refund_row(record, order, mchid, as_of, long=bill_type == "REFUND") for record, order in refunds]
    if not rows:
        return None
    # The rows are not sorted by time in reality (section 9.3); by number is stable and just as unhelpful.
    rows.sort(key=lambda row: hashlib.sha1("".join(row.fields).encode(), usedforsecurity=False).digest())
    sums = [
        _loose(sum((getattr(row, name) for row in rows), Decimal(0)))
        for name in ("settlement", "refunded", "fee", "total", "asked_back")
    ]
    settlement, refunded, fee, total, asked_back = sums
    count = f"{len(rows)}.0"
    if bill_type == "SUCCESS":
        summary, totals = SUCCESS_SUMMARY, [count, settlement, fee, total]
    else:
        summary, totals = TRADE_SUMMARY, [count, settlement, refunded, "0.0", fee, total, asked_back]
    return _file(TRADE_HEADERS[bill_type], [row.fields for row in rows], summary, totals)


def _payment_row(order: Order, mchid: str, *, short: bool) -> _Row:
    assert order.success_at is not None
    payer_total = order.payer_total or 0
    fee = _yuan(payer_total) * FEE_RATE
    head = _head(
        order,
        mchid,
        _time(order.success_at),
        "SUCCESS",
        _money(payer_total),
        _money(order.total - payer_total),
        _PAYMENT_ESCAPES,
    )
    no_refund = () if short else ("0", "0", "0.00", "0.00", "", "")
    asked = () if short else ("0.00",)
    tail = (*_texts(order, _PAYMENT_ESCAPES), f"{fee:.5f}", "0.60%", _money(order.total))
    return _Row(
        (*head, *no_refund, *tail, *asked, ""), settlement=_yuan(payer_total), fee=fee, total=_yuan(order.total)
    )


def _refund_row(record: Refund, order: Order, mchid: str, as_of: float, *, long: bool) -> _Row:
    fee = -(_yuan(record.payer_refund) * FEE_RATE)
    succeeded = record.success_at is not None and record.success_at <= as_of
    times = (_time(record.created_at), _time(record.success_at) if succeeded else "") if long else ()
    head = _head(order, mchid, _time(record.created_at), "REFUND", "0.00", "0.00", _REFUND_ESCAPES)
    columns = (
        record.refund_id,
        record.out_refund_no,
        _money(record.payer_refund),
        "0.00",
        "ORIGINAL",
        _refund_state(record, as_of),
    )
    tail = (*_texts(order, _REFUND_ESCAPES), f"{fee:.5f}", "0.60%", "0.00", _money(record.refund), "")
    return _Row(
        (*head, *times, *columns, *tail), refunded=_yuan(record.payer_refund), fee=fee, asked_back=_yuan(record.refund)
    )


def _refund_state(record: Refund, as_of: float) -> str:
    """The refund's state when the file was generated: files are snapshots (section 9.1)."""
    moments = (("SUCCESS", record.success_at), ("FAIL", record.closed_at), ("CHANGE", record.abnormal_at))
    for state, moment in moments:
        if moment is not None and moment <= as_of:
            return state
    return "PROCESSING"


def _head(
    order: Order, mchid: str, when: str, state: str, settlement: str, coupon: str, escapes: dict[int, str]
) -> tuple[str, ...]:
    return (
        when,
        order.request["appid"],
        mchid,
        "0",
        order.device_id.translate(escapes),
        str(order.transaction_id),
        order.out_trade_no,
        order.openid or "",
        TRADE_TYPES[order.product],
        state,
        order.bank_type or "",
        "CNY",
        settlement,
        coupon,
    )


def _texts(order: Order, escapes: dict[int, str]) -> tuple[str, str]:
    description: str = order.request["description"]
    attach: str = order.request.get("attach", "")
    return description.translate(escapes), attach.translate(escapes)


@dataclass(frozen=True, slots=True)
class _Movement:
    """One entry of the basic account, in fen; negative goes out."""

    at: float
    business_id: str
    name: str
    fen: int
    remark: str
    voucher: str


def fund_bill(day: str, *, orders: Iterable[Order], refunds: Iterable[Refund]) -> bytes | None:
    """The fund-flow bill of the basic account for one day, with the balance running since the beginning."""
    movements = sorted(
        [*_payment_movements(orders), *_refund_movements(refunds)], key=lambda item: (item.at, item.business_id)
    )
    balance, records = 0, []
    amounts: list[int] = []
    for movement in movements:
        balance += movement.fen
        if beijing_day(movement.at) == day:
            amounts.append(movement.fen)
            records.append(_fund_fields(movement, balance))
    if not records:
        return None
    incoming, outgoing = [fen for fen in amounts if fen > 0], [-fen for fen in amounts if fen < 0]
    totals = [
        f"{len(amounts)}.0",
        f"{len(incoming)}.0",
        _loose(_yuan(sum(incoming))),
        f"{len(outgoing)}.0",
        _loose(_yuan(sum(outgoing))),
    ]
    return _file(FUND_HEADER, records, FUND_SUMMARY, totals)


def _payment_movements(orders: Iterable[Order]) -> Iterable[_Movement]:
    for order in orders:
        if order.success_at is None or order.transaction_id is None:
            continue
        paid = order.payer_total or 0
        fee = _fee_fen(paid)
        yield _Movement(order.success_at, order.transaction_id, "交易", paid, "", order.out_trade_no)
        if fee:
            yield _Movement(
                order.success_at, order.transaction_id, "扣除交易手续费", -fee, "费率0.60%", order.out_trade_no
            )


def _refund_movements(refunds: Iterable[Refund]) -> Iterable[_Movement]:
    for record in refunds:
        fee = _fee_fen(record.payer_refund)
        net = record.payer_refund - fee
        remark = f"退款总金额{_money(record.payer_refund)}元;含手续费{_money(fee)}元"
        yield _Movement(record.created_at, record.refund_id, "退款", -net, remark, record.out_refund_no)
        if record.closed_at is not None:
            yield _Movement(record.closed_at, record.refund_id, "退款失败退回", net, "", record.out_refund_no)


def _fund_fields(movement: _Movement, balance: int) -> tuple[str, ...]:
    seed = f"{movement.business_id}/{movement.name}".encode()
    flow_id = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest()) % 10**16
    return (
        _time(movement.at),
        movement.business_id,
        f"{flow_id:016d}",
        movement.name,
        movement.name,
        "收入" if movement.fen > 0 else "支出",
        _money(abs(movement.fen)),
        _money(balance),
        "system",
        movement.remark,
        movement.voucher,
    )


def _file(header: str, records: Sequence[tuple[str, ...]], summary: str, totals: list[str]) -> bytes:
    """BOM, CRLF, backticks before every field of a record, none in the two header lines."""
    lines = [header, *(_line(record) for record in records), summary, _line(totals)]
    return (BOM + "".join(f"{line}\r\n" for line in lines)).encode()


def _line(values: Iterable[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def _time(instant: float | None) -> str:
    return "" if instant is None else f"{beijing(instant):%Y-%m-%d %H:%M:%S}"


def _yuan(fen: int) -> Decimal:
    return Decimal(fen) / 100


def _money(fen: int) -> str:
    return f"{_yuan(fen):.2f}"


def _fee_fen(fen: int) -> int:
    return int((fen * FEE_RATE).quantize(Decimal(1), ROUND_HALF_UP))


def _loose(value: Decimal) -> str:
    """A total as in the fixture: no trailing noughts but always one decimal, ``45.0``."""
    text = f"{value:f}"
    if "." not in text:
        return f"{text}.0"
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'}"
