"""Whatever stayed open is asked about until WeChat's word ends it: lost callbacks, expiry, unclear refunds, late money.

In mode sandbox payd's books follow the simulator's clock, so hours pass at a control call.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.house import until


@pytest.fixture(scope="module")
def house(make_house, tmp_path_factory):
    """A house whose reconciler looks every second."""
    folder = tmp_path_factory.mktemp("house")
    running = make_house(folder, reconcile_interval_seconds=1, reconcile_batch_size=500).start()
    yield running
    assert running.stop() == 0


def advance(house, seconds):
    house.act("clock", {"advance_seconds": seconds})


def ends(house, number, status):
    """Wait for the reconciler; the list does not ask WeChat."""
    return until(lambda: house.shown(number)["status"] == status, f"{number} {status}")


def test_with_every_notification_dropped_all_orders_are_settled(house):
    """A hundred payments nobody announced: found by asking, each once."""
    house.act("switches", {"rate_limits": False})
    house.fault("notify", "dropped", times=1000)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: house.create().json["out_trade_no"], range(100)))
        list(pool.map(lambda number: house.act("pay", {"out_trade_no": number}), numbers))
    advance(house, 6)

    until(lambda: not house.call("GET", "/pay/orders?status=PAYING&limit=1").json["orders"], "the settlement")

    sources = {house.events(number)[-1]["source"] for number in numbers}
    assert sources == {"query"}
    summary = house.call("GET", "/pay/reconcile/summary").json
    assert (summary["open_payments"], summary["open_refunds"]) == (0, 0)
    assert summary["last_run_at"]


def test_an_order_past_its_time_is_closed_at_wechat_first(house):
    """Expiry alone closes nothing: CLOSED comes on WeChat's word."""
    number = house.create(expire_seconds=60).json["out_trade_no"]
    advance(house, 130)

    ends(house, number, "CLOSED")

    assert house.book(number)["orders"][0]["trade_state"] == "CLOSED"
    assert house.shown(number)["payments"][0]["status"] == "TIMEOUT"


def test_an_unclear_close_is_finished_by_the_reconciler(house):
    """202 now, CLOSED later."""
    number = house.create().json["out_trade_no"]
    house.fault("close", "system_error")
    unclear = house.call("POST", "/pay/close", {"out_trade_no": number})
    advance(house, 6)

    ends(house, number, "CLOSED")

    assert (unclear.status, unclear.json["status"]) == (202, "PAYING")


def test_an_unclear_refund_keeps_its_number_until_it_is_done(house):
    """The connection broke before WeChat saw it: asked, sent again, refunded once."""
    number = house.paid()
    house.fault("refund", "reset_before")
    unclear = house.refund(number, 300, out_refund_no="KEEPS1")
    advance(house, 6)
    until(lambda: house.book(number)["refunds"], "the second send")
    advance(house, 70)

    until(lambda: house.shown(number)["refunds"][0]["status"] == "REFUND_SUCCESS", "the refund")

    assert (unclear.status, unclear.json["status"]) == (202, "REFUNDING")
    assert [r["out_refund_no"] for r in house.book(number)["refunds"]] == ["KEEPS1"]


def test_an_abnormal_refund_waits_with_a_mark_and_can_still_succeed(house):
    """ABNORMAL is not the end: the money is still owed."""
    number = house.paid()
    house.refund(number, 300, out_refund_no="ABNORM1")
    house.act("refunds/ABNORM1", {"status": "ABNORMAL", "wait": True})
    marked = house.shown(number)["refunds"][0]
    house.fault("notify", "dropped")
    house.act("refunds/ABNORM1", {"status": "SUCCESS", "wait": True})
    advance(house, 7200)

    until(lambda: house.shown(number)["refunds"][0]["status"] == "REFUND_SUCCESS", "the refund")

    assert (marked["status"], marked["attention"]) == ("REFUNDING", "abnormal")


def test_late_money_is_found_without_a_notification(house):
    """A closed order is still asked about for a day."""
    number = house.create().json["out_trade_no"]
    house.fault("notify", "dropped")
    house.fault("close", "pay_after_close")
    house.call("POST", "/pay/close", {"out_trade_no": number})
    advance(house, 700)

    late = until(lambda: house.shown(number)["late_payment"] and house.shown(number), "the late payment")

    assert late["status"] == "CLOSED"
    assert late["transaction_id"]


def test_the_policy_refund_gives_late_money_back(make_house, tmp_path):
    """late_payment_policy refund: the same commit that books the money promises it back."""
    house = make_house(tmp_path, late_payment_policy="refund", reconcile_interval_seconds=1).start()
    number = house.create().json["out_trade_no"]
    house.fault("close", "pay_after_close")
    house.call("POST", "/pay/close", {"out_trade_no": number})
    until(lambda: house.book(number)["refunds"], "the automatic refund")
    advance(house, 5)

    done = until(
        lambda: house.shown(number)["refunds"][0]["status"] == "REFUND_SUCCESS" and house.shown(number), "the refund"
    )
    house.stop()

    assert done["refunds"][0]["amount"]["refund"] == 1000
    assert done["amount"]["refunded"] == 1000


def test_late_money_is_booked_even_when_the_automatic_refunds_number_is_taken(make_house, tmp_path):
    """Whoever used LATE-... as a number of his own: the money is shown, a discrepancy opens, nothing is refunded."""
    house = make_house(tmp_path, late_payment_policy="refund", reconcile_interval_seconds=1).start()
    number = house.create().json["out_trade_no"]
    house.refund(house.paid(), 1, out_refund_no=f"LATE-{number}")
    house.fault("close", "pay_after_close")
    house.call("POST", "/pay/close", {"out_trade_no": number})

    late = until(lambda: house.shown(number)["late_payment"] and house.shown(number), "the late payment")
    found = house.call("GET", "/pay/discrepancies?status=open").json["discrepancies"]
    house.stop()

    assert late["refunds"] == []
    assert [d["kind"] for d in found if d["out_trade_no"] == number] == ["late_payment"]


def test_after_a_day_of_downtime_old_and_new_orders_are_settled(make_house, tmp_path):
    """Oldest due first in small batches, and what is new is not starved."""
    house = make_house(tmp_path, reconcile_enabled=False).start()
    house.act("switches", {"rate_limits": False})
    house.fault("notify", "dropped", times=1000)
    old = [house.create().json["out_trade_no"] for _ in range(30)]
    for number in old:
        house.act("pay", {"out_trade_no": number})
    advance(house, 86_400)
    house.stop()
    house.config |= {"reconcile_enabled": True, "reconcile_interval_seconds": 1, "reconcile_batch_size": 10}
    house.start()
    new = house.create().json["out_trade_no"]
    house.act("pay", {"out_trade_no": new})
    advance(house, 6)

    until(lambda: not house.call("GET", "/pay/orders?status=PAYING&limit=1").json["orders"], "the catching up")
    statuses = {house.shown(number)["status"] for number in [*old, new]}
    house.stop()

    assert statuses == {"PAID"}
