"""The audit finds what it says it finds: for each invariant a damage is planted behind the schema's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from payd.core.settle_payment import decide_payment_evidence
from payd.errors import ConfigError
from payd.models.changes import ChangeSet, Put
from payd.models.evidence import PaymentEvidence, Source
from payd.models.states import PaymentEvent
from payd.plugin.discrepancies import resolve_discrepancy
from payd.storage.audit import CHECKS, audit
from payd.storage.findings import NAMED_PER_CHECK

GUARDS = ("orders", "payments", "refunds", "journal", "ledger")


def quiet(*_told):
    """Progress that nobody watches."""


@pytest.fixture
def books(db_path, sqlite_storage, histories, io_loop):
    """Five orders: paid with a fee, refunded in part and failed in part, closed and then paid late, unpaid, new."""

    async def write():
        numbers = ["paid-00001", "refunded-1", "late-00001", "unpaid-001", "paid-00002"]
        created = {number: histories.create(number) for number in numbers}
        for decision in created.values():
            await sqlite_storage.commit(decision.change)

        async def then(decision):
            await sqlite_storage.commit(decision.change)
            return decision.snapshot

        snapshot = await then(histories.pay(created["paid-00001"].snapshot))
        await sqlite_storage.commit(histories.fee(snapshot, 6))
        await then(histories.pay(created["paid-00002"].snapshot))
        snapshot = await then(histories.pay(created["refunded-1"].snapshot))
        snapshot = await then(histories.refund(snapshot, "refund-ok", 300))
        snapshot = await then(histories.end_refund(snapshot, "refund-ok"))
        snapshot = await then(histories.refund(snapshot, "refund-no", 700))
        snapshot = await then(histories.end_refund(snapshot, "refund-no", paid_back=False))
        await then(histories.refund(snapshot, "refund-open", 100))
        snapshot = await then(histories.expire(created["late-00001"].snapshot))
        snapshot = await then(histories.pay(snapshot))
        await then(histories.refund(snapshot, "refund-late", 1000))
        key = histories.key("k1")
        await sqlite_storage.commit(ChangeSet(puts=(Put(key, 0), Put(histories.delivery("d1"), 0))))
        await sqlite_storage.close()

    io_loop.run_sync(write)
    return db_path


def damage(path, *statements):
    """Change the file as no payd would: without triggers, checks and foreign keys."""
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()


def found(path):
    return [(finding.check, finding.subject) for finding in audit(path, quiet)]


def test_true_books_have_no_findings(books):
    """What the core decides and the storage writes passes every check, late money, fees and failed refunds included."""
    told = []

    assert audit(books, lambda *progress: told.append(progress)) == []

    assert told[-1] == ("orders", 5, 5)
    assert all(done <= total for _, done, total in told)


DAMAGES = {
    "a state outside the schema": (
        ["UPDATE orders SET status = 'LOST' WHERE out_trade_no = 'unpaid-001'"],
        {("file", ""), ("state_counts", "orders LOST"), ("state_counts", "orders PAYING"),
         ("order_follows_payment", "unpaid-001"), ("journal_replay", "unpaid-001")},
    ),
    "an order without its payment": (
        ["DELETE FROM payments WHERE out_trade_no = 'unpaid-001'"],
        {("orphans", "unpaid-001"), ("journal_replay", "unpaid-001")},
    ),
    "an order that is gone": (
        ["DELETE FROM orders WHERE out_trade_no = 'unpaid-001'"],
        {("foreign_keys", "payments row 4"), ("foreign_keys", "journal row 13"), ("foreign_keys", "journal row 14"),
         ("foreign_keys", "journal row 15"), ("foreign_keys", "journal row 16"), ("state_counts", "orders PAYING"),
         ("orphans", "unpaid-001")},
    ),
    "one transaction on two orders": (
        ["DROP INDEX orders_by_transaction",
         "UPDATE orders SET transaction_id = '42paid00001' WHERE out_trade_no = 'paid-00002'"],
        {("transaction_unique", "42paid00001"), ("as_told", "paid-00002")},
    ),
    "an answer without a status": (
        ["UPDATE idempotency_keys SET answer_body = x'7b7d'"],
        {("file", ""), ("idempotency_answers", "k1")},
    ),
    "a wrong count": (
        ["UPDATE state_counts SET count = count + 1 WHERE subject = 'deliveries'"],
        {("state_counts", "deliveries pending")},
    ),
    "an order paid by hand": (
        ["UPDATE orders SET status = 'PAID', paid_at = 1 WHERE out_trade_no = 'unpaid-001'",
         "UPDATE state_counts SET count = count + (CASE state WHEN 'PAID' THEN 1 WHEN 'PAYING' THEN -1 ELSE 0 END)"
         " WHERE subject = 'orders'"],
        {("order_follows_payment", "unpaid-001"), ("journal_replay", "unpaid-001"), ("postings_match", "unpaid-001")},
    ),
    "order and payment paid by hand": (
        ["UPDATE orders SET status = 'PAID', paid_at = 1 WHERE out_trade_no = 'unpaid-001'",
         "UPDATE payments SET status = 'SUCCESS' WHERE out_trade_no = 'unpaid-001'",
         "UPDATE state_counts SET count = count + (CASE state WHEN 'PAID' THEN 1 WHEN 'PAYING' THEN -1 ELSE 0 END)"
         " WHERE subject = 'orders'"],
        {("journal_replay", "unpaid-001"), ("postings_match", "unpaid-001")},
    ),
    "a journal line removed": (
        ["DELETE FROM journal WHERE out_trade_no = 'paid-00001' AND position = 2"],
        {("journal_positions", "paid-00001"), ("journal_chain", "paid-00001"), ("journal_replay", "paid-00001")},
    ),
    "the newest journal lines removed": (
        ["DELETE FROM journal WHERE out_trade_no = 'paid-00001' AND position > 4"],
        {("journal_positions", "paid-00001"), ("journal_chain", "paid-00001"), ("journal_replay", "paid-00001"),
         ("as_told", "paid-00001")},
    ),
    "an edited detail": (
        ["UPDATE journal SET detail = '{}' WHERE out_trade_no = 'paid-00001' AND position = 1"],
        {("journal_chain", "paid-00001")},
    ),
    "an edited time": (
        ["UPDATE journal SET at = at + 1 WHERE out_trade_no = 'paid-00001' AND position = 6"],
        {("journal_chain", "paid-00001")},
    ),
    "a journal of broken text": (
        ["UPDATE journal SET detail = '{broken' WHERE out_trade_no = 'paid-00001' AND position = 3"],
        {("journal_chain", "paid-00001")},
    ),
    "a head that is not the newest line": (
        ["UPDATE orders SET journal_head = 'f' WHERE out_trade_no = 'paid-00001'"],
        {("journal_chain", "paid-00001")},
    ),
    "an arrow that does not exist": (
        ["UPDATE journal SET from_state = 'FAILED' WHERE out_trade_no = 'paid-00001' AND position = 6"],
        {("journal_chain", "paid-00001"), ("journal_arrows", "paid-00001"), ("journal_replay", "paid-00001")},
    ),
    "a subject nobody knows": (
        ["UPDATE journal SET subject = 'invoice' WHERE out_trade_no = 'unpaid-001' AND position = 4"],
        {("journal_chain", "unpaid-001"), ("journal_arrows", "unpaid-001"), ("journal_replay", "unpaid-001")},
    ),
    "a word of WeChat's that cannot be read": (
        ["UPDATE journal SET detail = '{broken' WHERE out_trade_no = 'paid-00001' AND position = 5"],
        {("journal_chain", "paid-00001")},
    ),
    "another transaction on a paid order": (
        ["UPDATE orders SET transaction_id = '42' WHERE out_trade_no = 'paid-00001'"],
        {("as_told", "paid-00001")},
    ),
    "another transaction on an order paid late": (
        ["UPDATE orders SET transaction_id = '42' WHERE out_trade_no = 'late-00001'",
         "UPDATE refunds SET transaction_id = '42' WHERE out_refund_no = 'refund-late'"],
        {("as_told", "late-00001")},
    ),
    "a paid order without its transaction": (
        ["UPDATE orders SET transaction_id = NULL WHERE out_trade_no = 'paid-00001'"],
        {("as_told", "paid-00001")},
    ),
    "a transaction on an order that nobody paid": (
        ["UPDATE orders SET transaction_id = '42' WHERE out_trade_no = 'unpaid-001'"],
        {("as_told", "unpaid-001")},
    ),
    "another total of the payer": (
        ["UPDATE orders SET payer_total_fen = 1 WHERE out_trade_no IN ('paid-00001', 'late-00001')"],
        {("as_told", "paid-00001"), ("as_told", "late-00001")},
    ),
    "another merchant and app": (
        ["UPDATE orders SET mchid = '1' WHERE out_trade_no = 'paid-00001'",
         "UPDATE orders SET appid = 'wx2' WHERE out_trade_no = 'paid-00002'"],
        {("as_told", "paid-00001"), ("as_told", "paid-00002")},
    ),
    "a refund of another transaction": (
        ["UPDATE refunds SET transaction_id = '42' WHERE out_refund_no IN ('refund-ok', 'refund-late')"],
        {("as_told", "refund-ok"), ("as_told", "refund-late")},
    ),
    "a refund under another number of WeChat's": (
        ["UPDATE refunds SET refund_id = '50' WHERE out_refund_no = 'refund-no'"],
        {("as_told", "refund-no")},
    ),
    "a reserved sum too small": (
        ["UPDATE orders SET reserved_fen = 300 WHERE out_trade_no = 'refunded-1'"],
        {("refund_sums", "refunded-1")},
    ),
    "a refunded sum too large": (
        ["UPDATE orders SET refunded_fen = 400 WHERE out_trade_no = 'refunded-1'"],
        {("refund_sums", "refunded-1")},
    ),
    "refunds over what was paid": (
        ["UPDATE refunds SET refund_fen = 701 WHERE out_refund_no = 'refund-open'",
         "UPDATE orders SET reserved_fen = 1001 WHERE out_trade_no = 'refunded-1'"],
        {("file", ""), ("refunds_within_paid", "refunded-1"), ("postings_match", "refunded-1")},
    ),
    "a refund of another total": (
        ["UPDATE refunds SET total_fen = 2000 WHERE out_refund_no = 'refund-open'"],
        {("refunds_within_paid", "refund-open")},
    ),
    "a posting with one side changed": (
        ["UPDATE ledger_entries SET amount_fen = 999 WHERE posting_id = 'payment_received:paid-00001'"
         " AND account = 'wechat_receivable'"],
        {("postings_balance", "paid-00001"), ("postings_balance", "the ledger"), ("postings_match", "paid-00001")},
    ),
    "a posting with both sides changed": (
        ["UPDATE ledger_entries SET amount_fen = amount_fen * 2 WHERE posting_id = 'payment_received:paid-00001'"],
        {("postings_match", "paid-00001")},
    ),
    "a posting that is missing": (
        ["DELETE FROM ledger_entries WHERE posting_id = 'refund_settled:refund-ok'"],
        {("postings_match", "refunded-1")},
    ),
    "a posting that did not happen": (
        ["UPDATE ledger_entries SET out_trade_no = 'unpaid-001' WHERE posting_id = 'payment_received:paid-00002'"],
        {("postings_match", "paid-00002"), ("postings_match", "unpaid-001")},
    ),
    "late money booked as sales": (
        ["UPDATE ledger_entries SET account = 'sales' WHERE out_trade_no = 'late-00001' AND account = 'late_payments'"],
        {("postings_match", "late-00001")},
    ),
    "a fee between wrong accounts": (
        ["UPDATE ledger_entries SET account = 'sales' WHERE kind = 'fee' AND account = 'wechat_fees'"],
        {("postings_match", "paid-00001")},
    ),
    "a posting of another kind": (
        ["UPDATE ledger_entries SET kind = 'refund_settled' WHERE posting_id = 'payment_received:paid-00001'"],
        {("postings_match", "paid-00001")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_the_audit_finds(books, name):
    """Each planted damage is found under its own name, at its own number, and nothing else is reported."""
    statements, expected = DAMAGES[name]
    damage(books, *statements)

    assert set(found(books)) == expected


async def test_a_note_on_late_money_is_not_the_word_that_brought_it(sqlite_storage, histories, clock):
    """The line of a resolved discrepancy names late money too; it says nothing about the transaction."""
    created = histories.create("late-00001")
    closed = histories.expire(created.snapshot)
    late = histories.pay(closed.snapshot)
    for decision in (created, closed, late):
        await sqlite_storage.commit(decision.change)
    (opened,) = late.change.open_discrepancies

    await resolve_discrepancy(sqlite_storage, clock, opened.id, note="paid back", by="me", request_id=None)

    assert audit(sqlite_storage.path, quiet) == []


@pytest.mark.parametrize("source", [Source.NOTIFICATION, Source.QUERY, Source.BILL])
@pytest.mark.parametrize("left_out", [("payer_total_fen",), ("mchid", "appid", "currency", "payer_total_fen")])
async def test_a_word_with_members_left_out_is_kept_as_it_is(sqlite_storage, histories, source, left_out):
    """Whichever door money came through, what WeChat did not say is null in the order and no finding."""
    created = histories.create("paid-00001")
    said = {"mchid": "1900000001", "appid": "wx1", "currency": "CNY", "payer_total_fen": 900}
    evidence = PaymentEvidence(
        source=source, out_trade_no="paid-00001", event=PaymentEvent.PAID, trade_state="SUCCESS",
        transaction_id="42paid00001", total_fen=1000,
        **{member: value for member, value in said.items() if member not in left_out},
    )  # fmt: skip
    paid = decide_payment_evidence(created.snapshot, evidence, histories.word(source))

    for decision in (created, paid, histories.refund(paid.snapshot, "refund-1", 300)):
        await sqlite_storage.commit(decision.change)

    assert audit(sqlite_storage.path, quiet) == []


def test_every_check_has_been_seen_to_fail():
    """No check of the list is a check that cannot fail."""
    seen = {check for _, expected in DAMAGES.values() for check, _ in expected}

    assert seen == set(CHECKS)


def test_a_destroyed_page_is_a_finding(books):
    """A file that cannot be walked is reported, not raised."""
    content = bytearray(books.read_bytes())
    content[4096 * 3 : 4096 * 9] = b"\xa5" * (4096 * 6)
    books.write_bytes(content)

    findings = audit(books, quiet)

    assert "file" in {finding.check for finding in findings}


def test_many_offenders_are_named_first_and_then_counted(db_path, sqlite_storage, histories, io_loop):
    """A thousand broken orders do not make a thousand lines."""

    async def write():
        for n in range(NAMED_PER_CHECK + 5):
            await sqlite_storage.commit(histories.create(f"order-{n:04d}").change)
        await sqlite_storage.close()

    io_loop.run_sync(write)
    damage(db_path, "UPDATE orders SET journal_head = 'f'")

    findings = audit(db_path, quiet)

    assert [finding.subject for finding in findings] == [*(f"order-{n:04d}" for n in range(NAMED_PER_CHECK)), ""]
    assert findings[-1].detail == "and 5 more"


def test_the_audit_changes_nothing(books):
    """Damaged or not, the file is as it was."""
    damage(books, "UPDATE orders SET journal_head = 'f'")
    before = books.read_bytes()

    audit(books, quiet)

    assert books.read_bytes() == before


def test_what_is_no_database_is_said_so(tmp_path):
    """A missing file, an empty one and a text are configuration errors, not clean books."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("not a database, only named like one\n" * 100)

    for name in ("missing.db", "empty.db", "text.db"):
        with pytest.raises(ConfigError):
            audit(tmp_path / name, quiet)

    assert not (tmp_path / "missing.db").exists()


async def test_running_books_can_be_audited(sqlite_storage, histories):
    """The audit reads beside the daemon and sees one moment."""
    for n in range(10):
        await sqlite_storage.commit(histories.create(f"order-{n:04d}").change)

    assert audit(sqlite_storage.path, quiet) == []
