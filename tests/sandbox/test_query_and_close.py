"""Query and close in every state an order can be in (section 6)."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest


async def test_unpaid_order_has_the_short_shape_of_captures(merchant):
    """No trade_type, no transaction_id, and an amount of two members."""
    await merchant.prepay()

    answer = await merchant.query()

    facts = merchant.facts
    assert {
        "amount": {"payer_currency": "CNY", "total": 100},
        "appid": facts.appid,
        "mchid": facts.mchid,
        "out_trade_no": "order-000001",
        "promotion_detail": [],
        "scene_info": {"device_id": ""},
        "trade_state": "NOTPAY",
        "trade_state_desc": "订单未支付",
    } == answer.json
    assert sorted(answer.json) == list(answer.json)


async def test_paid_order_is_found_by_both_numbers(merchant, control):
    """The whole shape of section 6.1, the same by out_trade_no and by transaction_id."""
    await merchant.prepay(attach="附加")
    await control.pay(openid="oUser")

    by_number = await merchant.query()
    transaction_id = by_number.json["transaction_id"]
    by_id = await merchant.get(f"/v3/pay/transactions/id/{transaction_id}?mchid={merchant.facts.mchid}")

    assert by_number.json == by_id.json
    assert re.fullmatch(r"4200\d{6}20261123\d{10}", transaction_id)
    paid = by_id.json
    assert paid["amount"] == {"total": 100, "payer_total": 100, "currency": "CNY", "payer_currency": "CNY"}
    assert (paid["trade_state"], paid["trade_type"], paid["bank_type"], paid["attach"], paid["payer"]["openid"]) == (
        "SUCCESS",
        "NATIVE",
        "OTHERS",
        "附加",
        "oUser",
    )
    assert paid["success_time"] == "2026-11-23T12:00:00+08:00"


async def test_h5_is_called_mweb(merchant, control):
    """The trade type of H5 is MWEB."""
    await merchant.prepay(
        product="h5", scene_info={"payer_client_ip": "1.2.3.4", "device_id": "POS", "h5_info": {"type": "Wap"}}
    )
    await control.pay()

    paid = (await merchant.query()).json

    assert (paid["trade_type"], paid["scene_info"]) == ("MWEB", {"device_id": "POS"})


async def test_coupon_lowers_payer_total_and_is_explained(merchant, control):
    """promotion_detail accounts for the difference."""
    await merchant.prepay()
    await control.pay(payer_total=70)

    paid = (await merchant.query()).json

    assert (paid["amount"]["total"], paid["amount"]["payer_total"]) == (100, 70)
    assert [item["amount"] for item in paid["promotion_detail"]] == [30]


async def test_a_refund_turns_the_state_to_refund(merchant, control):
    """Even a partial one, as soon as it is accepted."""
    await merchant.prepay()
    await control.pay()
    await merchant.refund(fen=1)

    order = (await merchant.query()).json

    assert (order["trade_state"], order["trade_state_desc"]) == ("REFUND", "订单发生过退款，退款详情请查询退款单")
    assert order["transaction_id"]


async def test_unknown_numbers_are_order_not_exist(merchant, control):
    """By either number; a malformed number is PARAM_ERROR in the path."""
    await merchant.prepay()
    unpaid = await merchant.get(f"/v3/pay/transactions/id/4200000000?mchid={merchant.facts.mchid}")
    malformed = await merchant.query("no")

    assert (unpaid.status, unpaid.json["code"]) == (404, "ORDER_NOT_EXIST")
    assert (malformed.status, malformed.json["detail"]["location"]) == (400, "uri_template")


async def test_numbers_with_odd_characters_are_percent_encoded(merchant):
    """Bar and star are allowed and must be signed in their encoded form."""
    await merchant.prepay("order|a*b")

    answer = await merchant.query(quote("order|a*b", safe=""))

    assert (answer.status, answer.json["out_trade_no"]) == (200, "order|a*b")


async def test_close_can_be_repeated(merchant, control):
    """204 each time, CLOSED from then on, and no payment is possible."""
    await merchant.prepay()

    answers = [await merchant.close_order() for _ in range(3)]

    assert [answer.status for answer in answers] == [204, 204, 204]
    order = (await merchant.query()).json
    assert (order["trade_state"], order["trade_state_desc"]) == ("CLOSED", "订单已关闭")
    refused = await control("POST", "pay", {"out_trade_no": "order-000001"})
    assert (refused.status, refused.json["code"]) == (409, "ORDER_CLOSED")
    assert (await merchant.query()).json["trade_state"] == "CLOSED"


async def test_close_of_a_paid_order_is_refused(merchant, control):
    """Paid or refunded, it stays what it is."""
    await merchant.prepay()
    await control.pay()

    answer = await merchant.close_order()

    assert (answer.status, answer.json["code"], answer.signed) == (400, "ORDERPAID", True)
    assert (await merchant.query()).json["trade_state"] == "SUCCESS"


async def test_close_of_an_unknown_number_burns_it(merchant, control):
    """204, as was measured once; the number can never be used again, nor be found."""
    closed = await merchant.close_order("never-seen")
    prepay = await merchant.prepay("never-seen")
    query = await merchant.query("never-seen")

    assert closed.status == 204
    assert (prepay.status, prepay.json["code"]) == (400, "INVALID_REQUEST")
    assert (query.status, query.json["code"]) == (404, "ORDER_NOT_EXIST")
    assert ((await control.book())["burnt"], (await control.book())["orders"]) == (["never-seen"], [])


async def test_close_of_an_unknown_number_can_be_a_404(merchant, control):
    """The other reading of the documents, behind a switch; then nothing is burnt."""
    await control.switch(close_unknown="not_found")

    closed = await merchant.close_order("never-seen")
    prepay = await merchant.prepay("never-seen")

    assert (closed.status, closed.json["code"], prepay.status) == (404, "ORDER_NOT_EXIST", 200)


@pytest.mark.parametrize(
    "body, words",
    [
        ({}, "输入源“/uri_template/mchid”映射到字段“直连商户号”必填性规则校验失败，此字段为必填项"),
        ({"mchid": "1900000001"}, "mchid不匹配"),
        ({"mchid": None}, "null"),
        ({"mchid": "MCHID", "out_trade_no": "order-000001"}, "额外参数"),
    ],
)
async def test_close_body_is_only_the_mchid(merchant, body, words):
    """Whatever is wrong with it, the order stays open."""
    await merchant.prepay()
    body = {name: merchant.facts.mchid if value == "MCHID" else value for name, value in body.items()}

    answer = await merchant.post("/v3/pay/transactions/out-trade-no/order-000001/close", body)

    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    assert words in answer.json["message"]
    assert (await merchant.query()).json["trade_state"] == "NOTPAY"


async def test_expiry_blocks_the_payment_and_keeps_notpay(merchant, control):
    """time_expire closes nothing; the merchant has to."""
    await merchant.prepay(time_expire="2026-11-23T12:30:00+08:00")
    await control.advance(1800)

    paid = await control("POST", "pay", {"out_trade_no": "order-000001"})

    assert (paid.status, paid.json["code"]) == (409, "ORDER_EXPIRED")
    assert (await merchant.query()).json["trade_state"] == "NOTPAY"
    assert (await merchant.close_order()).status == 204


async def test_a_code_lives_two_hours_and_is_renewed_by_the_same_prepay(merchant, control):
    """After that the payer needs a new code; the order itself is still payable."""
    await merchant.prepay()
    await control.advance(7200)
    late = await control("POST", "pay", {"out_trade_no": "order-000001"})
    await merchant.prepay()

    paid = await control.pay()

    assert (late.status, late.json["code"]) == (409, "CODE_EXPIRED")
    assert paid["trade_state"] == "SUCCESS"


async def test_an_h5_url_lives_five_minutes(merchant, control):
    """Shorter than all others."""
    answer = await merchant.prepay(product="h5", scene_info={"payer_client_ip": "1.2.3.4", "h5_info": {"type": "Wap"}})
    await control.advance(300)

    late = await control("POST", "pay", {"h5_url": answer.json["h5_url"]})

    assert (late.status, late.json["code"]) == (409, "CODE_EXPIRED")
    assert (await merchant.query()).json["trade_state"] == "NOTPAY"


async def test_unpaid_orders_close_by_themselves_after_seven_days(merchant, control):
    """Just before they are open, then CLOSED; a longer time_expire keeps its order open."""
    await merchant.prepay()
    await merchant.prepay("order-longer", time_expire="2026-12-05T12:00:00+08:00")
    await control.advance(7 * 86400 - 1)
    before = (await merchant.query()).json["trade_state"]

    await control.advance(1)

    assert (before, (await merchant.query()).json["trade_state"]) == ("NOTPAY", "CLOSED")
    assert (await merchant.query("order-longer")).json["trade_state"] == "NOTPAY"
