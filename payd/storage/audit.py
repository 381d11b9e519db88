"""``payd verify``: a read-only re-check of every invariant, over a running database, a stopped one or a backup.

Everything is read at one moment and streamed: memory does not grow with the number of orders. What is damaged is
reported, never repaired.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from payd.errors import Complaint, ConfigError
from payd.storage.audit_history import OrderBooks, check_order
from payd.storage.findings import CHECKS, Finding, Findings
from payd.storage.sqlite.connection import driver, open_checker, open_reader, opening, reading
from payd.storage.sqlite.schema import applied_migrations

#: Called with the check under way, what is done and what there is to do.
Progress = Callable[[str, int, int], None]

#: Orders between two calls of ``progress``.
PROGRESS_STEP: Final = 1_000

_ORDER: Final = (
    "out_trade_no, status, total_fen, reserved_fen, refunded_fen, late, journal_head, journal_length, transaction_id, "
    "payer_total_fen, mchid, appid"
)
_LINE: Final = (
    "out_trade_no, position, subject, subject_id, from_state, to_state, source, at, request_id, wechat_request_id, "
    "detail, previous_hash, hash"
)
#: The five streams, all in the order of out_trade_no, all walked along an index.
STREAMS: Final[dict[str, str]] = {
    "orders": f"SELECT {_ORDER} FROM orders ORDER BY out_trade_no",  # noqa: S608
    "payments": "SELECT out_trade_no, status FROM payments ORDER BY out_trade_no",
    "refunds": "SELECT out_trade_no, out_refund_no, status, refund_fen, total_fen, transaction_id, refund_id "
    "FROM refunds INDEXED BY refunds_by_order ORDER BY out_trade_no",
    "journal": f"SELECT {_LINE} FROM journal ORDER BY out_trade_no, position",  # noqa: S608
    "ledger": "SELECT out_trade_no, posting_id, account, kind, amount_fen, out_refund_no FROM ledger_entries "
    "ORDER BY out_trade_no, posting_id",
}


def audit(path: Path, progress: Progress) -> list[Finding]:
    """Check every invariant of ``findings.CHECKS``; an empty list means that all of them hold.

    Raises ConfigError (no such file, no payd database, a newer one) and StorageUnavailable (it cannot be read).
    """
    if not path.is_file():
        raise ConfigError([Complaint("storage.path", f"{path} does not exist")])
    findings = Findings()
    with opening(path), contextlib.closing(open_reader(path)) as connection:
        if not applied_migrations(connection, path):
            raise ConfigError([Complaint("storage.path", f"{path} is not a payd database: it is empty")])
        with reading(connection):
            try:
                _check_file(path, findings, progress)
                _check_tables(connection, findings, progress)
                _check_orders(connection, findings, progress)
            except driver.DatabaseError as exc:
                # The file is damaged so badly that it cannot be walked: that is the finding.
                findings.add("file", path.name, str(exc))
    return findings.finish()


def _check_file(path: Path, findings: Findings, progress: Progress) -> None:
    progress("file", 0, 1)
    with contextlib.closing(open_checker(path)) as connection:
        for (text,) in connection.execute("PRAGMA integrity_check").fetchall():
            if text != "ok":
                findings.add("file", "", text)
    progress("file", 1, 1)


#: Whole-table checks: (check, query, how to say it). The first column of a row is its subject.
_TABLE_CHECKS: Final = (
    (
        "transaction_unique",
        "SELECT transaction_id, count(*) FROM orders WHERE transaction_id IS NOT NULL "
        "GROUP BY transaction_id HAVING count(*) > 1",
        "it stands on {} orders",
    ),
    (
        "idempotency_answers",
        "SELECT scope_key, coalesce(answer_status, 'none') FROM idempotency_keys "
        "WHERE (answer_status IS NULL) <> (answer_body IS NULL)",
        "status {} without the other half",
    ),
)
_COUNTED: Final = ("orders", "refunds", "deliveries", "discrepancies")


def _check_tables(connection: driver.Connection, findings: Findings, progress: Progress) -> None:
    steps = 2 + len(_TABLE_CHECKS)
    progress("tables", 0, steps)
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        findings.add("foreign_keys", f"{table} row {rowid}", f"its {parent} is not there")
    for done, (check, query, detail) in enumerate(_TABLE_CHECKS, start=1):
        progress("tables", done, steps)
        for subject, value in connection.execute(query):
            findings.add(check, subject, detail.format(value))
    for table in _COUNTED:
        kept = dict(connection.execute("SELECT state, count FROM state_counts WHERE subject = ?", (table,)).fetchall())
        real = dict(connection.execute(f"SELECT status, count(*) FROM {table} GROUP BY status").fetchall())  # noqa: S608
        for state in sorted({*kept, *real}):
            if kept.get(state, 0) != real.get(state, 0):
                detail = f"counted {kept.get(state, 0)}, there are {real.get(state, 0)}"
                findings.add("state_counts", f"{table} {state}", detail)
    progress("tables", steps, steps)


class _Stream:
    """Rows in the order of their first column, taken by key. Keys that nobody asks for are orphans."""

    def __init__(self, name: str, rows: Iterator[Any], findings: Findings) -> None:
        self._name = name
        self._rows = rows
        self._findings = findings
        self._next = next(rows, None)

    def take(self, number: str | None) -> list[Any]:
        """Take the rows of an order; None drains the rest."""
        taken: list[Any] = []
        while self._next is not None and (number is None or self._next[0] <= number):
            if self._next[0] == number:
                taken.append(self._next)
            else:
                self._findings.add("orphans", self._next[0], f"{self._name} of an order that is not there")
            self._next = next(self._rows, None)
        return taken


def _check_orders(connection: driver.Connection, findings: Findings, progress: Progress) -> None:
    total = connection.execute("SELECT count(*) FROM orders").fetchall()[0][0]
    payments, refunds, journal, ledger = (
        _Stream(name, connection.execute(STREAMS[name]), findings)
        for name in ("payments", "refunds", "journal", "ledger")
    )
    balance = 0
    for done, order in enumerate(connection.execute(STREAMS["orders"])):
        if done % PROGRESS_STEP == 0:
            progress("orders", done, total)
        number = order[0]
        books = OrderBooks(
            order=order,
            payments=payments.take(number),
            refunds=refunds.take(number),
            journal=journal.take(number),
            ledger=ledger.take(number),
        )
        balance += check_order(books, findings)
    for stream in (payments, refunds, journal, ledger):
        stream.take(None)
    if balance:
        findings.add("postings_balance", "the ledger", f"it sums to {balance} fen")
    progress("orders", total, total)


__all__ = ["CHECKS", "Finding", "Progress", "audit"]
