"""kill -9 at any moment under load: whatever was acknowledged is still there, and everything adds up.

The simulator is a process of its own, so what WeChat knows survives payd. The daemon is killed at random moments while
shops create, pay and refund; after each restart the acknowledged answers are looked up again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from tests.journeys.house import KEY, House, Process, free_port, until

KILLS = 20
SHOPS = 4


class Ledger:
    """What payd acknowledged to the shops."""

    def __init__(self):
        self.lock = threading.Lock()
        self.created: dict[str, str | None] = {}
        self.refunded: set[str] = set()

    def note_created(self, number, code_url):
        with self.lock:
            self.created[number] = code_url or self.created.get(number)

    def note_refunded(self, number):
        with self.lock:
            self.refunded.add(number)


def shop(house, ledger, stop, seed):
    """A merchant's program that repeats what it got no answer to, under the same number and key."""
    chance, count = random.Random(seed), 0
    while not stop.is_set():
        count += 1
        number = f"SHOP{seed}N{count:06d}"
        answer = insist(
            stop, lambda number=number: house.create(out_trade_no=number, headers={"Idempotency-Key": number})
        )
        if answer is None or answer.status >= 400:
            continue
        ledger.note_created(number, answer.json["code_url"])
        with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
            house.act("pay", {"out_trade_no": number})
        if chance.random() < 0.5:
            body = lambda number=number: house.refund(number, 100, out_refund_no=f"R{number}")  # noqa: E731
            refund = insist(stop, body)
            if refund is not None and refund.status in (200, 201, 202):
                ledger.note_refunded(f"R{number}")


def insist(stop, ask):
    """Ask until there is an answer, as a careful client does; None when the test ends."""
    while not stop.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
            return ask()
        threading.Event().wait(0.01)
    return None


@pytest.fixture
def alone(tmp_path, throwaway_keys):
    """The simulator alone, and a payd in mode live that speaks to it."""
    folder = tmp_path / "sandbox"
    shutil.copytree(throwaway_keys, folder)
    simulator = Process(
        ["sandbox", "--dir", str(folder), "--port", "0", "--no-rate-limits"], tmp_path / "simulator.log"
    )
    port = int(simulator.line.split("127.0.0.1:")[1].split()[0].strip("/,;"))
    house = House(tmp_path, {})
    house.simulator_port, house.port = port, free_port()
    ready = json.loads((folder / "config.json").read_text())
    paths = {name: str(folder / value) for name, value in ready["wechat_pay"].items() if name.endswith("_path")}
    house.config = {
        "mode": "live",
        "server": {"port": house.port},
        "storage": {"path": "payd.db"},
        "wechat_pay": ready["wechat_pay"] | paths | {
            "api_base": f"http://127.0.0.1:{port}",
            "notify_url": f"http://127.0.0.1:{house.port}/pay/notify/wechat",
            "timeout_ms": 2000,
        },
        "pay": {"api_keys": [KEY]},
        "reconcile_interval_seconds": 1,
        "bills": {"enabled": False},
    }  # fmt: skip
    yield house
    house.stop(signal.SIGKILL)
    simulator.end()


def check_acknowledged(house, ledger):
    """Every acknowledged create and refund is in the books after the restart."""
    for number, code_url in list(ledger.created.items()):
        answer = house.call("GET", f"/pay/query?out_trade_no={number}")
        assert answer.status == 200, (number, answer)
        assert code_url is None or answer.json["payments"][0]["code_url"] or answer.json["status"] != "PAYING"
    for number in list(ledger.refunded):
        answer = house.call("GET", f"/pay/refund/query?out_refund_no={number}")
        assert answer.status == 200, (number, answer)


def test_a_daemon_killed_twenty_times_under_load_loses_and_doubles_nothing(alone):
    """Creates, refunds and notifications that were acknowledged survive kill -9; the audit of the books is clean."""
    house, ledger, stop, chance = alone.start(), Ledger(), threading.Event(), random.Random(7)
    shops = [threading.Thread(target=shop, args=(house, ledger, stop, seed)) for seed in range(SHOPS)]
    for thread in shops:
        thread.start()
    try:
        for _ in range(KILLS):
            before = len(ledger.created)
            until(lambda before=before: len(ledger.created) > before, "work before the kill")
            threading.Event().wait(chance.uniform(0.0, 0.25))
            house.process.end(signal.SIGKILL)
            house.start()
    finally:
        stop.set()
        for thread in shops:
            thread.join(60)

    assert len(ledger.created) >= KILLS
    check_acknowledged(house, ledger)
    settle(house)
    check_against_wechat(house)
    assert house.stop() == 0
    audit = subprocess.run(
        [sys.executable, "-m", "payd", "verify", str(house.database)], capture_output=True, text=True, check=False
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr


def settle(house):
    """Let notifications and the reconciler end what the kills interrupted."""

    def quiet():
        open_orders = house.call("GET", "/pay/orders?status=PAYING&limit=100").json["orders"]
        paid_there = {o["out_trade_no"] for o in house.book()["orders"] if o["trade_state"] != "NOTPAY"}
        for order in open_orders:
            if order["out_trade_no"] in paid_there:
                house.query(order["out_trade_no"])
        return not [o for o in open_orders if o["out_trade_no"] in paid_there]

    until(quiet, "the settlement of what was paid")


def check_against_wechat(house):
    """One order and one refund at WeChat for each in the books; paid there means PAID here; 204 means on disk."""
    book = house.book()
    refunds_there = {}
    for refund in book["refunds"]:
        refunds_there.setdefault(refund["out_refund_no"], []).append(refund)
    assert all(len(found) == 1 for found in refunds_there.values())
    for order in book["orders"]:
        here = house.query(order["out_trade_no"])
        paid_there = order["trade_state"] in ("SUCCESS", "REFUND")
        assert (here["status"] == "PAID") == paid_there, (order, here)
        assert here["amount"]["refunded"] <= here["amount"]["total"]
        sums = sum(r["amount"]["refund"] for r in here["refunds"])
        assert sums <= here["amount"]["total"]
        assert {r["out_refund_no"] for r in here["refunds"]} >= {
            no for no, found in refunds_there.items() if found[0]["out_trade_no"] == order["out_trade_no"]
        }
