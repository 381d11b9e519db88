"""Idempotency-Key over real HTTP: replay, in use, reused, resumed, and no poisoned key."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.house import http_call, until


def key():
    return {"Idempotency-Key": secrets.token_hex(8)}


def test_a_finished_key_replays_the_first_status_and_body(house):
    """Byte for byte, marked, and WeChat hears of one order."""
    headers = key()
    first = house.create(headers=headers)
    again = house.create(headers=headers)

    assert (first.status, again.status) == (201, 201)
    assert first.raw == again.raw
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert house.book(first.json["out_trade_no"])["orders"][0]["prepay_count"] == 1


def test_quoted_and_bare_are_the_same_key(house):
    """The header is a structured-field string; bare is tolerated."""
    bare = secrets.token_hex(8)
    first = house.create(headers={"Idempotency-Key": bare})
    again = house.create(headers={"Idempotency-Key": f'"{bare}"'})

    assert first.json["out_trade_no"] == again.json["out_trade_no"]


def test_the_same_key_with_another_body_is_refused(house):
    """422 idempotency_key_reused; the first answer stays."""
    headers = key()
    first = house.create(headers=headers)
    other = house.create(amount={"total": 5}, headers=headers)
    again = house.create(headers=headers)

    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert again.raw == first.raw


def test_a_refused_request_leaves_no_key_behind(house):
    """A validation error or a wrong key does not poison the Idempotency-Key."""
    headers = key()
    bad = house.create(amount={"total": 0}, headers=headers)
    unknown = http_call(
        house.port,
        "POST",
        "/pay/create",
        {"description": "x", "amount": {"total": 1}},
        headers | {"X-Api-Key": "nobody"},
    )
    good = house.create(headers=headers)

    assert (bad.status, unknown.status, good.status) == (400, 401, 201)


def test_after_an_unknown_outcome_the_repeat_goes_on_under_the_same_number(house):
    """202, then the same order: never a second number."""
    headers = key()
    house.fault("prepay", "hang_after")
    first = house.create(headers=headers)
    again = house.create(headers=headers)

    assert (first.status, again.status) == (202, 200)
    assert first.json["out_trade_no"] == again.json["out_trade_no"]
    assert again.json["code_url"]
    assert "idempotency-replayed" not in again.headers


def test_after_a_409_the_key_stays_bound_to_its_body_and_is_carried_out_later(house):
    """Refund of an unpaid order: 409; paid; the same key and body succeed, another body is refused."""
    headers, number = key(), house.create().json["out_trade_no"]
    early = house.refund(number, 100, headers=headers)
    other = house.refund(number, 200, headers=headers)
    house.act("pay", {"out_trade_no": number, "wait": True})
    later = house.refund(number, 100, headers=headers)
    replay = house.refund(number, 100, headers=headers)

    assert (early.status, early.json["code"]) == (409, "order_not_paid")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert later.status == 201
    assert (replay.status, replay.raw) == (201, later.raw)
    assert len(house.book(number)["refunds"]) == 1


def test_a_definite_refusal_finishes_the_key(house):
    """422 wechat_refused is replayed; the merchant uses a new key for a new attempt."""
    headers, number = key(), house.paid()
    house.fault("refund", "user_account_abnormal")
    first = house.refund(number, 100, headers=headers)
    again = house.refund(number, 100, headers=headers)

    assert (first.status, again.status) == (422, 422)
    assert first.raw == again.raw
    assert again.headers["idempotency-replayed"] == "true"


def test_a_refusal_that_the_reconciler_heard_finishes_the_key_as_the_request_would_have(house):
    """202 first; WeChat refuses while nobody waits; the repeat is told 422, not that all is well, and so for ever."""
    headers, number = key(), house.paid()
    house.fault("refund", "reset_before")
    first = house.refund(number, 100, out_refund_no="HEARD1", headers=headers)
    house.fault("refund", "user_account_abnormal")
    house.act("clock", {"advance_seconds": 61})
    until(lambda: house.shown(number)["refunds"][0]["status"] == "REFUND_FAIL", "the refusal")

    told = house.refund(number, 100, out_refund_no="HEARD1", headers=headers)
    replay = house.refund(number, 100, out_refund_no="HEARD1", headers=headers)
    stranger = house.refund(number, 100, out_refund_no="HEARD1")

    assert first.status == 202
    assert (told.status, told.json["code"]) == (422, "wechat_refused")
    assert told.json["wechat"]["code"] == "USER_ACCOUNT_ABNORMAL"
    assert (replay.status, replay.raw) == (422, told.raw)
    assert (stranger.status, stranger.json["status"]) == (200, "REFUND_FAIL")  # a repeat without a key (contract 1.3)


@pytest.mark.parametrize("value", ["", "é", "x" * 256])
def test_a_key_that_is_no_key_is_refused(house, value):
    """1 to 255 printable ASCII characters."""
    refused = house.create(headers={"Idempotency-Key": value.encode("latin-1").decode("latin-1")})

    assert (refused.status, refused.json["code"]) == (400, "invalid_request")


def test_two_hundred_identical_creates_with_one_key_make_one_order(house):
    """Twenty rounds; everybody else hears "in use" or gets the replay; one order at WeChat each."""
    for _ in range(20):
        headers = key()
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _, headers=headers: house.create(headers=headers), range(200)))

        numbers = {a.json["out_trade_no"] for a in answers if a.status == 201}
        codes = {a.json["code"] for a in answers if a.status != 201}
        assert len(numbers) == 1
        assert codes <= {"idempotency_key_in_use", "rate_limited"}  # one key makes 500 requests a second
        assert house.book(numbers.pop())["orders"][0]["prepay_count"] == 1


def test_the_same_key_on_another_route_or_from_another_client_is_another_key(make_house, tmp_path):
    """Scope: API key and route."""
    house = make_house(tmp_path, pay={"api_keys": ["journey-key-1", "journey-key-2"]}).start()
    headers = key()
    body = {"description": "Tea", "amount": {"total": 1000}}

    mine = house.create(headers=headers)
    theirs = http_call(house.port, "POST", "/pay/create", body, headers | {"X-Api-Key": "journey-key-2"})
    house.stop()

    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["out_trade_no"] != theirs.json["out_trade_no"]


def test_a_key_whose_owner_died_is_taken_over(make_house, tmp_path):
    """kill -9 between the two commits: the retry resumes and ends with one order at WeChat."""
    import signal
    import threading

    house = make_house(tmp_path, wechat_pay={"timeout_ms": 20000}).start()
    house.fault("prepay", "hang_after")
    headers = key()
    caught = []

    def first():
        try:
            house.create(headers=headers)
        except OSError as error:
            caught.append(error)

    asking = threading.Thread(target=first)
    asking.start()
    from tests.journeys.house import until

    until(lambda: house.book()["orders"], "the prepay")
    running = house.create(headers=headers)
    house.process.end(signal.SIGKILL)
    asking.join(30)
    house.process = None
    house.start()
    retried = house.create(headers=headers)
    orders = house.book()["orders"]
    house.stop()

    assert (running.status, running.json["code"]) == (409, "idempotency_key_in_use")
    assert caught
    assert retried.status in (200, 201)
    assert [o["out_trade_no"] for o in orders] == [retried.json["out_trade_no"]]
