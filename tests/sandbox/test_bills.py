"""Bills: applying, downloading, and the file to the letter (section 9)."""

from __future__ import annotations

import gzip
import hashlib
from decimal import Decimal

import pytest

DAY = "2026-11-23"
HOUR = 3600
ALL = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,"
    "费率,订单金额,申请退款金额,费率备注"
)
SUCCESS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注"
)
REFUND = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,"
    "商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
FUND = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)


async def _download(merchant, applied, **options):
    return await merchant.get(applied.json["download_url"].removeprefix(merchant.base_url), **options)


async def _bill(merchant, query=f"tradebill?bill_date={DAY}"):
    """The plain text of a bill, its hash checked."""
    applied = await merchant.get(f"/v3/bill/{query}")
    assert applied.status == 200, applied.body
    content = (await _download(merchant, applied)).body
    plain = gzip.decompress(content) if "GZIP" in query else content
    assert hashlib.sha1(plain).hexdigest() == applied.json["hash_value"]
    return plain


def _table(plain):
    """Header, records as dicts, summary as a dict — parsed by the rules of section 9.3."""
    assert plain.startswith(b"\xef\xbb\xbf")
    assert plain.endswith(b"\r\n")
    lines = plain.decode("utf-8-sig").split("\r\n")[:-1]
    header, *records, names, totals = lines
    assert "`" not in header + names
    assert all(line.startswith("`") for line in [*records, totals])
    columns = header.split(",")
    rows = [dict(zip(columns, line[1:].split(",`"), strict=True)) for line in records]
    return header, rows, dict(zip(names.split(","), totals[1:].split(",`"), strict=True))


async def _history(merchant, control):
    """One payment with a coupon and a refund, one plain payment, one unpaid order."""
    await merchant.prepay("order-000001", attach="附加", scene_info={"payer_client_ip": "1.2.3.4", "device_id": "POS"})
    await merchant.prepay("order-000002", amount={"total": 1234, "currency": "CNY"})
    await merchant.prepay("order-unpaid")
    await control.pay("order-000001", payer_total=90, openid="oUser")
    await control.pay("order-000002")
    await merchant.refund("refund-1", 50)
    await control.advance(2 * 86400)


async def test_trade_bill_has_the_documented_columns_and_rows(merchant, control):
    """ALL: a row per payment and per refund, 27 columns, amounts in yuan."""
    await _history(merchant, control)

    header, rows, _ = _table(await _bill(merchant))

    assert header == ALL
    by_state = {(row["交易状态"], row["商户订单号"]): row for row in rows}
    assert set(by_state) == {("SUCCESS", "order-000001"), ("SUCCESS", "order-000002"), ("REFUND", "order-000001")}
    paid, back = by_state["SUCCESS", "order-000001"], by_state["REFUND", "order-000001"]
    facts = merchant.facts
    assert [paid[name] for name in header.split(",")[:5]] == [
        "2026-11-23 12:00:00", facts.appid, facts.mchid, "0", "POS"]  # fmt: skip
    assert (paid["应结订单金额"], paid["代金券金额"], paid["订单金额"], paid["手续费"], paid["费率"]) == (
        "0.90", "0.10", "1.00", "0.00540", "0.60%")  # fmt: skip
    assert (paid["微信退款单号"], paid["退款金额"], paid["退款类型"], paid["商户数据包"]) == ("0", "0.00", "", "附加")
    assert (back["退款金额"], back["申请退款金额"], back["订单金额"], back["手续费"], back["退款状态"]) == (
        "0.45", "0.50", "0.00", "-0.00270", "SUCCESS")  # fmt: skip
    assert back["商户退款单号"] == "refund-1"


async def test_totals_add_up(merchant, control):
    """The summary is the sum of the rows; numbers are decimals with a fraction, as in the fixture."""
    await _history(merchant, control)

    _, rows, totals = _table(await _bill(merchant))

    def total(column):
        return sum(Decimal(row[column]) for row in rows)

    assert list(totals) == [
        "总交易单数", "应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额", "订单总金额",
        "申请退款总金额"]  # fmt: skip
    assert totals["总交易单数"] == "3.0"
    for name, column in (
        ("应结订单总金额", "应结订单金额"), ("退款总金额", "退款金额"), ("手续费总金额", "手续费"),
        ("订单总金额", "订单金额"), ("申请退款总金额", "申请退款金额"),
    ):  # fmt: skip
        assert Decimal(totals[name]) == total(column)


@pytest.mark.parametrize("bill_type, header, states", [
    ("SUCCESS", SUCCESS, {"SUCCESS"}), ("REFUND", REFUND, {"REFUND"}), ("ALL", ALL, {"SUCCESS", "REFUND"}),
])  # fmt: skip
async def test_bill_types_choose_rows_and_columns(merchant, control, bill_type, header, states):
    """20, 29 and 27 columns; summaries of four and seven."""
    await _history(merchant, control)

    got, rows, totals = _table(await _bill(merchant, f"tradebill?bill_date={DAY}&bill_type={bill_type}"))

    assert (got, {row["交易状态"] for row in rows}) == (header, states)
    assert len(totals) == (4 if bill_type == "SUCCESS" else 7)
    if bill_type == "REFUND":
        assert (rows[0]["退款申请时间"], rows[0]["退款成功时间"]) == ("2026-11-23 12:00:00", "2026-11-23 12:00:01")


async def test_gzip_is_a_file_and_the_hash_that_of_the_plain_text(merchant, control):
    """Magic number, no Content-Encoding, application/x-gzip, tartype in the URL."""
    await _history(merchant, control)
    applied = await merchant.get(f"/v3/bill/tradebill?bill_date={DAY}&tar_type=GZIP")

    fetched = await _download(merchant, applied)

    assert applied.json["download_url"].endswith("&tartype=gzip")
    assert fetched.body[:2] == b"\x1f\x8b"
    assert (fetched.headers["Content-Type"], fetched.headers.get("Content-Encoding")) == ("application/x-gzip", None)
    assert gzip.decompress(fetched.body) == await _bill(merchant)


async def test_applying_is_signed_and_the_file_is_not(merchant, control):
    """No Wechatpay-* headers and no Request-ID on the file."""
    await _history(merchant, control)
    applied = await merchant.get(f"/v3/bill/tradebill?bill_date={DAY}")

    fetched = await _download(merchant, applied)

    assert merchant.verifies(applied.headers, applied.body)
    assert (applied.json["hash_type"], fetched.signed, "Request-ID" in fetched.headers) == ("SHA1", False, False)


async def test_downloads_are_signed_like_every_request(merchant, control):
    """An unsigned download is 401."""
    await _history(merchant, control)
    applied = await merchant.get(f"/v3/bill/tradebill?bill_date={DAY}")

    refused = await _download(merchant, applied, headers={"Authorization": None})
    wide = await _download(merchant, applied, headers={"Accept": "text/plain, application/x-gzip"})

    assert (refused.status, wide.status) == (401, 200)


async def test_tokens_live_five_minutes(merchant, control):
    """Then 400 INVALID_REQUEST, signed; so is an invented token."""
    await _history(merchant, control)
    applied = await merchant.get(f"/v3/bill/tradebill?bill_date={DAY}")
    await control.advance(299)
    in_time = await _download(merchant, applied)
    await control.advance(1)

    late = await _download(merchant, applied)
    invented = await merchant.get("/v3/billdownload/file?token=invented")

    assert (in_time.status, late.status, late.json["code"]) == (200, 400, "INVALID_REQUEST")
    assert (invented.status, invented.json["code"]) == (400, "INVALID_REQUEST")
    assert merchant.verifies(late.headers, late.body)


async def test_merchants_text_is_escaped(merchant, control):
    """Commas, quotes, backslashes, backticks and control characters; refund rows differ in two of them."""
    await merchant.prepay(description="a,b'c\"d\\e`f\ng\rh\ti")
    await control.pay()
    await merchant.refund()
    await control.advance(2 * 86400)

    _, rows, _ = _table(await _bill(merchant))

    names = {row["交易状态"]: row["商品名称"] for row in rows}
    assert names["SUCCESS"] == "a\\ b\\'c\\\"d\\\\e\\`f\\ng\\rh\\ti"
    assert names["REFUND"] == "a\\ b'c\\\"d\\\\e\\140f\\ng\\rh\\ti"


async def test_bills_are_snapshots_of_nine_o_clock(merchant, control):
    """A refund that ends after generation stays PROCESSING in that day's bill for ever."""
    await merchant.prepay()
    await control.pay()
    await control.switch(refund_delay_seconds=30 * HOUR)
    await merchant.refund()
    await control.advance(5 * 86400)

    first = await _bill(merchant)
    await control("POST", "refunds/refund-1", {"status": "SUCCESS"})

    _, rows, _ = _table(first)
    assert [row["退款状态"] for row in rows if row["交易状态"] == "REFUND"] == ["PROCESSING"]
    assert await _bill(merchant) == first


@pytest.mark.parametrize("outcome, word", [("SUCCESS", "SUCCESS"), ("CLOSED", "FAIL"), ("ABNORMAL", "CHANGE")])
async def test_refund_states_have_their_own_words_in_bills(merchant, control, outcome, word):
    """SUCCESS, FAIL and CHANGE."""
    await merchant.prepay()
    await control.pay()
    await merchant.refund()
    await control("POST", "refunds/refund-1", {"status": outcome})
    await control.advance(2 * 86400)

    _, rows, _ = _table(await _bill(merchant))

    assert [row["退款状态"] for row in rows if row["交易状态"] == "REFUND"] == [word]


async def test_a_payment_belongs_to_its_beijing_day(merchant, control):
    """23:59:59 and 00:00:00 in Beijing are two bills."""
    for number in ("order-000001", "order-000002"):
        await merchant.prepay(number)
    await control.advance(12 * HOUR - 1)
    for number in ("order-000001", "order-000002"):
        await merchant.prepay(number)
    await control.pay("order-000001")
    await control.advance(1)
    await control.pay("order-000002")
    await control.advance(3 * 86400)

    _, first, _ = _table(await _bill(merchant))
    _, second, _ = _table(await _bill(merchant, "tradebill?bill_date=2026-11-24"))

    assert [[row["商户订单号"] for row in rows] for rows in (first, second)] == [["order-000001"], ["order-000002"]]


@pytest.mark.parametrize("bill_date, hours, code", [
    ("2026-11-23", 0, "INVALID_REQUEST"),
    ("2026-11-24", 0, "INVALID_REQUEST"),
    ("2026-08-22", 0, "INVALID_REQUEST"),
    ("2026-08-23", 0, "NO_STATEMENT_EXIST"),
    ("2026-11-22", 0, "NO_STATEMENT_EXIST"),
    ("2026-11-23", 20, "STATEMENT_CREATING"),
    ("2026-11-23", 21, "NO_STATEMENT_EXIST"),
    ("2026-02-30", 0, "PARAM_ERROR"),
    ("20261122", 0, "PARAM_ERROR"),
])  # fmt: skip
async def test_date_rules(merchant, control, bill_date, hours, code):
    """Not today, not older than three months, not before 09:00 of the next day, and then there may be none."""
    await control.advance(hours * HOUR)

    answers = [await merchant.get(f"/v3/bill/{kind}?bill_date={bill_date}") for kind in ("tradebill", "fundflowbill")]

    assert [(answer.status, answer.json["code"], answer.signed) for answer in answers] == [(400, code, True)] * 2


async def test_fund_flow_bill_keeps_a_running_balance(merchant, control):
    """Income, fee and refund with the balance after each; totals by direction."""
    await merchant.prepay("order-000001", amount={"total": 100000, "currency": "CNY"})
    await control.pay("order-000001")
    await merchant.refund("refund-1", 50000, amount={"refund": 50000, "total": 100000, "currency": "CNY"})
    await control.advance(2 * 86400)

    header, rows, totals = _table(await _bill(merchant, f"fundflowbill?bill_date={DAY}&tar_type=GZIP"))

    assert header == FUND
    assert [(row["业务名称"], row["收支类型"], row["收支金额(元)"], row["账户结余(元)"]) for row in rows] == [
        ("交易", "收入", "1000.00", "1000.00"), ("扣除交易手续费", "支出", "6.00", "994.00"),
        ("退款", "支出", "497.00", "497.00")]  # fmt: skip
    assert totals == {
        "资金流水总笔数": "3.0", "收入笔数": "1.0", "收入金额": "1000.0", "支出笔数": "2.0",
        "支出金额": "503.0"}  # fmt: skip


async def test_a_closed_refund_comes_back_to_the_balance(merchant, control):
    """On the day it was closed."""
    await merchant.prepay()
    await control.pay()
    await merchant.refund(fen=40)
    await control("POST", "refunds/refund-1", {"status": "CLOSED"})
    await control.advance(2 * 86400)

    _, rows, _ = _table(await _bill(merchant, f"fundflowbill?bill_date={DAY}"))

    assert [row["业务名称"] for row in rows][-2:] == ["退款", "退款失败退回"]
    assert rows[-1]["账户结余(元)"] == "0.99"


@pytest.mark.parametrize("account", ["OPERATION", "FEES"])
async def test_other_accounts_never_move(merchant, control, account):
    """NO_STATEMENT_EXIST is the normal answer for them."""
    await _history(merchant, control)

    answer = await merchant.get(f"/v3/bill/fundflowbill?bill_date={DAY}&account_type={account}")

    assert (answer.status, answer.json["code"]) == (400, "NO_STATEMENT_EXIST")


@pytest.mark.parametrize("kind", ["damaged_bill", "truncated"])
async def test_a_damaged_file_does_not_match_its_hash(merchant, control, kind):
    """Downloaded again it is whole."""
    await _history(merchant, control)
    applied = await merchant.get(f"/v3/bill/tradebill?bill_date={DAY}")
    await control.fault("download", kind)

    if kind == "truncated":
        with pytest.raises(Exception, match="closed|599"):
            await _download(merchant, applied)
    else:
        damaged = await _download(merchant, applied)
        assert hashlib.sha1(damaged.body).hexdigest() != applied.json["hash_value"]

    again = await _download(merchant, applied)
    assert hashlib.sha1(again.body).hexdigest() == applied.json["hash_value"]


async def test_bill_faults_answer_instead_of_the_bill(merchant, control):
    """`bill` means both kinds; statement_creating and no_statement by date."""
    await _history(merchant, control)
    await control.fault("bill", "statement_creating", match=DAY)
    await control.fault("fund_bill", "no_statement")

    codes = [
        (await merchant.get(f"/v3/bill/{kind}?bill_date={DAY}")).json.get("code")
        for kind in ("tradebill", "fundflowbill", "tradebill")
    ]

    assert codes == ["STATEMENT_CREATING", "NO_STATEMENT_EXIST", None]
