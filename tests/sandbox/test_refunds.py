"""Refunds: what is accepted, how they end, and every rule that refuses one (section 7)."""

from __future__ import annotations

import base64
import re

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

YEAR = 365 * 86400
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


async def _paid(merchant, control, out_trade_no="order-000001", **more):
    await merchant.prepay(out_trade_no)
    return await control.pay(out_trade_no, **more)


async def _refunds(control):
    return [(item["out_refund_no"], item["status"]) for item in (await control.book())["refunds"]]


async def test_accepted_refund_is_processing_and_then_succeeds(merchant, control):
    """200 means accepted; about a second later it is SUCCESS with its time."""
    paid = await _paid(merchant, control)

    accepted = await merchant.refund(reason="不要了", funds_account="AVAILABLE")
    await control.advance(1)
    later = await merchant.query_refund()

    view = accepted.json
    assert (accepted.status, view["status"], "success_time" in view) == (200, "PROCESSING", False)
    assert re.fullmatch(r"50\d{8}20261123\d{11}", view["refund_id"])
    assert (paid["transaction_id"], "order-000001", "AVAILABLE") == (
        view["transaction_id"],
        view["out_trade_no"],
        view["funds_account"],
    )
    assert tuple(view["amount"][name] for name in ("total", "refund", "from", "refund_fee")) == (100, 40, [], 0)
    assert (later.json["status"], later.json["success_time"]) == ("SUCCESS", "2026-11-23T12:00:01+08:00")


async def test_the_same_refund_again_refunds_once(merchant, control):
    """Same number, same content: the same refund in its present state."""
    await _paid(merchant, control)
    first = await merchant.refund()
    await control.advance(1)

    again = await merchant.refund()

    assert (first.json["refund_id"], "SUCCESS") == (again.json["refund_id"], again.json["status"])
    assert await _refunds(control) == [("refund-1", "SUCCESS")]


@pytest.mark.parametrize(
    "changes",
    [
        {"fen": 41},
        {"reason": "anders"},
        {"out_trade_no": "order-000002"},
        {"amount": {"refund": 40, "total": 101, "currency": "CNY"}},
        {"notify_url": None},
    ],
)
async def test_changed_content_under_the_same_number_is_refused(merchant, control, changes):
    """400 INVALID_REQUEST, and the first refund stands."""
    await _paid(merchant, control)
    await merchant.refund()

    answer = await merchant.refund(**changes)

    assert (answer.status, answer.json["code"], answer.signed) == (400, "INVALID_REQUEST", True)
    assert "与之前请求不一致" in answer.json["message"]
    assert [item["amount"]["refund"] for item in (await control.book())["refunds"]] == [40]


@pytest.mark.parametrize(
    "changes, status, code",
    [
        ({"amount": {"refund": 40, "total": 99, "currency": "CNY"}}, 400, "INVALID_REQUEST"),
        ({"amount": {"refund": 101, "total": 100, "currency": "CNY"}}, 400, "INVALID_REQUEST"),
        ({"amount": {"refund": 0, "total": 100, "currency": "CNY"}}, 400, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 100}}, 400, "PARAM_ERROR"),
        (
            {"amount": {"refund": 5, "total": 100, "currency": "CNY", "from": [{"account": "AVAILABLE", "amount": 4}]}},
            400,
            "INVALID_REQUEST",
        ),
        ({"out_trade_no": "order-000002"}, 404, "RESOURCE_NOT_EXISTS"),
        ({"out_trade_no": None}, 400, "PARAM_ERROR"),
        ({"transaction_id": "4200000000202611230000000000"}, 404, "RESOURCE_NOT_EXISTS"),
        ({"reason": "茶" * 27}, 400, "PARAM_ERROR"),
        ({"funds_account": "BASIC"}, 400, "PARAM_ERROR"),
        ({"mchid": "1900000001"}, 400, "PARAM_ERROR"),
        ({"out_refund_no": "with space"}, 400, "PARAM_ERROR"),
    ],
)
async def test_a_refund_that_breaks_a_rule_moves_nothing(merchant, control, changes, status, code):
    """The order stays SUCCESS and no refund exists."""
    await _paid(merchant, control)

    answer = await merchant.refund(**changes)

    assert (status, code, True) == (answer.status, answer.json["code"], answer.signed)
    assert await _refunds(control) == []
    assert (await merchant.query()).json["trade_state"] == "SUCCESS"


async def test_unpaid_orders_cannot_be_refunded(merchant, control):
    """404, as for an order that does not exist."""
    await merchant.prepay()

    answer = await merchant.refund()

    assert (answer.status, answer.json["code"]) == (404, "RESOURCE_NOT_EXISTS")
    assert await _refunds(control) == []


async def test_two_numbers_must_name_the_same_order(merchant, control):
    """transaction_id and out_trade_no of different orders contradict each other."""
    await _paid(merchant, control)
    other = await _paid(merchant, control, "order-000002")

    differ = await merchant.refund(transaction_id=other["transaction_id"])
    alone = await merchant.refund(out_trade_no=None, transaction_id=other["transaction_id"])

    assert (differ.status, differ.json["code"]) == (400, "INVALID_REQUEST")
    assert (alone.status, alone.json["out_trade_no"]) == (200, "order-000002")


async def test_refunds_never_exceed_the_order(merchant, control):
    """Refunds under way count; a closed one gives its amount back."""
    await _paid(merchant, control)
    await merchant.refund("refund-1", 60)

    too_much = await merchant.refund("refund-2", 41)
    await control("POST", "refunds/refund-1", {"status": "CLOSED"})
    whole = await merchant.refund("refund-3", 100)

    assert (too_much.status, too_much.json["code"], whole.status) == (400, "INVALID_REQUEST", 200)
    assert await _refunds(control) == [("refund-1", "CLOSED"), ("refund-3", "PROCESSING")]


async def test_fifty_refunds_are_the_most(merchant, control):
    """The fifty-first is refused although money is left."""
    await _paid(merchant, control)
    statuses = [(await merchant.refund(f"refund-{number}", 1)).status for number in range(50)]

    one_more = await merchant.refund("refund-50", 1)

    assert statuses == [200] * 50
    assert (one_more.status, one_more.json["code"]) == (400, "INVALID_REQUEST")
    assert len(await _refunds(control)) == 50


@pytest.mark.parametrize("age, status", [(YEAR, 200), (YEAR + 1, 400)])
async def test_refunds_are_possible_for_365_days(merchant, control, age, status):
    """Counted from success_time."""
    await _paid(merchant, control)
    await control.advance(age)

    answer = await merchant.refund()

    assert status == answer.status
    assert (status == 200) == bool(await _refunds(control))


async def test_one_minute_between_refunds_is_a_switch(merchant, control):
    """Advice of the documents; by default it is not enforced."""
    await _paid(merchant, control)
    await merchant.refund("refund-1", 1)
    calm = await merchant.refund("refund-2", 1)
    await control.switch(refund_minimum_interval_seconds=60)

    soon = await merchant.refund("refund-3", 1)
    await control.advance(60)
    later = await merchant.refund("refund-3", 1)

    assert (calm.status, soon.status, soon.json["code"], later.status) == (200, 403, "RULE_LIMIT", 200)


async def test_the_payers_share_is_returned_in_proportion_and_to_the_fen(merchant, control):
    """payer_refund is rounded; the last refund returns exactly what is left."""
    await _paid(merchant, control, payer_total=67)

    shares = [
        (await merchant.refund(f"refund-{n}", 33 if n < 3 else 1)).json["amount"]["payer_refund"] for n in range(4)
    ]

    assert shares == [22, 22, 22, 1]
    amount = (await merchant.query_refund("refund-0")).json["amount"]
    assert (amount["refund"], amount["payer_refund"], amount["discount_refund"]) == (33, 22, 11)


async def test_unknown_refund_is_resource_not_exists(merchant):
    """404, signed, with the captured message."""
    answer = await merchant.query_refund("nothing")

    assert (answer.status, answer.json["code"], answer.json["message"], answer.signed) == (
        404,
        "RESOURCE_NOT_EXISTS",
        "退款单不存在",
        True,
    )


@pytest.mark.parametrize("outcome", ["SUCCESS", "CLOSED", "ABNORMAL"])
async def test_a_refund_can_be_ended_by_hand(merchant, control, outcome):
    """The control call ends it at once and the agenda does not end it again."""
    await _paid(merchant, control)
    await merchant.refund()

    await control("POST", "refunds/refund-1", {"status": outcome})
    await control.advance(10)

    assert outcome == (await merchant.query_refund()).json["status"]
    again = await control("POST", "refunds/refund-1", {"status": "CLOSED"})
    assert again.status == 409
    assert [("refund-1", outcome)] == await _refunds(control)


async def test_a_held_refund_waits_and_closes_after_seven_days(merchant, control):
    """PROCESSING by hand, or the switch `hold`: without funds WeChat closes it in the end."""
    await _paid(merchant, control)
    await merchant.refund("refund-1", 1)
    await control("POST", "refunds/refund-1", {"status": "PROCESSING"})
    await control.switch(refund_outcome="hold")
    await merchant.refund("refund-2", 1)

    await control.advance(7 * 86400 - 1)
    waiting = await _refunds(control)
    await control.advance(1)

    assert waiting == [("refund-1", "PROCESSING"), ("refund-2", "PROCESSING")]
    assert await _refunds(control) == [("refund-1", "CLOSED"), ("refund-2", "CLOSED")]


def _sealed(merchant, text):
    key = serialization.load_pem_public_key(merchant.facts.public_key_path.read_bytes())
    return base64.b64encode(key.encrypt(text.encode(), OAEP)).decode()


async def _abnormal(merchant, control):
    await _paid(merchant, control)
    accepted = await merchant.refund()
    await control("POST", "refunds/refund-1", {"status": "ABNORMAL"})
    return f"/v3/refund/domestic/refunds/{accepted.json['refund_id']}/apply-abnormal-refund"


async def test_abnormal_refund_goes_to_the_users_card(merchant, control):
    """The two sensitive fields are decrypted; the refund succeeds later to that card."""
    target = await _abnormal(merchant, control)
    body = {
        "out_refund_no": "refund-1",
        "type": "USER_BANK_CARD",
        "bank_type": "ICBC_DEBIT",
        "bank_account": _sealed(merchant, "6222020000001234"),
        "real_name": _sealed(merchant, "张三"),
    }

    answer = await merchant.post(target, body, headers={"Wechatpay-Serial": merchant.facts.public_key_id})
    await control.advance(1)
    done = (await merchant.query_refund()).json

    assert (answer.status, answer.json["status"]) == (200, "PROCESSING")
    assert (done["status"], done["channel"], done["user_received_account"]) == (
        "SUCCESS",
        "OTHER_BANKCARD",
        "ICBC_DEBIT借记卡1234",
    )


@pytest.mark.parametrize("what", ["no serial", "plain text", "other hash", "missing", "not abnormal", "other refund"])
async def test_abnormal_refund_refuses_what_is_wrong(merchant, control, what):
    """Serial, encryption (OAEP with SHA-1), members, state and number are all checked."""
    target = await _abnormal(merchant, control)
    name = _sealed(merchant, "张三")
    if what == "plain text":
        name = base64.b64encode("张三".encode()).decode()
    if what == "other hash":
        key = serialization.load_pem_public_key(merchant.facts.public_key_path.read_bytes())
        name = base64.b64encode(
            key.encrypt(b"x", padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None))
        ).decode()
    body = {
        "out_refund_no": "refund-1",
        "type": "USER_BANK_CARD",
        "bank_type": "ICBC_DEBIT",
        "bank_account": _sealed(merchant, "6222"),
        "real_name": name,
    }
    if what == "missing":
        del body["bank_type"]
    if what == "other refund":
        body["out_refund_no"] = "refund-2"
    if what == "not abnormal":
        await control("POST", "refunds/refund-1", {"status": "SUCCESS"})
    before = await _refunds(control)
    serial = None if what == "no serial" else merchant.facts.public_key_id

    answer = await merchant.post(target, body, headers={"Wechatpay-Serial": serial})

    assert (answer.status, answer.signed) == (400, True)
    assert before == await _refunds(control)
