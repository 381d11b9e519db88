"""Every fault does what its line in the table says: what the client sees, and what really happened."""

from __future__ import annotations

import asyncio
import socket
import struct
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

CUT = (HTTPStreamClosedError, ConnectionResetError)


async def _exists(control):
    return [order["out_trade_no"] for order in (await control.book())["orders"]]


async def _last_call(control):
    return (await control("GET", "calls")).json["recent"][-1]


@pytest.mark.parametrize(
    "kind, status, code, executed, signed",
    [
        ("system_error", 500, "SYSTEM_ERROR", False, True),
        ("system_error_after", 500, "SYSTEM_ERROR", True, True),
        ("rate_limited", 429, "FREQUENCY_LIMITED", False, True),
        ("rate_limited_accepted", 429, "FREQUENCY_LIMITED", True, True),
        ("unauthorized", 401, "SIGN_ERROR", False, False),
        ("forged_not_found", 404, "ORDER_NOT_EXIST", False, False),
    ],
)
async def test_error_answers_lie_or_tell_the_truth_about_execution(
    merchant, control, kind, status, code, executed, signed
):
    """The answer is the same whether or not the order was made; only the book knows."""
    await control.fault("prepay", kind)

    answer = await merchant.prepay()

    assert (answer.status, answer.json["code"], answer.signed) == (status, code, signed)
    assert await _exists(control) == (["order-000001"] if executed else [])
    assert (await _last_call(control))["executed"] is executed
    assert (await merchant.prepay()).status == 200


@pytest.mark.parametrize("kind, executed", [("bad_gateway", False), ("bad_gateway_after", True)])
async def test_bad_gateway_is_an_unsigned_html_page(merchant, control, kind, executed):
    """502, text/html, no Wechatpay-* headers."""
    await control.fault("prepay", kind)

    answer = await merchant.prepay()

    assert (answer.status, answer.headers["Content-Type"], answer.signed) == (502, "text/html", False)
    assert answer.body.startswith(b"<html>")
    assert await _exists(control) == (["order-000001"] if executed else [])


@pytest.mark.parametrize("kind, executed", [("reset_before", False), ("reset_after", True)])
async def test_resets_cut_the_connection(merchant, control, kind, executed):
    """The client sees no answer at all."""
    await control.fault("prepay", kind)

    with pytest.raises(CUT):
        await merchant.prepay()

    assert await _exists(control) == (["order-000001"] if executed else [])
    assert (await _last_call(control))["status"] is None


@pytest.mark.parametrize("kind, executed", [("hang_before", False), ("hang_after", True)])
async def test_hangs_never_answer(merchant, control, kind, executed):
    """The client's own time-out ends it; the simulator forgets the request when the client is gone."""
    await control.fault("prepay", kind)

    with pytest.raises(HTTPTimeoutError):
        await merchant.post("/v3/pay/transactions/native", merchant.prepay_body(), timeout=0.2)

    assert await _exists(control) == (["order-000001"] if executed else [])


async def test_a_hang_ends_by_itself_when_its_seconds_are_over(merchant, control):
    """Then the connection is cut."""
    await control.fault("query", "hang_after", seconds=0.05)

    with pytest.raises(CUT):
        await merchant.query()


async def test_stopping_does_not_wait_for_hanging_requests(io_loop, simulator, merchant, control):
    """A request that hangs for an hour is cut when the simulator stops."""
    await control.fault("query", "hang_before")
    hanging = asyncio.ensure_future(merchant.query())
    while (await control.book())["calls"].get("query", {}).get("requests") != 1:
        pass

    await simulator.stop()

    with pytest.raises(CUT):
        await hanging


@pytest.mark.parametrize("kind", ["unsigned", "wrong_signature", "probe", "wrong_serial", "corrupt_body"])
async def test_spoilt_answers_are_executed_and_do_not_verify(merchant, control, kind):
    """200 with the code in it, but nothing a careful client may believe."""
    await control.fault("prepay", kind)

    answer = await merchant.prepay()

    assert answer.status == 200
    assert not answer.signed or not merchant.verifies(answer.headers, answer.body)
    assert await _exists(control) == ["order-000001"]
    if kind == "probe":
        assert answer.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")


async def test_spoilt_empty_answers_do_not_verify_either(merchant, control):
    """A close's 204 can be forged like any other answer."""
    await merchant.prepay()
    await control.fault("close", "wrong_signature")

    answer = await merchant.close_order()

    assert answer.status == 204
    assert not merchant.verifies(answer.headers, b"")


async def test_stale_answers_are_truly_signed_long_ago(merchant, control):
    """Only the client's window can refuse them; Date stays right."""
    await control.fault("prepay", "stale", seconds=600)

    answer = await merchant.prepay()

    assert merchant.verifies(answer.headers, answer.body)
    assert int(answer.headers["Wechatpay-Timestamp"]) == int(merchant.wall()) - 600
    assert answer.headers["Date"] == "Mon, 23 Nov 2026 04:00:00 GMT"


async def test_clock_skew_moves_window_date_and_signature(merchant, control):
    """Two minutes are tolerated and visible, ten are a 401."""
    await control.fault("query", "clock_skew", seconds=120)
    near = await merchant.query()
    await control.fault("query", "clock_skew", seconds=600)
    far = await merchant.query()
    after = await merchant.query()

    assert near.headers["Date"] == "Mon, 23 Nov 2026 04:02:00 GMT"
    assert int(near.headers["Wechatpay-Timestamp"]) == int(merchant.wall()) + 120
    assert merchant.verifies(near.headers, near.body)
    assert (far.status, far.json["code"], after.status) == (401, "SIGN_ERROR", 404)


async def test_truncated_answers_break_off(merchant, control):
    """Content-Length promises more than comes."""
    await control.fault("prepay", "truncated")

    with pytest.raises(HTTPError):
        await merchant.prepay()

    assert await _exists(control) == ["order-000001"]


async def test_slow_bodies_arrive_whole(merchant, control):
    """Dripped, but intact and well signed."""
    await control.fault("prepay", "slow_body", seconds=0.2)

    answer = await merchant.prepay()

    assert answer.status == 200
    assert merchant.verifies(answer.headers, answer.body)


async def test_delays_only_delay(merchant, control):
    """The answer is as usual."""
    await control.fault("prepay", "delay", seconds=0.05)

    answer = await merchant.prepay()

    assert answer.status == 200
    assert merchant.verifies(answer.headers, answer.body)


@pytest.mark.parametrize(
    "kind, code", [("not_enough", "NOT_ENOUGH"), ("user_account_abnormal", "USER_ACCOUNT_ABNORMAL")]
)
async def test_refund_refusals_leave_the_number_free(merchant, control, kind, code):
    """403, nothing refunded; the same number works afterwards."""
    await merchant.prepay()
    await control.pay()
    await control.fault("refund", kind)

    refused = await merchant.refund()
    before = (await control.book())["refunds"]
    accepted = await merchant.refund()

    assert (refused.status, refused.json["code"], refused.signed, before) == (403, code, True, [])
    assert accepted.status == 200


async def test_main_host_down_leaves_the_backup_host_working(simulator, merchant, control, wall):
    """Every connection to the main port is reset; the same request works at the backup."""
    await control.fault("all", "host_down", seconds=3600)
    main = merchant.base_url

    for _ in range(3):
        with pytest.raises(CUT):
            await merchant.prepay()
    merchant.base_url = simulator.backup_url
    answer = await merchant.prepay()
    merchant.base_url = main
    await control("DELETE", "faults")

    assert answer.status == 200
    assert (await merchant.query()).status == 200


async def test_main_host_comes_back_when_its_seconds_are_over(merchant, control, wall):
    """Measured on the wall clock."""
    await control.fault("all", "host_down", seconds=30)
    wall.now += 30

    assert (await merchant.prepay()).status == 200
    assert (await control.book())["faults"] == []


async def test_match_times_and_target_choose_the_request(merchant, control):
    """A rule hits only its number, so many times, at its API."""
    await control.fault("query", "system_error", times=2, match="order-000002")
    for number in ("order-000001", "order-000002"):
        await merchant.prepay(number)

    statuses = [
        (await merchant.query(number)).status
        for number in ("order-000001", "order-000002", "order-000002", "order-000002")
    ]

    assert statuses == [200, 500, 500, 200]
    assert (await control.book())["faults"] == []


async def test_rules_are_used_in_the_order_they_were_set(merchant, control):
    """The oldest that fits comes first; until-cleared rules stay."""
    await control.fault("all", "rate_limited")
    await control.fault("query", "system_error", times=None)

    statuses = [(await merchant.query()).status for _ in range(4)]
    await control("DELETE", "faults")

    assert statuses == [429, 500, 500, 500]
    assert (await merchant.query()).status == 404


async def test_a_request_that_fails_authentication_uses_no_fault_up(merchant, control):
    """A 401 is not what the rule was set for."""
    await control.fault("query", "system_error")

    refused = await merchant.query(signature="A" * 344)

    assert (refused.status, len((await control.book())["faults"])) == (401, 1)


@pytest.mark.parametrize(
    "rule",
    [
        {"target": "prepay", "kind": "nonsense"},
        {"target": "nowhere", "kind": "delay"},
        {"target": "prepay", "kind": "not_enough"},
        {"target": "notify", "kind": "reset_after"},
        {"target": "prepay", "kind": "lost"},
        {"target": "prepay", "kind": "delay", "times": 0},
        {"target": "prepay", "kind": "delay", "seconds": "1"},
        {"target": "prepay", "kind": "delay", "wrong": 1},
        {"target": "prepay"},
    ],
)
async def test_impossible_rules_are_refused(control, rule):
    """400 that names what is possible; no rule is set."""
    answer = await control("POST", "faults", rule)

    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    assert (await control.book())["faults"] == []


async def test_payment_wins_the_race_against_the_close(merchant, control, receiver):
    """The close is refused and the order is paid and announced."""
    await merchant.prepay(notify_url=receiver.url)
    await control.fault("close", "pay_wins")

    answer = await merchant.close_order()
    await control.advance()

    assert (answer.status, answer.json["code"]) == (400, "ORDERPAID")
    assert (await merchant.query()).json["trade_state"] == "SUCCESS"
    assert len(receiver.received) == 1


async def test_close_wins_the_race_against_the_payment(merchant, control, receiver):
    """204, and the payer's attempt fails."""
    await merchant.prepay(notify_url=receiver.url)
    await control.fault("close", "close_wins")

    answer = await merchant.close_order()
    await control.advance()

    (order,) = (await control.book())["orders"]
    assert (answer.status, order["trade_state"], order["failed_attempts"]) == (204, "CLOSED", 1)
    assert receiver.received == []


async def test_payment_can_arrive_after_a_204_close(merchant, control, receiver):
    """Late money: closed for the merchant, paid and announced all the same (unverified, 15 no. 14)."""
    await merchant.prepay(notify_url=receiver.url)
    await control.fault("close", "pay_after_close")

    answer = await merchant.close_order()
    await control.advance()

    assert (answer.status, (await merchant.query()).json["trade_state"]) == (204, "SUCCESS")
    assert len(receiver.received) == 1


async def test_late_money_can_be_forced_by_hand(merchant, control):
    """`force` pays what could not be paid any more."""
    await merchant.prepay()
    await merchant.close_order()

    paid = await control.pay(force=True)

    assert paid["trade_state"] == "SUCCESS"


async def _notified(merchant, control, receiver, kind, **more):
    await control.fault("notify", kind, **more)
    await merchant.prepay(notify_url=receiver.url)
    await control.pay()
    return (await control.book())["notifications"][0]


async def test_lost_callbacks_come_by_the_next_retry(merchant, control, receiver):
    """The first send never arrives; 15 s later the true one does."""
    notice = await _notified(merchant, control, receiver, "lost")
    lost = len(receiver.received)
    await control.advance(15)

    assert (lost, notice["attempts"][0]["error"], len(receiver.received)) == (0, "not sent: lost", 1)


async def test_dropped_callbacks_never_come(merchant, control, receiver):
    """Not even after two days of retries."""
    notice = await _notified(merchant, control, receiver, "dropped")
    await control.advance(2 * 86400)

    assert (notice["state"], receiver.received) == ("dropped", [])


async def test_late_callbacks_come_later(merchant, control, receiver):
    """Put off on the book's clock."""
    await _notified(merchant, control, receiver, "late", seconds=90)
    await control.advance(89)
    before = len(receiver.received)
    await control.advance(1)

    assert (before, len(receiver.received)) == (0, 1)


async def test_duplicated_callbacks_come_twice_at_once(merchant, control, receiver):
    """The same id, two signatures."""
    await _notified(merchant, control, receiver, "duplicate")

    assert len(receiver.received) == 2
    assert len({item.json["id"] for item in receiver.received}) == 1
    assert len({item.headers["Wechatpay-Signature"] for item in receiver.received}) == 2


async def test_reordered_callbacks_let_a_later_one_go_first(merchant, control, receiver):
    """A refund is announced before its payment."""
    await _notified(merchant, control, receiver, "reorder", seconds=3600)
    await merchant.refund(notify_url=receiver.url)
    await control.advance(1)

    assert [item.json["event_type"] for item in receiver.received] == ["REFUND.SUCCESS", "TRANSACTION.SUCCESS"]


@pytest.mark.parametrize("kind", ["probe", "wrong_signature", "wrong_serial", "unsigned"])
@pytest.mark.parametrize("answer", [204, 401])
async def test_forged_callbacks_are_followed_by_the_true_one(merchant, control, receiver, kind, answer):
    """Whatever is answered to the forgery: a receiver that accepts it gets the true one all the same."""
    receiver.answers = [answer]
    await _notified(merchant, control, receiver, kind)
    await control.advance(15)

    forged, true = receiver.received
    assert not ("Wechatpay-Signature" in forged.headers and merchant.verifies(forged.headers, forged.body))
    assert merchant.verifies(true.headers, true.body)
    assert (await control.book())["notifications"][0]["state"] == "delivered"


async def test_a_client_that_vanishes_is_no_error_of_the_simulators(simulator, merchant, control, caplog):
    """A request is sent and its connection reset before the answer; nothing is logged, all goes on."""
    await control.fault("query", "delay", seconds=0.05)
    target = f"/v3/pay/transactions/out-trade-no/order-000001?mchid={merchant.facts.mchid}"
    head = (
        f"GET {target} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nUser-Agent: x\r\n"
        f"Authorization: {merchant.authorization('GET', target, b'')}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(simulator.base_url).port)
    writer.write(head.encode())
    await writer.drain()
    while (await control.book())["faults"]:
        pass
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    await control.fault("prepay", "delay", seconds=0.1)
    await merchant.prepay()

    assert (await merchant.query()).status == 200
    assert caplog.records == []
