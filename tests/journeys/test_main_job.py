"""Create, pay, notify, query, refund: end to end."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.house import second_till, until


def arrows(house, number):
    return [(e["subject"], e["from"], e["to"], e["source"]) for e in house.events(number) if e["to"]]


def test_a_native_order_is_created_paid_announced_and_refunded(house):
    """The whole status flow, on WeChat's word, with every arrow in the history."""
    created = house.create(out_trade_no="MAINJOB001")
    house.act("pay", {"out_trade_no": "MAINJOB001", "wait": True})
    paid = house.shown("MAINJOB001")
    refund = house.refund("MAINJOB001", 400, out_refund_no="MAINREF1")
    house.act("refunds/MAINREF1", {"status": "SUCCESS", "wait": True})
    after = house.shown("MAINJOB001")

    assert created.status == 201
    assert created.json["code_url"].startswith("weixin://wxpay/bizpayurl")
    assert (paid["status"], paid["payments"][0]["status"]) == ("PAID", "SUCCESS")
    assert paid["livemode"] is False
    assert refund.status == 201
    assert after["amount"] == {"total": 1000, "currency": "CNY", "payer_total": 1000, "refunded": 400}
    assert arrows(house, "MAINJOB001") == [
        ("order", None, "CREATED", "api"),
        ("payment", None, "INIT", "api"),
        ("payment", "INIT", "PROCESSING", "api"),
        ("order", "CREATED", "PAYING", "api"),
        ("payment", "PROCESSING", "SUCCESS", "notification"),
        ("order", "PAYING", "PAID", "notification"),
        ("refund", None, "REFUND_INIT", "api"),
        ("refund", "REFUND_INIT", "REFUNDING", "api"),
        ("refund", "REFUNDING", "REFUND_SUCCESS", "notification"),
    ]


@pytest.mark.parametrize(
    ("trade_type", "more", "wanted"),
    [
        ("JSAPI", {"payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}}, "pay_params"),
        ("APP", {}, "pay_params"),
        ("H5", {"scene_info": {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}}, "h5_url"),
    ],
)
def test_every_trade_type_gives_what_the_payers_client_needs(house, trade_type, more, wanted):
    """The simulator checks the signed parameters when the payer pays with them."""
    created = house.create(trade_type=trade_type, **more)
    number = created.json["out_trade_no"]
    body = {"out_trade_no": number, "wait": True}
    if wanted == "pay_params":
        body["pay_params"] = created.json["pay_params"]
    house.act("pay", body)

    assert created.status == 201
    assert created.json[wanted]
    assert house.shown(number)["status"] == "PAID"


def test_a_repeat_with_the_same_content_is_the_same_order_with_its_parameters(house):
    """200, the same code_url, one prepay at WeChat."""
    first = house.create(out_trade_no="REPEAT0001")
    again = house.create(out_trade_no="REPEAT0001")

    assert (first.status, again.status) == (201, 200)
    assert first.json["code_url"] == again.json["code_url"]
    assert house.book("REPEAT0001")["orders"][0]["prepay_count"] == 1


def test_a_repeat_with_other_content_is_refused_and_names_what_differs(house):
    """409, and nothing moved."""
    house.create(out_trade_no="REPEAT0002")
    before = house.shown("REPEAT0002")

    other = house.create(out_trade_no="REPEAT0002", amount={"total": 999}, metadata={"table": "7"})

    assert (other.status, other.json["code"]) == (409, "out_trade_no_used")
    assert {e["field"] for e in other.json["errors"]} == {"amount.total", "metadata"}
    assert house.shown("REPEAT0002") == before


def test_a_lost_notification_is_found_by_the_query(house):
    """The merchant's question asks WeChat when the order is open."""
    number = house.create().json["out_trade_no"]
    house.fault("notify", "dropped")
    house.act("pay", {"out_trade_no": number, "wait": True})

    seen = house.query(number)

    assert seen["status"] == "PAID"
    assert (seen["stale"], seen["wechat_error"]) == (False, None)
    assert arrows(house, number)[-1][3] == "query"


def test_a_query_while_wechat_is_away_says_so(house):
    """Still 200, from the books, marked stale."""
    number = house.create().json["out_trade_no"]
    house.fault("query", "system_error")

    seen = house.query(number)

    assert seen["status"] == "PAYING"
    assert seen["stale"] is True
    assert seen["wechat_error"]["code"]


def test_a_query_right_behind_a_failed_one_is_as_stale(house):
    """WeChat is not asked again within three seconds; nothing newer is known, and the answer says so."""
    number = house.create().json["out_trade_no"]
    house.fault("query", "system_error")
    asked = house.calls().get("query", {"requests": 0})["requests"]

    answers = [house.query(number) for _ in range(3)]

    assert [answer["stale"] for answer in answers] == [True] * 3
    assert len({answer["wechat_error"]["code"] for answer in answers}) == 1
    assert house.calls()["query"]["requests"] == asked + 1


def test_a_refusal_of_wechats_fails_the_order_with_its_words(house):
    """422 with WeChat's code and request id; order FAILED, payment FAIL; a repeat shows it with null parameters."""
    number = "REFUSED001"
    prepay_elsewhere(house, number)

    refused = house.create(out_trade_no=number)
    again = house.create(out_trade_no=number)

    assert (refused.status, refused.json["code"]) == (422, "wechat_refused")
    assert refused.json["wechat"]["code"] in ("OUT_TRADE_NO_USED", "INVALID_REQUEST")
    assert refused.json["wechat"]["request_id"]
    assert (again.status, again.json["status"], again.json["code_url"]) == (200, "FAILED", None)
    assert again.json["payments"][0]["status"] == "FAIL"


def prepay_elsewhere(house, number):
    """Use the number at WeChat behind payd's back, as a shop that lost its database would have."""
    till = second_till(house).start()
    created = till.create(out_trade_no=number, amount={"total": 77})
    assert created.status == 201, created
    assert till.stop() == 0


def test_close_ends_an_unpaid_order_and_only_once(house):
    """200 CLOSED / TIMEOUT, a repeat is unchanged, a paid one is 409."""
    number = house.create().json["out_trade_no"]
    closed = house.call("POST", "/pay/close", {"out_trade_no": number})
    again = house.call("POST", "/pay/close", {"out_trade_no": number})
    paid = house.paid()
    refused = house.call("POST", "/pay/close", {"out_trade_no": paid})

    assert (closed.status, closed.json["status"], closed.json["payments"][0]["status"]) == (200, "CLOSED", "TIMEOUT")
    assert (again.status, again.json["closed_at"]) == (200, closed.json["closed_at"])
    assert (refused.status, refused.json["code"]) == (409, "order_paid")


def test_a_payment_that_wins_the_race_against_a_close_is_paid(house):
    """The close is refused, the order is settled."""
    number = house.create().json["out_trade_no"]
    house.fault("close", "pay_wins")

    refused = house.call("POST", "/pay/close", {"out_trade_no": number})

    assert (refused.status, refused.json["code"]) == (409, "order_paid")
    assert house.shown(number)["status"] == "PAID"


def test_money_on_a_closed_order_is_shown_and_can_be_refunded(house):
    """Late money: the order stays CLOSED, a discrepancy opens, the money can go back."""
    number = house.create().json["out_trade_no"]
    house.fault("close", "pay_after_close")
    house.call("POST", "/pay/close", {"out_trade_no": number})
    late = until(lambda: house.shown(number)["transaction_id"] and house.shown(number), "the late payment")
    found = house.call("GET", "/pay/discrepancies?status=open").json["discrepancies"]
    refund = house.refund(number, 1000)

    assert late["status"] == "CLOSED"
    assert late["amount"]["payer_total"] == 1000
    assert [d["kind"] for d in found if d["out_trade_no"] == number] == ["late_payment"]
    assert refund.status == 201


@pytest.mark.parametrize(
    "kind",
    ["hang_before", "hang_after", "reset_before", "reset_after", "system_error", "system_error_after", "bad_gateway",
     "rate_limited", "rate_limited_accepted", "truncated", "corrupt_body", "unsigned", "wrong_signature", "probe",
     "wrong_serial", "unauthorized", "forged_not_found"],
)  # fmt: skip
def test_no_nuisance_of_wechats_ever_fails_an_order_or_a_refund(house, kind):
    """An unknown outcome is 202 and open; the same request again, or a query, ends it right."""
    house.fault("prepay", kind)
    number = f"NUIS{kind.replace('_', '')[:24]}"
    first = house.create(out_trade_no=number)
    again = house.create(out_trade_no=number)
    house.act("pay", {"out_trade_no": number, "wait": True})
    house.fault("refund", kind)
    refund = house.refund(number, 300, out_refund_no=f"R{number}")
    repeat = house.refund(number, 300, out_refund_no=f"R{number}")

    assert (first.status, first.json["status"], first.json["outcome"]) == (202, "PAYING", "unknown")
    assert first.json["wechat"] is not None
    assert (again.status, bool(again.json["code_url"])) == (200, True)
    assert (refund.status, refund.json["status"]) == (202, "REFUNDING")
    assert repeat.status == 200
    book = house.book(number)
    assert [r["out_refund_no"] for r in book["refunds"]] == [f"R{number}"]
    assert house.shown(number)["status"] == "PAID"


def test_a_refund_that_wechat_refuses_frees_its_amount(house):
    """422 with WeChat's code; REFUND_FAIL; all can be refunded again."""
    number = house.paid()
    house.fault("refund", "user_account_abnormal")

    refused = house.refund(number, 1000)
    again = house.refund(number, 1000)

    assert (refused.status, refused.json["code"]) == (422, "wechat_refused")
    assert refused.json["wechat"]["code"] == "USER_ACCOUNT_ABNORMAL"
    assert refused.json["wechat"]["request_id"]
    assert [r["status"] for r in house.shown(number)["refunds"]] == ["REFUND_FAIL", "REFUNDING"]
    assert again.status == 201


def test_missing_funds_wait_under_the_same_number(house):
    """NOT_ENOUGH: 202 with the attention mark; the repeat goes through."""
    number = house.paid()
    house.fault("refund", "not_enough")

    first = house.refund(number, 100, out_refund_no="FUNDS1")
    again = house.refund(number, 100, out_refund_no="FUNDS1")

    assert (first.status, first.json["attention"]) == (202, "not_enough")
    assert (again.status, again.json["status"], again.json["attention"]) == (200, "REFUNDING", None)
    assert len(house.book(number)["refunds"]) == 1


def test_two_refunds_at_once_never_take_the_same_fen(house):
    """Ten at the same time for 600 of 1000 each: one is accepted."""
    number = house.paid()

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda i: house.refund(number, 600, out_refund_no=f"RACE{i}"), range(10)))

    assert sorted(a.status for a in answers) == [201] + [409] * 9
    assert {a.json["code"] for a in answers if a.status == 409} <= {"refund_exceeds_paid", "refund_too_soon"}
    assert len(house.book(number)["refunds"]) == 1


def test_a_terminated_daemon_drains_and_goes_on_where_it_was(make_house, tmp_path):
    """SIGTERM exits 0; after the restart the open order is still open and can be paid."""
    house = make_house(tmp_path).start()
    number = house.create().json["out_trade_no"]

    code = house.stop(signal.SIGTERM)
    house.start()
    house.act("pay", {"out_trade_no": number, "wait": True})

    assert code == 0
    assert house.shown(number)["status"] == "PAID"
    house.stop()
