"""Prepay: what is accepted, what comes back, what is refused and how it is worded (section 5)."""

from __future__ import annotations

import re

import pytest

NATIVE = "/v3/pay/transactions/native"
STORE = {"id": "1", "name": "店", "area_code": "440305", "address": "路"}


async def _nothing_moved(control):
    book = await control.book()
    assert (book["orders"], book["refunds"], book["notifications"]) == ([], [], [])


@pytest.mark.parametrize(
    "product, more, member, shape",
    [
        ("native", {}, "code_url", r"weixin://wxpay/bizpayurl\?pr=[0-9A-Za-z]{9}"),
        ("jsapi", {"payer": {"openid": "oUser"}}, "prepay_id", r"wx[0-9a-f]{34}"),
        ("app", {}, "prepay_id", r"wx[0-9a-f]{34}"),
        (
            "h5",
            {"scene_info": {"payer_client_ip": "1.2.3.4", "h5_info": {"type": "Wap"}}},
            "h5_url",
            r"https://wx\.tenpay\.com/cgi-bin/mmpayweb-bin/checkmweb\?prepay_id=wx[0-9a-f]{34}&package=\d{10}",
        ),
    ],
)
async def test_each_product_gives_its_own_code(merchant, product, more, member, shape):
    """Native a code_url, JSAPI and APP a prepay_id, H5 an h5_url, and nothing else."""
    answer = await merchant.prepay(product=product, **more)

    assert (200, [member]) == (answer.status, list(answer.json))
    assert re.fullmatch(shape, answer.json[member])


async def test_everything_optional_is_accepted(merchant, control):
    """All members of section 5.2 together are a good request and are kept as they were."""
    body = merchant.prepay_body(
        time_expire="2026-11-24T12:00:00+08:00",
        attach="附加",
        goods_tag="WXG",
        support_fapiao=True,
        settle_info={"profit_sharing": False},
        scene_info={"payer_client_ip": "::1", "device_id": "d", "store_info": STORE},
        detail={
            "cost_price": 0,
            "invoice_id": "i",
            "goods_detail": [
                {
                    "merchant_goods_id": "1",
                    "wechatpay_goods_id": "2",
                    "goods_name": "茶",
                    "quantity": 1,
                    "unit_price": 100,
                }
            ],
        },
    )

    answer = await merchant.post(NATIVE, body)

    assert answer.status == 200
    assert body == (await control.book())["orders"][0]["request"]


@pytest.mark.parametrize(
    "changes, pointer, words",
    [
        ({"out_trade_no": "short"}, "/out_trade_no", "字节数 5，小于最小值 6"),
        ({"out_trade_no": "x" * 33}, "/out_trade_no", "字节数 33，大于最大值 32"),
        ({"out_trade_no": "order 0001"}, "/out_trade_no", "格式不正确"),
        ({"out_trade_no": 123456}, "/out_trade_no", "必须为字符串"),
        ({"out_trade_no": None}, "/out_trade_no", "此字段为必填项"),
        ({"description": "茶" * 43}, "/description", "字节数 129，大于最大值 127"),
        ({"description": ""}, "/description", "字节数 0，小于最小值 1"),
        ({"description": "tea \U0001f375"}, "/description", "四字节"),
        ({"attach": "a" * 129}, "/attach", "字节数 129，大于最大值 128"),
        ({"amount": {"total": 0}}, "/amount/total", "值低于最小值 1"),
        ({"amount": {"total": 1.0}}, "/amount/total", "必须为整数"),
        ({"amount": {"total": True}}, "/amount/total", "必须为整数"),
        ({"amount": {"total": "1"}}, "/amount/total", "必须为整数"),
        ({"amount": {}}, "/amount/total", "此字段为必填项"),
        ({"amount": {"total": 1, "currency": "USD"}}, "/amount/currency", "不在枚举范围内"),
        ({"amount": 1}, "/amount", "必须为对象"),
        ({"time_expire": "2026-11-24 12:00:00"}, "/time_expire", "RFC3339"),
        ({"time_expire": "2026-11-24T12:00:00"}, "/time_expire", "RFC3339"),
        ({"notify_url": "http://h"}, "/notify_url", "完整URL"),
        ({"notify_url": "ftp://h/x"}, "/notify_url", "完整URL"),
        ({"notify_url": "https://h/x?a=1"}, "/notify_url", "完整URL"),
        ({"notify_url": "https://h/" + "x" * 246}, "/notify_url", "大于最大值 255"),
        ({"payer": {"openid": "o"}}, "/payer", "额外参数"),
        ({"mch_id": "1"}, "/mch_id", "额外参数"),
        ({"scene_info": {"payer_client_ip": "1.2.3.4", "h5_info": {"type": "Wap"}}}, "/scene_info/h5_info", "额外参数"),
        ({"scene_info": {"device_id": "1"}}, "/scene_info/payer_client_ip", "此字段为必填项"),
        ({"detail": {"goods_detail": []}}, "/detail/goods_detail", "至少含一个元素"),
        (
            {"detail": {"goods_detail": [{"merchant_goods_id": "1", "quantity": 0, "unit_price": 1}]}},
            "/detail/goods_detail/0/quantity",
            "值低于最小值 1",
        ),
        ({"support_fapiao": 1}, "/support_fapiao", "必须为布尔值"),
    ],
)
async def test_param_error_names_field_location_and_value(merchant, control, changes, pointer, words):
    """The message follows WeChat's pattern, lengths count bytes, and nothing is stored."""
    answer = await merchant.prepay(**changes)

    assert (answer.status, answer.json["code"], answer.signed) == (400, "PARAM_ERROR", True)
    assert answer.json["message"].startswith(f"输入源“/body{pointer}”映射到")
    assert words in answer.json["message"]
    assert ("body", pointer) == (answer.json["detail"]["location"], answer.json["detail"]["field"])
    await _nothing_moved(control)


async def test_real_messages_are_reproduced_to_the_letter(merchant):
    """The two messages that were captured from the real gateway."""
    short = await merchant.prepay("1")
    low = await merchant.prepay(amount={"total": 0})

    assert (
        short.json["message"]
        == "输入源“/body/out_trade_no”映射到值字段“商户订单号”字符串规则校验失败，字节数 1，小于最小值 6"
    )
    assert low.json["message"] == "输入源“/body/amount/total”映射到数值字段“总金额”规则校验失败，值低于最小值 1"
    assert (short.json["detail"]["value"], low.json["detail"]["value"]) == ("1", 0)


async def test_null_is_refused_in_every_member(merchant, control):
    """null is not allowed in requests, not even on optional members."""
    for name in ("attach", "time_expire", "detail"):
        answer = await merchant.post(NATIVE, merchant.prepay_body() | {name: None})

        assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    await _nothing_moved(control)


async def test_four_byte_characters_are_refused_also_when_escaped(merchant, control):
    """A supplementary character written as two \\u escapes is still one."""
    body = b'{"out_trade_no":"order-000001","attach":"\\ud83c\\udf75"}'

    answer = await merchant.send("POST", NATIVE, raw=body)

    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    await _nothing_moved(control)


async def test_detail_is_limited_to_6144_bytes(merchant, control):
    """The compact form of detail counts."""
    goods = {"merchant_goods_id": "1", "goods_name": "g" * 256, "quantity": 1, "unit_price": 1}

    answer = await merchant.prepay(detail={"goods_detail": [goods] * 20})

    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    await _nothing_moved(control)


async def test_product_foreign_and_required_members(merchant, control):
    """JSAPI needs an openid, H5 its scene; neither may be missing."""
    jsapi = await merchant.prepay(product="jsapi")
    h5 = await merchant.prepay(product="h5")
    scene = await merchant.prepay(product="h5", scene_info={"payer_client_ip": "1.2.3.4"})

    assert [answer.json["detail"]["field"] for answer in (jsapi, h5, scene)] == [
        "/payer",
        "/scene_info",
        "/scene_info/h5_info",
    ]
    await _nothing_moved(control)


async def test_mchid_and_appid_must_be_the_callers(merchant, control):
    """Another mchid contradicts the header; another appid is not bound to the mchid."""
    mchid = await merchant.prepay(mchid="1900000001")
    appid = await merchant.prepay(appid="wx0000000000000000")

    assert (mchid.status, mchid.json["code"]) == (400, "PARAM_ERROR")
    assert mchid.json["message"] == "http header中的mchid与post payload中的mchid不匹配"
    assert (appid.status, appid.json["code"]) == (400, "APPID_MCHID_NOT_MATCH")
    await _nothing_moved(control)


async def test_the_same_prepay_again_gives_a_new_code_for_the_same_order(merchant, control):
    """Key order does not matter; the earlier code is void."""
    first = await merchant.prepay()
    body = dict(reversed(merchant.prepay_body().items()))

    again = await merchant.post(NATIVE, body)

    assert again.status == 200
    assert first.json["code_url"] != again.json["code_url"]
    orders = (await control.book())["orders"]
    assert [(order["out_trade_no"], order["prepay_count"]) for order in orders] == [("order-000001", 2)]
    old = await control("POST", "pay", {"code_url": first.json["code_url"]})
    assert (old.status, old.json["code"]) == (409, "CODE_EXPIRED")
    assert (await merchant.query()).json["trade_state"] == "NOTPAY"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"total": 101, "currency": "CNY"}},
        {"amount": {"total": 100}},
        {"description": "其他"},
        {"attach": "x"},
        {"notify_url": "http://127.0.0.1:9/other"},
    ],
)
async def test_a_changed_prepay_is_refused_and_the_first_stands(merchant, control, changes):
    """403 OUT_TRADE_NO_USED, or by the switch 400 INVALID_REQUEST; the order is untouched."""
    await merchant.prepay()
    before = (await control.book())["orders"]

    refused = await merchant.prepay(**changes)
    await control.switch(reentry_refusal="INVALID_REQUEST")
    otherwise = await merchant.prepay(**changes)

    assert (refused.status, refused.json["code"]) == (403, "OUT_TRADE_NO_USED")
    assert (otherwise.status, otherwise.json["code"]) == (400, "INVALID_REQUEST")
    assert otherwise.headers["Request-ID"].endswith("-268498688")
    assert before == (await control.book())["orders"]


async def test_another_product_under_the_same_number_is_refused(merchant):
    """Native and APP have the same members, yet a number belongs to one product."""
    await merchant.prepay()

    answer = await merchant.prepay(product="app")

    assert (answer.status, answer.json["code"]) == (403, "OUT_TRADE_NO_USED")


async def test_only_the_first_time_expire_counts(merchant, control):
    """A re-order with another time_expire is the same order with the first expiry."""
    await merchant.prepay(time_expire="2026-11-23T13:00:00+08:00")

    again = await merchant.prepay(time_expire="2026-11-23T14:00:00+08:00")

    assert again.status == 200
    assert (await control.book())["orders"][0]["payable_until"] == "2026-11-23T13:00:00+08:00"


@pytest.mark.parametrize(
    "wanted, payable_until",
    [
        (None, "2026-11-30T12:00:00+08:00"),
        ("2026-11-23T12:00:10+08:00", "2026-11-23T12:01:00+08:00"),
        ("2020-01-01T00:00:00+08:00", "2026-11-23T12:01:00+08:00"),
        ("2026-11-23T05:00:00Z", "2026-11-23T13:00:00+08:00"),
        ("2027-11-23T12:00:00+08:00", "2026-12-08T12:00:00+08:00"),
    ],
)
async def test_time_expire_is_raised_to_a_minute_and_cut_to_fifteen_days(merchant, control, wanted, payable_until):
    """Without it an order is payable for seven days."""
    await merchant.prepay(time_expire=wanted)

    assert payable_until == (await control.book())["orders"][0]["payable_until"]


async def test_paid_closed_and_expired_orders_take_no_further_prepay(merchant, control):
    """ORDERPAID (or ORDER_PAID by the switch) and ORDER_CLOSED, each 400."""
    for number in ("order-paid", "order-closed"):
        await merchant.prepay(number)
    await merchant.prepay("order-expired", time_expire="2026-11-23T12:30:00+08:00")
    await control.pay("order-paid")
    await merchant.close_order("order-closed")
    await control.advance(1800)

    answers = [
        await merchant.prepay("order-paid"),
        await merchant.prepay("order-closed"),
        await merchant.prepay("order-expired", time_expire="2026-11-23T12:30:00+08:00"),
    ]
    await control.switch(paid_refusal="ORDER_PAID")
    spelt = await merchant.prepay("order-paid")

    assert [(answer.status, answer.json["code"]) for answer in answers] == [
        (400, "ORDERPAID"),
        (400, "ORDER_CLOSED"),
        (400, "ORDER_CLOSED"),
    ]
    assert spelt.json["code"] == "ORDER_PAID"
    assert [order["trade_state"] for order in (await control.book())["orders"]] == ["SUCCESS", "CLOSED", "NOTPAY"]
