"""WeChat's callbacks, true and false: the contract's status codes, no state moved by a false one, a metric each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.house import http_call


def lost_payment(house):
    """An order that is paid at WeChat while payd has not heard of it."""
    number = house.create().json["out_trade_no"]
    house.fault("notify", "dropped")
    house.act("pay", {"out_trade_no": number, "wait": True})
    assert house.shown(number)["status"] == "PAYING"
    return number


def test_twenty_copies_at_once_change_the_state_once(house):
    """One transition, twenty times 204."""
    number = lost_payment(house)
    moved = house.metric('payd_transitions_total{source="notification",state="PAID",subject="order"}')

    statuses = house.resend(number, duplicate=20)

    assert statuses == [204] * 20
    assert [e["to"] for e in house.events(number)].count("PAID") == 1
    after = house.metric('payd_transitions_total{source="notification",state="PAID",subject="order"}')
    assert after - moved == 1


FALSE = [
    ({"wrong_signature": True}, 401, "signature_invalid"),
    ({"probe": True}, 401, "probe"),
    ({"wrong_serial": True}, 401, "serial_unknown"),
    ({"unsigned": True}, 401, "headers_missing"),
    ({"drop_headers": ["Wechatpay-Nonce"]}, 401, "headers_missing"),
    ({"stale_seconds": 301}, 401, "timestamp_skew"),
    ({"stale_seconds": -302}, 401, "timestamp_skew"),
    ({"corrupt_body": True}, 401, "signature_invalid"),
    ({"raw_body": "{"}, 400, "body_invalid"),
    ({"raw_body": "[]"}, 400, "body_invalid"),
    ({"wrong_api_v3_key": True}, 400, "decrypt_failed"),
    ({"associated_data": "other"}, 204, "applied"),
    ({"tamper": {"amount.total": 1}}, 204, "amount_mismatch"),
    ({"tamper": {"amount.currency": "USD"}}, 204, "amount_mismatch"),
    ({"tamper": {"mchid": "1900000009"}}, 204, "merchant_mismatch"),
    ({"tamper": {"appid": "wx0000000000000009"}}, 204, "merchant_mismatch"),
    ({"tamper": {"out_trade_no": "NOBODYKNOWS1"}}, 204, "order_unknown"),
    ({"original_type": "profitsharing"}, 204, "event_unknown"),
    ({"event_type": "TRANSACTION.NEW"}, 204, "event_unknown"),
    ({"tamper": {"trade_state": "CLOSED"}}, 204, "event_unknown"),
    ({"tamper": {"appid": None}}, 400, "body_invalid"),
    ({"tamper": {"amount.currency": None}}, 400, "body_invalid"),
    ({"tamper": {"amount.payer_total": 2**63}}, 400, "body_invalid"),
    ({"tamper": {"success_time": "9999-12-31T23:59:59+08:00"}}, 400, "body_invalid"),
    ({"tamper": {"mchid": "1900000009", "out_trade_no": "NOBODYKNOWS2"}}, 204, "merchant_mismatch"),
]


@pytest.mark.parametrize(("tampering", "status", "result"), FALSE, ids=lambda value: str(value)[:48])
def test_a_false_callback_moves_nothing_and_is_counted(house, tampering, status, result):
    """Each check has its own answer, metric and row in the inspector."""
    number = lost_payment(house)
    counted = house.metric(f'payd_notifications_total{{result="{result}"}}')

    statuses = house.resend(number, **tampering)

    assert statuses == [status]
    assert house.shown(number)["status"] == ("PAID" if result == "applied" else "PAYING")
    assert house.metric(f'payd_notifications_total{{result="{result}"}}') == counted + 1
    newest = house.call("GET", "/pay/notifications?limit=1").json["notifications"][0]
    assert newest["result"] == result
    assert newest["steps"]


def test_a_contradiction_opens_one_discrepancy_however_often_it_comes(house):
    """Wrong amount, three times: one record, resolved with a note that stands in the journal."""
    number = lost_payment(house)
    for _ in range(3):
        house.resend(number, tamper={"amount.total": 7})

    found = house.call("GET", "/pay/discrepancies?status=open&limit=100").json["discrepancies"]
    mine = [d for d in found if d["out_trade_no"] == number]
    path = f"/pay/discrepancies/{mine[0]['id']}/resolve"
    resolved = house.call("POST", path, {"note": "asked WeChat"})

    assert [d["kind"] for d in mine] == ["amount_mismatch"]
    assert (resolved.status, resolved.json["status"], resolved.json["note"]) == (200, "resolved", "asked WeChat")
    assert house.events(number)[-1]["detail"]["note"] == "asked WeChat"


def test_garbage_never_ends_in_a_server_error(house):
    """Whatever anybody posts: 400 or 401 in WeChat's shape."""
    bodies = [b"", b"\x00\xff", b"{}", b"null", b"<xml/>", b"{" * 10_000, "支付".encode()]
    with ThreadPoolExecutor(7) as pool:
        answers = list(pool.map(lambda body: http_call(house.port, "POST", "/pay/notify/wechat", body), bodies))

    for answer in answers:
        assert answer.status in (400, 401)
        assert answer.json["code"] == "FAIL"


def test_an_oversized_callback_is_refused_unread(house):
    """413 in WeChat's shape."""
    answer = http_call(house.port, "POST", "/pay/notify/wechat", b"x" * 300_000)

    assert answer.status == 413


def test_a_refund_notice_in_any_order_ends_the_same(house):
    """The refund's notification, twenty times: settled once."""
    number = house.paid()
    house.refund(number, 250, out_refund_no=f"N{number[:20]}")
    house.act(f"refunds/N{number[:20]}", {"status": "SUCCESS", "wait": True})

    house.resend(number, duplicate=5)

    assert house.shown(number)["amount"]["refunded"] == 250


def test_many_different_words_about_one_order_at_once_are_all_taken(house):
    """Twelve refunds of one order end in the same moment: each callback is answered 204, and each refund has ended."""
    number = house.paid(amount={"total": 1000})
    house.act("switches", {"refund_outcome": "hold"})
    refunds = [f"M{n:02d}{number[:20]}" for n in range(12)]
    try:
        for refund in refunds:
            assert house.refund(number, 10, out_refund_no=refund).status == 201
            house.act("clock", {"advance_seconds": 61})
        unavailable = house.metric('payd_notifications_total{result="storage_unavailable"}')

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda refund: house.act(f"refunds/{refund}", {"status": "SUCCESS", "wait": True}), refunds))
    finally:
        house.act("switches", {"refund_outcome": "SUCCESS"})

    attempts = [a["status"] for n in house.book(number)["notifications"] for a in n["attempts"]]
    assert set(attempts) == {204}
    assert house.shown(number)["amount"]["refunded"] == 120
    assert house.metric('payd_notifications_total{result="storage_unavailable"}') == unavailable


def test_many_contradictions_of_one_order_are_resolved_at_once(house):
    """Ten people close ten contradictions of one order: each is told that it is done, and each note stands."""
    number = lost_payment(house)
    for fen in range(2, 12):
        house.resend(number, tamper={"amount.total": fen})
    found = house.call("GET", "/pay/discrepancies?status=open&limit=100").json["discrepancies"]
    paths = [f"/pay/discrepancies/{d['id']}/resolve" for d in found if d["out_trade_no"] == number]

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda path: house.call("POST", path, {"note": path}), paths))

    assert [answer.status for answer in answers] == [200] * 10
    notes = [
        e["detail"]["note"] for e in house.events(number) if e["subject"] == "discrepancy" and "note" in e["detail"]
    ]
    assert sorted(notes) == sorted(paths)


def test_one_transaction_never_pays_two_orders(house):
    """WeChat's number stands on another order already: nothing moves, a discrepancy opens, 204."""
    first = house.paid()
    second = lost_payment(house)
    taken = house.shown(first)["transaction_id"]

    statuses = house.resend(second, tamper={"transaction_id": taken})

    assert statuses == [204]
    assert house.shown(second)["status"] == "PAYING"
    found = house.call("GET", "/pay/discrepancies?status=open&limit=100").json["discrepancies"]
    assert [d["kind"] for d in found if d["out_trade_no"] == second] == ["transaction_mismatch"]
