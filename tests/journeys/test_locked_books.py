"""While something else holds the database's write lock: bounded answers, nothing acknowledged, reads go on."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

from tests.journeys.house import until


def test_a_locked_database_refuses_writes_and_serves_reads(house):
    """503 for callbacks and commands, 200 from the books; once it is free the same callback is applied."""
    number = house.create().json["out_trade_no"]
    house.fault("notify", "dropped")
    house.act("pay", {"out_trade_no": number, "wait": True})
    with contextlib.closing(sqlite3.connect(house.database, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        callback = house.resend(number)
        refused = house.create()
        ready = house.call("GET", "/readyz")
        seen = house.query(number)
        stranger.execute("ROLLBACK")
    again = house.resend(number)

    assert callback == [503]
    assert (refused.status, refused.json["code"], bool(refused.headers["retry-after"])) == (
        503, "storage_unavailable", True,
    )  # fmt: skip
    assert (ready.status, ready.json["status"]) == (503, "not_ready")
    assert (seen["status"], seen["stale"], seen["wechat_error"]["code"]) == ("PAYING", True, "storage_unavailable")
    assert again == [204]
    assert house.shown(number)["status"] == "PAID"


def test_once_a_refund_is_out_nobody_is_told_that_nothing_was_done(house):
    """The books are locked between the send and its answer: 202 with the number, and one refund at WeChat."""
    number = house.paid()
    house.fault("refund", "delay", seconds=0.8)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(house.refund(number, 300)))
    with contextlib.closing(sqlite3.connect(house.database, isolation_level=None)) as stranger:
        asking.start()
        until(lambda: stranger.execute("SELECT 1 FROM refunds WHERE out_trade_no = ?", [number]).fetchone(), "commit 1")
        stranger.execute("BEGIN IMMEDIATE")
        asking.join(20)
        stranger.execute("ROLLBACK")
    told = answers[0]

    assert (told.status, told.json["status"], told.json["outcome"]) == (202, "REFUNDING", "unknown")
    assert [r["out_refund_no"] for r in house.book(number)["refunds"]] == [told.json["out_refund_no"]]
