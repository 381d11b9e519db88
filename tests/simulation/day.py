"""A day in the life of a shop: orders, payments, closes and refunds while everything goes wrong now and then.

At the end, whatever happened: an order is PAID here exactly if WeChat was paid, refunds agree fen by fen, the next
day's bill finds exactly the differences that were planted, and `payd verify` finds nothing.
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from tests.journeys.house import Answer, House, second_till, until

BEIJING = timezone(timedelta(hours=8))
SHOPS = 6


@dataclass
class Day:
    """What a day came to."""

    seed: int
    orders: list[str] = field(default_factory=list)
    planted: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


def live_a_day(
    house: House, *, seed: int, orders: int, nuisance_rate: float, planted: int, say=lambda text: None
) -> Day:
    """Let the shops trade, then end the day. Raises AssertionError with the seed when something does not add up."""
    day = Day(seed)
    house.act("switches", {"rate_limits": False, "nuisance_rate": nuisance_rate})
    say(f"seed {seed}: {orders} orders, {nuisance_rate:.0%} of everything goes wrong ...")
    with ThreadPoolExecutor(SHOPS) as pool:
        list(pool.map(lambda i: trade(house, random.Random(f"{seed} {i}"), f"DAY{seed}N{i:06d}"), range(orders)))
    day.orders = [f"DAY{seed}N{i:06d}" for i in range(orders)]
    house.act("switches", {"nuisance_rate": 0.0})
    day.planted = plant(house, seed, planted)
    say("the nuisances end; what stayed open is settled ...")
    settle(house)
    say("our books against WeChat's ...")
    compare(house, day)
    say("the bill of the day ...")
    day.differences = fetch_bill(house)
    return day


def trade(house: House, chance: random.Random, number: str) -> None:
    """One customer. Everything is repeated under the same number and key until there is an answer."""
    total = chance.randrange(1, 20_000)
    body = {"description": "Tea", "amount": {"total": total}, "out_trade_no": number}
    insist(lambda: house.call("POST", "/pay/create", body, Idempotency_Key=number))
    fate = chance.random()
    if fate < 0.7:
        pay(house, number)
    if fate < 0.2:
        refund = {
            "out_trade_no": number,
            "amount": {"refund": chance.randrange(1, total + 1)},
            "out_refund_no": f"R{number}",
        }
        insist(lambda: house.call("POST", "/pay/refund", refund, Idempotency_Key=f"r{number}"), at_most=6)
    elif 0.65 < fate < 0.85:
        insist(lambda: house.call("POST", "/pay/close", {"out_trade_no": number}))


def insist(ask, at_most: int = 20):
    """Repeat while nothing is clear: no answer, in use, unknown outcome, or a 5xx."""
    answer = None
    for _ in range(at_most):
        try:
            answer = ask()
        except (OSError, http.client.HTTPException):
            continue
        if answer.status in (200, 201, 404, 422) or (answer.status == 409 and answer.json["code"] != "order_not_paid"):
            return answer
        threading.Event().wait(0.02)
    return answer


def pay(house: House, number: str) -> None:
    """The payer pays if WeChat knows the order; payd may not have got through."""
    try:
        house.act("pay", {"out_trade_no": number})
    except (AssertionError, OSError, http.client.HTTPException):
        return


def settle(house: House) -> None:
    """Let hours pass in steps, as the ladders ask, until nothing that was paid or refunded is open."""
    for _ in range(12):
        house.act("clock", {"advance_seconds": 1800})
        until(lambda: house.call("GET", "/pay/reconcile/summary").json["due_now"] == 0, "the reconciler's work")
        summary = house.call("GET", "/pay/reconcile/summary").json
        if summary["open_payments"] == summary["open_refunds"] == 0:
            return
    raise AssertionError(f"still open after six hours: {summary}")


def plant(house: House, seed: int, count: int) -> list[str]:
    """Money at WeChat that payd never heard of: from a second till with the same merchant number."""
    numbers = [f"TILL{seed}N{i:04d}" for i in range(count)]
    till = second_till(house).start()
    for position, number in enumerate(numbers):
        assert till.create(out_trade_no=number, amount={"total": 100 + position}).status == 201
        house.act("pay", {"out_trade_no": number})
    assert till.stop() == 0
    return numbers


def compare(house: House, day: Day) -> None:
    """Look at every order of the day on both sides."""
    book = house.book()
    there = {order["out_trade_no"]: order for order in book["orders"]}
    refunds_there: dict[str, list[dict]] = {}
    for refund in book["refunds"]:
        refunds_there.setdefault(refund["out_trade_no"], []).append(refund)
    for number in day.orders:
        answer = until(lambda number=number: unhurried(house, f"/pay/query?out_trade_no={number}"), "an answer")
        if answer.status == 404:
            assert number not in there, f"seed {day.seed}: {number} is at WeChat and not here"
            continue
        here = answer.json
        day.statuses[here["status"]] = day.statuses.get(here["status"], 0) + 1
        paid_there = number in there and there[number]["trade_state"] in ("SUCCESS", "REFUND")
        paid_here = here["status"] == "PAID" or here["late_payment"]
        assert paid_here == paid_there, f"seed {day.seed}: {number} is {here['status']} here, {there.get(number)} there"
        given = sum(r["amount"]["refund"] for r in refunds_there.get(number, []) if r["status"] == "SUCCESS")
        assert here["amount"]["refunded"] == given, f"seed {day.seed}: {number} refunds differ"
        assert given <= here["amount"]["total"]


def unhurried(house: House, path: str) -> Answer | None:
    """Ask; None when payd wants us to slow down: one key makes 500 requests a second."""
    answer = house.call("GET", path)
    assert answer.status in (200, 404, 429), answer
    return None if answer.status == 429 else answer


def fetch_bill(house: House) -> list[str]:
    """Go to the next day's noon in Beijing and compare the bill of the day with the books."""
    now = datetime.fromisoformat(house.act("clock", method="GET")["now"]).astimezone(BEIJING)
    noon = (now + timedelta(days=1)).replace(hour=12, minute=0, second=0)
    house.act("clock", {"advance_seconds": int((noon - now).total_seconds())})
    dates = {now.date(), (now - timedelta(hours=7)).date()}  # settling may have crossed midnight
    for date in sorted(dates):
        run = subprocess.run(
            [sys.executable, "-m", "payd", "bill", "fetch", date.isoformat(), "--config",
             str(house.folder / "config.json"), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode in (0, 1), run.stdout + run.stderr
        json.loads(run.stdout)
    found = []
    cursor = ""
    while cursor is not None:
        page = house.call("GET", f"/pay/discrepancies?status=open&limit=100{cursor and f'&cursor={cursor}'}").json
        found += [d["out_trade_no"] for d in page["discrepancies"] if d["kind"].startswith("bill_")]
        cursor = page["next_cursor"]
    return found


def verify(house: House) -> subprocess.CompletedProcess[str]:
    """Audit the books of a stopped house."""
    command = [sys.executable, "-m", "payd", "verify", str(house.database)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
