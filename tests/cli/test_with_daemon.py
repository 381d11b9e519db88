"""The commands beside a running daemon, in the order of an operator's day. One daemon and its books for all of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest
from standardwebhooks import Webhook

from tests.cli.conftest import WEBHOOK_SECRET
from tests.journeys.house import until

DAY_SECONDS = 86_400
RECEIVED_SECONDS = 30


def _received(shop):
    return shop.got.get(timeout=RECEIVED_SECONDS)


def _settled(house, ask, **changes):
    """An order whose notification was lost, settled by one run of the reconciler."""
    number = house.create(**changes).json["out_trade_no"]
    house.act("pay", {"out_trade_no": number, "notify": False})
    house.act("clock", {"advance_seconds": 10})
    return number, ask("reconcile", "--json")


def test_reconcile_settles_what_is_due(house, ask, shop):
    """A lost notification is made good by one run by hand, done by the daemon that owns the books."""
    number, done = _settled(house, ask)

    assert (done["asked"], done["settled"], done["failed"]) == (1, 1, 0)
    assert house.shown(number)["status"] == "PAID"
    headers, body = _received(shop)
    assert body["data"]["out_trade_no"] == number
    assert ask("reconcile").splitlines()[0] == "asked 0, settled 0, failed 0"


def test_reconcile_says_when_wechat_cannot_be_asked(house, ask):
    """A row that WeChat gives no clear answer about stays open; the next run settles it."""
    number = house.create().json["out_trade_no"]
    house.act("clock", {"advance_seconds": 10})
    house.fault("query", "system_error", match=number)
    unclear = ask("reconcile", "--json")

    assert (unclear["asked"], unclear["settled"]) == (1, 0)
    assert house.shown(number)["status"] == "PAYING"
    assert unclear["open_payments"] == 1
    house.call("POST", "/pay/close", {"out_trade_no": number})


def test_a_delivery_is_listed_and_sent_again_under_its_id(house, ask, shop):
    """webhook list shows it; webhook resend has the daemon send it at once with the same webhook-id and body."""
    number, _ = _settled(house, ask)
    first, body = _received(shop)
    while body["data"]["out_trade_no"] != number:
        first, body = _received(shop)
    listed = ask("webhook", "list", "--json")
    delivery = next(item for item in listed["deliveries"] if item["out_trade_no"] == number)

    sent = ask("webhook", "resend", delivery["id"], "--json")

    second, again = _received(shop)
    assert sent["id"] == delivery["id"]
    assert second["webhook-id"] == first["webhook-id"] == delivery["webhook_id"]
    assert again == body
    assert listed["endpoints"] == [{"url": shop.url, "events": ["*"], "status": "on"}]
    assert delivery["id"] in ask("webhook", "list")


def test_an_endpoint_that_went_is_used_again_when_asked(house, ask, shop):
    """410 switches an endpoint off; webhook list says so and webhook enable brings it back."""
    number, _ = _settled(house, ask)
    headers, body = _received(shop)
    delivery = next(item for item in ask("webhook", "list", "--json")["deliveries"] if item["out_trade_no"] == number)
    shop.status = 410
    ask("webhook", "resend", delivery["id"])
    _received(shop)
    shop.status = 204

    def status():
        return ask("webhook", "list", "--json")["endpoints"][0]["status"]

    until(lambda: status() == "disabled", "the endpoint to be switched off")
    ask("webhook", "enable", shop.url)

    assert status() == "on"


def test_a_test_event_is_signed_and_shown(house, ask, shop):
    """webhook test posts a signed event; exit 1 when the endpoint does not take it, 2 when it is not configured."""
    good = ask("webhook", "test", shop.url, "--json")
    headers, body = _received(shop)
    shop.status = 500
    bad = ask("webhook", "test", shop.url, code=1)
    _received(shop)
    shop.status = 204
    unknown = ask("webhook", "test", "https://nobody.example/", code=2)

    assert (good["ok"], good["status"]) == (True, 204)
    assert body["type"] == "test"
    Webhook(WEBHOOK_SECRET).verify(json.dumps(body, separators=(",", ":")), dict(headers))
    assert "answered 500" in bad
    assert unknown == ""
    assert shop.got.empty()


def test_a_discrepancy_is_listed_and_resolved_with_a_note(house, ask):
    """Late money opens a discrepancy; resolving it closes it for good and writes the note into the journal."""
    number = house.create().json["out_trade_no"]
    house.call("POST", "/pay/close", {"out_trade_no": number})
    house.act("pay", {"out_trade_no": number, "force": True, "wait": True})
    (found,) = ask("discrepancy", "list", "--json")["discrepancies"]
    shown = ask("discrepancy", "list")

    done = ask("discrepancy", "resolve", found["id"], "--note", "已人工退款", "--json")
    again = ask("discrepancy", "resolve", found["id"], "--note", "another", "--json")

    assert (found["kind"], found["out_trade_no"]) == ("late_payment", number)
    assert found["id"] in shown
    assert (done["status"], done["note"]) == ("resolved", "已人工退款")
    assert again["note"] == "已人工退款"
    assert ask("discrepancy", "list") == "no open discrepancies\n"
    assert [item["id"] for item in ask("discrepancy", "list", "--status", "all", "--json")["discrepancies"]] == [
        found["id"]
    ]
    notes = [event["detail"].get("note") for event in house.events(number) if event["source"] == "operator"]
    assert notes == ["已人工退款"]


@pytest.mark.parametrize("arguments", [
    ("discrepancy", "resolve", "nope", "--note", "x"), ("discrepancy", "resolve", "nope"),
    ("webhook", "resend", "nope"),
    ("bill", "fetch", "22.11.2026"), ("bill", "fetch", "2999-01-01"), ("bill", "show", "tomorrow"),
    ("bill", "fetch", "2020-01-01"),
], ids=" ".join)  # fmt: skip
def test_what_cannot_be_meant_is_a_usage_error(ask, arguments):
    """Ids that are not there and days without a bill are exit 2."""
    ask(*arguments, code=2)


def _day(house):
    """The simulator's Beijing day; then its clock goes on to noon of the next."""
    now = house.act("clock", method="GET")["now"]
    house.act("clock", {"advance_seconds": DAY_SECONDS + 43_200 - int(now[11:13]) * 3_600})
    return now[:10]


def test_a_days_bill_is_fetched_compared_and_exported(house, ask, tmp_path):
    """bill fetch agrees (0), bill show tells it again, --csv writes the rows; before the fetch there is nothing."""
    number, _ = _settled(house, ask)
    day = _day(house)
    before = ask("bill", "show", day, "--json")

    done = ask("bill", "fetch", day, "--json")

    target = tmp_path / "day.csv"
    shown = ask("bill", "show", day, "--csv", target, "--json")
    assert before["outcome"] == "not_fetched"
    assert (done["outcome"], done["differences"], done["exit_code"]) == ("compared", 0, 0)
    assert shown["trade"]["rows"] == done["trade"]["rows"] > 0
    assert number in target.read_text("utf-8-sig")
    assert "compared with the books" in ask("bill", "show", day)


def test_a_day_without_business_has_no_statement(house, ask):
    """NO_STATEMENT_EXIST is an answer: exit 0."""
    day = _day(house)

    done = ask("bill", "fetch", day, "--json")

    assert (done["outcome"], done["exit_code"]) == ("no_statement", 0)


def test_a_damaged_bill_is_temporary_and_differences_are_found(house, ask):
    """A damaged download is exit 75 and compares nothing; money that only the books know of is exit 1."""
    number, _ = _settled(house, ask)
    day = _day(house)
    house.fault("download", "damaged_bill", times=2)
    damaged = ask("bill", "fetch", day, "--json", code=75)
    house.fault("trade_bill", "no_statement")
    different = ask("bill", "fetch", day, "--json", code=1)

    assert (damaged["outcome"], damaged["discrepancies"]) == ("damaged", [])
    assert different["differences"] == len(different["discrepancies"]) > 0
    assert {item["out_trade_no"] for item in different["discrepancies"]} == {number}
    assert different["discrepancies"][0]["id"] in ask("bill", "show", day)


def test_a_file_changed_after_the_comparison_is_noticed(house, ask):
    """bill show proves the stored file against WeChat's hash: exit 1 when it was touched."""
    _settled(house, ask)
    day = _day(house)
    done = ask("bill", "fetch", day, "--json")
    with open(done["path"], "ab") as bill:
        bill.write(b"x")

    shown = ask("bill", "show", day, code=1)

    assert day in shown


def test_a_backup_of_a_running_daemon_is_whole(house, ask, payd, tmp_path):
    """backup copies while the daemon runs, for its owner alone; verify proves the copy; nothing is overwritten."""
    copy = tmp_path / "copy.db"

    ask("backup", copy)

    assert copy.stat().st_mode & 0o777 == 0o600
    done = payd("verify", copy, "--json")
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (0, True)
    before = copy.read_bytes()
    ask("backup", copy, code=2)
    ask("backup", tmp_path / "nowhere" / "copy.db", code=2)
    assert copy.read_bytes() == before
    assert "every invariant holds" in ask("verify")


def test_verify_names_what_was_edited(house, ask, payd, tmp_path):
    """An edited history is exit 1 and the order is named."""
    number, _ = _settled(house, ask)
    copy = tmp_path / "copy.db"
    ask("backup", copy)
    with contextlib.closing(sqlite3.connect(copy)) as books:
        named = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'journal'"
        for (trigger,) in books.execute(named).fetchall():
            books.execute(f'DROP TRIGGER "{trigger}"')
        books.execute("UPDATE journal SET detail = '{}' WHERE out_trade_no = ? AND position = 1", (number,))
        books.commit()

    done = payd("verify", copy)

    assert done.exit_code == 1
    assert number in done.stdout
    assert "journal_chain" in done.stdout
    assert "1 of" in done.stdout.splitlines()[-1]
