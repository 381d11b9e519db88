"""Rate limits, seeded nuisances, and runs that can be repeated."""

from __future__ import annotations

import json

import pytest
from tornado.httpclient import HTTPError

from payd.sandbox import Sandbox
from payd.sandbox.rate_limits import RATES, RateLimits


async def test_bills_are_limited_and_the_bucket_refills(merchant, wall):
    """3 a second with a burst of ten; then 429 FREQUENCY_LIMITED, signed."""
    target = "/v3/bill/tradebill?bill_date=2026-11-22"
    first = [(await merchant.get(target)).status for _ in range(10)]
    limited = await merchant.get(target)
    wall.now += 1
    later = [(await merchant.get(target)).status for _ in range(4)]

    assert first == [400] * 10
    assert (limited.status, limited.json["code"], limited.signed) == (429, "FREQUENCY_LIMITED", True)
    assert later == [400, 400, 400, 429]


async def test_failing_refunds_have_a_limit_of_their_own(merchant, control):
    """6 a second, burst of twelve: then also a good refund is refused and not executed."""
    await merchant.prepay()
    await control.pay()
    for number in range(12):
        await merchant.refund(f"refund-{number}", 1000)

    good = await merchant.refund("refund-good", 1)

    assert (good.status, good.json["code"]) == (429, "FREQUENCY_LIMITED")
    assert (await control.book())["refunds"] == []


async def test_limits_can_be_switched_off(merchant, control):
    """For load tests."""
    await control.switch(rate_limits=False)

    statuses = {(await merchant.get("/v3/bill/tradebill?bill_date=2026-11-22")).status for _ in range(30)}

    assert statuses == {400}


@pytest.mark.parametrize("name", sorted(RATES))
def test_a_steady_client_is_never_limited(wall, name):
    """At exactly the published rate no request is refused, at twice the rate about half are."""
    steady = RateLimits(wall)
    for _ in range(int(RATES[name]) * 5):
        wall.now += 1 / RATES[name]
        assert steady.take(name)

    hasty = RateLimits(wall)
    allowed = 0
    for _ in range(int(RATES[name]) * 20):
        wall.now += 0.5 / RATES[name]
        allowed += hasty.take(name)
    burst = max(RATES[name] * 2, 10)
    assert abs(allowed - (RATES[name] * 10 + burst)) <= 3  # the clock adds up fractions


def test_unlimited_apis_are_never_limited(wall):
    """Query and close have no published limit."""
    limits = RateLimits(wall)

    assert all(limits.take(name) for name in ("query", "close", "prepay_native") for _ in range(10_000))


async def _history(prepared, wall, raw_merchant, seed, rate):
    """What one seeded run looks like from outside."""
    running = Sandbox(prepared, seed=seed, persist=False, wall_clock=wall)
    await running.start()
    client = raw_merchant(running, wall)
    seen = []
    try:
        await _switch(client, rate)
        for number in range(40):
            try:
                answer = await client.prepay(f"order-{number:06}")
                seen.append((answer.status, answer.json.get("code_url") if answer.status == 200 else None))
            except (HTTPError, OSError, ValueError) as exc:
                seen.append((type(exc).__name__, None))
    finally:
        client.close()
        await running.stop()
    return seen


async def _switch(client, rate):
    answer = await client._client.fetch(
        f"{client.base_url}/_sandbox/switches", method="POST", body=json.dumps({"nuisance_rate": rate})
    )
    assert answer.code == 200


async def test_the_same_seed_gives_the_same_run(prepared, wall, merchant):
    """Same identifiers, same nuisances in the same places; another seed differs."""
    kind = type(merchant)

    first = await _history(prepared, wall, kind, 11, 0.4)
    second = await _history(prepared, wall, kind, 11, 0.4)
    other = await _history(prepared, wall, kind, 12, 0.4)

    assert first == second
    assert first != other
    assert len({status for status, _ in first}) > 3


async def test_without_nuisances_everything_is_calm(prepared, wall, merchant):
    """The default rate is nought."""
    seen = await _history(prepared, wall, type(merchant), 11, 0)

    assert {status for status, _ in seen} == {200}


async def test_callbacks_get_through_the_nuisances(merchant, control, receiver):
    """Lost, late, doubled, reordered and forged sends end, and every payment is truly announced."""
    numbers = [f"order-{number:06}" for number in range(30)]
    for number in numbers:
        await merchant.prepay(number, notify_url=receiver.url)
    await control.switch(nuisance_rate=0.5)
    for number in numbers:
        await control("POST", "pay", {"out_trade_no": number})
    await control.advance(86400)

    book = await control.book()
    true = [item for item in receiver.received if "Wechatpay-Signature" in item.headers]
    announced = {item.json["id"] for item in true if merchant.verifies(item.headers, item.body)}
    met = {attempt["fault"] for note in book["notifications"] for attempt in note["attempts"]}
    assert {note["state"] for note in book["notifications"]} == {"delivered"}
    assert {note["id"] for note in book["notifications"]} == announced
    assert {"lost", "duplicate", "probe"} <= met
