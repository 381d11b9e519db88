"""The same commands when no daemon runs: each opens the books itself, does its work, and leaves them whole."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal

import pytest

from tests.cli.conftest import WEBHOOK_SECRET
from tests.journeys.house import House


@pytest.fixture
def closed_house(merchant_folder, receiver, tmp_path):
    """A house whose daemon was there and can come back; ``ask`` is the command line on its folder."""
    shutil.copytree(merchant_folder, tmp_path / "sandbox")
    hook = {"url": receiver.url, "secrets": [WEBHOOK_SECRET], "allow_private_addresses": True}
    house = House(tmp_path, {"reconcile_enabled": False, "bills": {"enabled": False}, "webhooks": [hook]}).start()
    yield house
    house.stop()


@pytest.fixture
def ask(payd, closed_house):
    def run(*arguments: object, code: int = 0):
        done = payd(*arguments, "--config", closed_house.folder / "config.json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def _paid_in_secret(house):
    """An order paid while every notification is lost; it is due to be asked about."""
    number = house.create().json["out_trade_no"]
    house.act("pay", {"out_trade_no": number, "notify": False})
    house.act("clock", {"advance_seconds": 10})
    return number


def test_what_a_stopped_daemon_left_is_settled_and_sent(closed_house, ask, receiver):
    """reconcile starts the simulator of mode sandbox for its run; resend then tells the merchant from here."""
    number = _paid_in_secret(closed_house)
    assert closed_house.stop() == 0

    done = ask("reconcile", "--json")

    assert (done["asked"], done["settled"], done["pending_deliveries"]) == (1, 1, 1)
    assert receiver.got.empty()
    (delivery,) = ask("webhook", "list", "--json")["deliveries"]
    sent = ask("webhook", "resend", delivery["id"], "--json")
    headers, body = receiver.got.get(timeout=1)
    assert (sent["status"], body["data"]["out_trade_no"]) == ("delivered", number)
    assert headers["webhook-id"] == delivery["webhook_id"]
    assert "every invariant holds" in ask("verify")
    closed_house.start()
    assert closed_house.shown(number)["status"] == "PAID"


def test_a_killed_daemon_leaves_nothing_in_the_way(closed_house, ask):
    """After SIGKILL its socket and lock file are still there; commands work all the same, and so does a new daemon."""
    number = _paid_in_secret(closed_house)
    closed_house.stop(signal.SIGKILL)
    assert (closed_house.folder / "payd.db.sock").is_socket()

    done = ask("reconcile", "--json")

    assert done["settled"] == 1
    closed_house.start()
    assert closed_house.shown(number)["status"] == "PAID"
    assert ask("reconcile", "--json")["asked"] == 0


def test_books_that_lost_a_day_are_found_by_the_bill(closed_house, ask, tmp_path):
    """Books restored from an old copy do not know a payment: the bill does, exit 1; resolving it needs no daemon."""
    copy = tmp_path / "copy.db"
    closed_house.paid()
    ask("backup", copy)
    lost = closed_house.paid()
    day = closed_house.act("clock", method="GET")["now"][:10]
    closed_house.act("clock", {"advance_seconds": 86_400 + 43_200})
    closed_house.stop()
    shutil.copyfile(copy, closed_house.database)

    done = ask("bill", "fetch", day, "--json", code=1)

    (found,) = done["discrepancies"]
    assert (found["kind"], found["out_trade_no"]) == ("bill_missing_here", lost)
    ask("discrepancy", "resolve", found["id"], "--note", "booked by hand")
    assert ask("discrepancy", "list", "--json") == {"discrepancies": []}
    again = ask("bill", "fetch", day, "--json", code=1)
    assert [item["status"] for item in again["discrepancies"]] == ["resolved"]


def test_two_commands_never_write_at_once(closed_house, ask, payd):
    """While one process holds the books another is told to wait: exit 75, nothing moved."""
    closed_house.stop()
    with (closed_house.folder / "payd.db.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = payd("reconcile", "--config", closed_house.folder / "config.json")

    assert done.exit_code == 75
    assert done.stdout == ""
    assert ask("reconcile", "--json")["asked"] == 0
