"""The control API: acting as the payer, refusing nonsense, and staying on this machine."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding


async def _orders(control):
    return [(order["out_trade_no"], order["trade_state"]) for order in (await control.book())["orders"]]


async def test_paying_answers_the_transaction(merchant, control):
    """By out_trade_no, prepay_id, code_url or h5_url; twice is refused."""
    native = await merchant.prepay("order-000001")
    jsapi = await merchant.prepay("order-000002", product="jsapi", payer={"openid": "oUser"})

    by_url = await control("POST", "pay", {"code_url": native.json["code_url"]})
    by_id = await control("POST", "pay", {"prepay_id": jsapi.json["prepay_id"], "bank_type": "CMB_CREDIT"})
    again = await control("POST", "pay", {"out_trade_no": "order-000001"})

    assert [(item.status, item.json["trade_state"]) for item in (by_url, by_id)] == [(200, "SUCCESS")] * 2
    assert (by_id.json["payer"], by_id.json["bank_type"]) == ({"openid": "oUser"}, "CMB_CREDIT")
    assert (again.status, again.json["code"]) == (409, "ORDERPAID")


@pytest.mark.parametrize(
    "body, status",
    [
        ({}, 400),
        ({"out_trade_no": "nobody-knows"}, 404),
        ({"out_trade_no": 5}, 400),
        ({"out_trade_no": "order-000001", "prepay_id": "x"}, 400),
        ({"out_trade_no": "order-000001", "payer_total": 101}, 400),
        ({"out_trade_no": "order-000001", "payer_total": -1}, 400),
        ({"out_trade_no": "order-000001", "payer_total": True}, 400),
        ({"out_trade_no": "order-000001", "notify": "no"}, 400),
        ({"out_trade_no": "order-000001", "unknown": 1}, 400),
        (b"not json", 400),
        ([], 400),
    ],
)
async def test_impossible_payments_are_refused_and_nothing_is_paid(merchant, control, body, status):
    """Each answer is {code, message}."""
    await merchant.prepay()

    answer = await control("POST", "pay", body)

    assert (answer.status, sorted(answer.json)) == (status, ["code", "message"])
    assert await _orders(control) == [("order-000001", "NOTPAY")]


@pytest.mark.parametrize("state", ["NOTPAY", "PAYERROR", "REVOKED"])
async def test_failed_attempts(merchant, control, state):
    """NOTPAY by default; the code-payment states end the order."""
    await merchant.prepay()

    answer = await control("POST", "fail", {"out_trade_no": "order-000001", "trade_state": state})
    later = await control("POST", "pay", {"out_trade_no": "order-000001"})

    assert (answer.status, answer.json["trade_state"], answer.json["failed_attempts"]) == (200, state, 1)
    assert later.status == (200 if state == "NOTPAY" else 409)
    assert (await merchant.query()).json["trade_state"] == ("SUCCESS" if state == "NOTPAY" else state)


async def test_refund_control_names_what_is_wrong(merchant, control):
    """Unknown refund, unknown state, finished refund."""
    await merchant.prepay()
    await control.pay()
    await merchant.refund()

    unknown = await control("POST", "refunds/nobody", {"status": "SUCCESS"})
    nonsense = await control("POST", "refunds/refund-1", {"status": "DONE"})
    missing = await control("POST", "refunds/refund-1", {})

    assert [answer.status for answer in (unknown, nonsense, missing)] == [404, 400, 400]
    assert (await merchant.query_refund()).json["status"] == "PROCESSING"


def _pay_params(merchant, product, prepay_id, **changes):
    """What a merchant's server hands to the client (section 5.5)."""
    app, stamp, nonce = merchant.facts.appid, str(int(merchant.wall())), "n" * 32
    last = prepay_id if product == "app" else f"prepay_id={prepay_id}"
    text = f"{app}\n{stamp}\n{nonce}\n{last}\n".encode()
    signature = base64.b64encode(merchant.key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    params = {"appId": app, "timeStamp": stamp, "nonceStr": nonce}
    if product == "app":
        params |= {"partnerId": merchant.facts.mchid, "prepayId": prepay_id, "packageValue": "Sign=WXPay"}
        return params | {"sign": signature} | changes
    return params | {"package": last, "signType": "RSA", "paySign": signature} | changes


@pytest.mark.parametrize("product, more", [("jsapi", {"payer": {"openid": "o"}}), ("app", {})])
async def test_client_parameters_are_checked_when_given(merchant, control, product, more):
    """A good set pays; each member changed is refused by name and nothing is paid."""
    prepay_id = (await merchant.prepay(product=product, **more)).json["prepay_id"]
    good = _pay_params(merchant, product, prepay_id)
    refused = []
    for name in good:
        answer = await control("POST", "pay", {"out_trade_no": "order-000001", "pay_params": good | {name: "1"}})
        refused.append((answer.status, name in answer.json["message"] or "ign" in answer.json["message"]))
    missing = await control("POST", "pay", {"out_trade_no": "order-000001", "pay_params": {"appId": good["appId"]}})
    before = await _orders(control)

    paid = await control("POST", "pay", {"out_trade_no": "order-000001", "pay_params": good})

    assert refused == [(400, True)] * len(good)
    assert (missing.status, before) == (400, [("order-000001", "NOTPAY")])
    assert paid.json["trade_state"] == "SUCCESS"


async def test_native_orders_have_no_client_parameters(merchant, control):
    """Giving some is a mistake."""
    await merchant.prepay()

    answer = await control("POST", "pay", {"out_trade_no": "order-000001", "pay_params": {}})

    assert (answer.status, answer.json["code"]) == (400, "PAY_PARAMS_INVALID")


@pytest.mark.parametrize("seconds", [-1, "60", None, True, 10**12])
async def test_the_clock_only_moves_forward_by_numbers(control, seconds):
    """Anything else is 400 and the clock stands."""
    before = (await control("GET", "clock")).json

    answer = await control("POST", "clock", {"advance_seconds": seconds})

    assert answer.status == 400
    assert (await control("GET", "clock")).json == before


async def test_an_advance_fires_everything_in_order(merchant, control, receiver):
    """Refund end, both callbacks' retries and the automatic close fall where they are due."""
    receiver.answers = [500, 500, 500]
    await merchant.prepay("order-unpaid")
    await merchant.prepay(notify_url=receiver.url)
    await control.pay()
    await control.switch(refund_delay_seconds=20)
    await merchant.refund(notify_url=receiver.url)

    told = await control.advance(60)

    assert told["now"] == "2026-11-23T12:01:00+08:00"
    assert [item.json["event_type"] for item in receiver.received] == [
        "TRANSACTION.SUCCESS",  # at 0, 500
        "TRANSACTION.SUCCESS",  # at 15, 500
        "REFUND.SUCCESS",  # at 20, 500
        "TRANSACTION.SUCCESS",  # at 30
        "REFUND.SUCCESS",  # at 35
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"nonsense": 1},
        {"rate_limits": 1},
        {"close_unknown": "maybe"},
        {"nuisance_rate": 1.5},
        {"refund_delay_seconds": -1},
        {"nuisance_rate": "high"},
    ],
)
async def test_bad_switches_are_refused(control, body):
    """400, and every switch stays."""
    before = (await control("GET", "switches")).json

    answer = await control("POST", "switches", {"refuse_replays": True} | body)

    assert answer.status == 400
    assert (await control("GET", "switches")).json == before


async def test_book_can_be_narrowed(merchant, control):
    """To one order, or to the newest of each kind."""
    for number in ("order-000001", "order-000002", "order-000003"):
        await merchant.prepay(number)
        await control.pay(number)

    one = await control.book("?out_trade_no=order-000002")
    newest = await control.book("?limit=1")
    bad = await control("GET", "book?limit=x")

    assert [order["out_trade_no"] for order in one["orders"]] == ["order-000002"]
    assert [note["out_trade_no"] for note in one["notifications"]] == ["order-000002"]
    assert [order["out_trade_no"] for order in newest["orders"]] == ["order-000003"]
    assert (newest["totals"]["orders"], bad.status) == (3, 400)


async def test_calls_are_counted_by_api_status_and_execution(merchant, control):
    """Requests, executed ones, faults and statuses."""
    await merchant.prepay()
    await merchant.prepay(description="x")
    await control.fault("prepay", "system_error")
    await merchant.prepay("order-000002")

    counted = (await control.book())["calls"]["prepay"]

    assert counted == {"requests": 3, "executed": 1, "faults": 1, "200": 1, "403": 1, "500": 1}


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "nonsense", 404),
        ("GET", "", 404),
        ("GET", "pay", 405),
        ("DELETE", "clock", 405),
        ("POST", "notifications/unknown/resend", 404),
        ("GET", "refunds/x/y", 404),
    ],
)
async def test_unknown_control_calls(control, method, path, status):
    """404 and 405 as {code, message}."""
    answer = await control(method, path)

    assert (answer.status, sorted(answer.json)) == (status, ["code", "message"])


@pytest.mark.parametrize("host", ["pay.example.com", "127.0.0.1.example.com:8081", "10.0.0.1"])
async def test_a_page_that_rebinds_its_name_to_loopback_is_refused(merchant, control, host):
    """The Host header must name a loopback host, so no web site can reach the controls."""
    await merchant.prepay()

    answer = await control("POST", "pay", {"out_trade_no": "order-000001"}, Host=host)

    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    assert await _orders(control) == [("order-000001", "NOTPAY")]


@pytest.mark.parametrize(
    "origin, status", [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)]
)
async def test_a_page_of_another_origin_is_refused(merchant, control, origin, status):
    """A browser may send simple POSTs anywhere; its Origin header gives it away."""
    await merchant.prepay()

    answer = await control("POST", "pay", {"out_trade_no": "order-000001"}, Origin=origin)

    assert answer.status == status
    assert await _orders(control) == [("order-000001", "SUCCESS" if status == 200 else "NOTPAY")]
