"""The writer: group commit, and what it does when the disk, another process or a caller lets it down."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from payd.errors import StorageError, StorageUnavailable
from payd.limits import WRITE_BATCH_MAX, WRITE_QUEUE_MAX
from payd.models.changes import ChangeSet, Put
from payd.storage import open_storage
from payd.storage.audit import audit
from payd.storage.sqlite import statements
from payd.storage.sqlite.connection import open_writer

HERE = Path(__file__).parent


def note(key, value="v"):
    return ChangeSet(meta=((key, value),))


class Blocked:
    """Holds the writer inside a chore until it is let go."""

    def __init__(self):
        self._go = threading.Event()

    @classmethod
    async def begin(cls, storage):
        blocked, loop, begun = cls(), asyncio.get_running_loop(), asyncio.Event()

        def hold(_connection):
            loop.call_soon_threadsafe(begun.set)
            return int(blocked._go.wait())

        blocked._chore = storage._writer.perform(hold)
        await begun.wait()
        return blocked

    async def let_go(self):
        self._go.set()
        await self._chore


async def test_waiting_changes_share_one_commit(sqlite_storage, histories):
    """What waits at the same time is one transaction and one fsync, and every caller is answered."""
    traced = []
    sqlite_storage._writing.set_trace_callback(traced.append)
    blocked = await Blocked.begin(sqlite_storage)
    changes = [histories.create(f"order-{n:04d}").change for n in range(50)]
    waiting = [asyncio.ensure_future(sqlite_storage.commit(change)) for change in changes]
    await asyncio.sleep(0)
    await blocked.let_go()

    await asyncio.gather(*waiting)

    sqlite_storage._writing.set_trace_callback(None)
    begin, commit, batch = dict.fromkeys(traced)  # SQLite tells a statement again for each row a trigger writes
    assert (begin, commit) == ("BEGIN IMMEDIATE", "COMMIT")  # the chore's; the batch is its own transaction
    assert [f'[0,["order-{n:04d}"' in batch for n in range(50)] == [True] * 50


async def test_observers_hear_of_each_commit(db_path, clock, histories):
    """Each ChangeSet is reported once: outcome, seconds from call to answer, size of its batch."""
    heard = []
    storage = open_storage(db_path, mode="sandbox", clock=clock, on_commit=lambda *told: heard.append(told))
    created = histories.create("order-0001")
    await storage.commit(created.change)
    clock.seconds = 2.0
    blocked = await Blocked.begin(storage)
    changes = [created.change, note("a"), histories.pay(histories.create("order-0002").snapshot).change]
    waiting = [asyncio.ensure_future(storage.commit(change)) for change in changes]
    await asyncio.sleep(0)
    clock.seconds = 5.0
    await blocked.let_go()
    await asyncio.gather(*waiting, return_exceptions=True)
    await storage.close()

    assert heard == [("ok", 0.0, 1), ("exists", 3.0, 3), ("ok", 3.0, 3), ("stale", 3.0, 3)]


async def test_a_full_queue_refuses_at_once(sqlite_storage):
    """More waiting writes than the limit are refused before they wait; those that wait land."""
    blocked = await Blocked.begin(sqlite_storage)
    waiting = [asyncio.ensure_future(sqlite_storage.commit(note(f"k{n}"))) for n in range(WRITE_QUEUE_MAX)]
    await asyncio.sleep(0)
    assert (await sqlite_storage.status()).queue_depth == WRITE_QUEUE_MAX

    with pytest.raises(StorageUnavailable, match="too many"):
        await sqlite_storage.commit(note("one-more"))

    await blocked.let_go()
    await asyncio.gather(*waiting)
    assert await sqlite_storage.load_meta(f"k{WRITE_QUEUE_MAX - 1}") == "v"
    assert await sqlite_storage.load_meta("one-more") is None


async def test_a_batch_is_bounded(db_path, clock):
    """One fsync carries at most WRITE_BATCH_MAX ChangeSets."""
    sizes = []
    storage = open_storage(db_path, mode="sandbox", clock=clock, on_commit=lambda _o, _s, size: sizes.append(size))
    blocked = await Blocked.begin(storage)
    waiting = [asyncio.ensure_future(storage.commit(note(f"k{n}"))) for n in range(WRITE_BATCH_MAX + 3)]
    await asyncio.sleep(0)
    await blocked.let_go()
    await asyncio.gather(*waiting)
    await storage.close()

    assert [sizes.count(WRITE_BATCH_MAX), sizes.count(3)] == [WRITE_BATCH_MAX, 3]


async def test_a_cancelled_caller_harms_nobody(sqlite_storage, histories):
    """Whoever stops waiting cannot know; the others are answered and the books stay whole."""
    blocked = await Blocked.begin(sqlite_storage)
    changes = [histories.create(f"order-{n:04d}").change for n in range(5)]
    waiting = [asyncio.ensure_future(sqlite_storage.commit(change)) for change in changes]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await blocked.let_go()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [outcome is None for outcome in outcomes] == [True, True, False, True, True]
    for n in (0, 1, 3, 4):
        assert await sqlite_storage.load_order(f"order-{n:04d}") is not None
    assert audit(sqlite_storage.path, lambda *_: None) == []


async def test_a_foreign_lock_is_waited_for_and_then_refused(sqlite_storage, db_path, histories):
    """Somebody's open transaction makes commits unavailable after a bounded wait; afterwards all is as before."""
    with closing(open_writer(db_path)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            *(sqlite_storage.commit(histories.create(f"order-{n:04d}").change) for n in range(3)),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes), outcomes
        assert await sqlite_storage.load_order("order-0000") is None  # reads go on
        foreign.execute("ROLLBACK")

    await sqlite_storage.commit(histories.create("order-0000").change)

    assert await sqlite_storage.load_order("order-0000") is not None


async def test_a_full_disk_acknowledges_nothing_and_passes(sqlite_storage, histories):
    """When pages run out the whole batch is refused, nothing of it is there, and commits work once there is space."""
    writing = sqlite_storage._writing
    ((pages,),) = writing.execute("PRAGMA page_count").fetchall()
    writing.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    changes = {f"order-{n:04d}": histories.create(f"order-{n:04d}").change for n in range(64)}
    outcomes = await asyncio.gather(*map(sqlite_storage.commit, changes.values()), return_exceptions=True)
    refused = [n for n, outcome in zip(changes, outcomes, strict=True) if isinstance(outcome, StorageUnavailable)]
    assert len(refused) + outcomes.count(None) == 64
    assert refused
    for number in refused:
        assert await sqlite_storage.load_order(number) is None

    writing.execute("PRAGMA max_page_count = 1000000").fetchall()
    await asyncio.gather(*(sqlite_storage.commit(changes[number]) for number in refused))

    for number in changes:
        assert await sqlite_storage.load_order(number) is not None
    assert audit(sqlite_storage.path, lambda *_: None) == []


async def test_a_failing_commit_statement_rolls_the_batch_back(sqlite_storage, histories):
    """When COMMIT itself fails, every caller of the batch is refused, no transaction stays open, and it passes."""
    writing = sqlite_storage._writing
    writing.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    writing.execute("CREATE TABLE child (p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    writing.execute(
        "CREATE TEMP TRIGGER break AFTER INSERT ON meta WHEN NEW.key = 'break' BEGIN INSERT INTO child VALUES (1); END"
    )
    blocked = await Blocked.begin(sqlite_storage)
    waiting = [asyncio.ensure_future(sqlite_storage.commit(change)) for change in (note("break"), note("other"))]
    await asyncio.sleep(0)
    await blocked.let_go()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable, StorageUnavailable]
    assert not writing.in_transaction
    assert [await sqlite_storage.load_meta(key) for key in ("break", "other")] == [None, None]
    await sqlite_storage.commit(note("other"))
    assert await sqlite_storage.load_meta("other") == "v"


async def test_a_file_size_limit_is_survived(tmp_path):
    """A process whose disk is full (RLIMIT_FSIZE) refuses, keeps what it acknowledged, and writes again later."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "limited_writer.py"), str(tmp_path / "payd.db"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    told = output.decode().split()

    assert process.returncode == 0
    acknowledged, refused, later = (int(number) for number in told)
    assert acknowledged > 0
    assert refused > 0
    assert later == refused
    assert audit(tmp_path / "payd.db", lambda *_: None) == []
    with closing(open_writer(tmp_path / "payd.db")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(acknowledged + later,)]


@pytest.mark.parametrize("value", [Decimal("1.5"), 1.5, "twelve", 2**63, None])
async def test_money_is_a_whole_number(sqlite_storage, histories, value):
    """A Decimal, a fraction, a text or a number beyond 64 bits is refused by the tables themselves."""
    created = histories.create("order-0001")
    order = created.snapshot.order
    object.__setattr__(order, "total_fen", value)

    with pytest.raises(StorageError) as refusal:
        await sqlite_storage.commit(ChangeSet(puts=(Put(order, 0),)))

    assert type(refusal.value) is StorageError
    assert await sqlite_storage.load_order("order-0001") is None
    await sqlite_storage.commit(histories.create("order-0001").change)


async def test_a_lone_surrogate_fails_alone(sqlite_storage, histories):
    """Text that is no Unicode takes nobody else down and does not end the writer."""
    bad, good = note("k", "\ud800"), histories.create("order-0001").change

    outcomes = await asyncio.gather(sqlite_storage.commit(bad), sqlite_storage.commit(good), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StorageError, type(None)]
    assert await sqlite_storage.load_order("order-0001") is not None


@pytest.mark.parametrize("keeps", [True, False])
async def test_text_with_a_nul_is_kept_whole_or_refused(sqlite_storage, histories, monkeypatch, keeps):
    """An SQLite whose JSON cuts text at a NUL is not given one: what is acknowledged is what was said."""
    monkeypatch.setattr(statements, "KEEPS_NUL", keeps and statements.KEEPS_NUL)
    change = note("k", "a\0b")

    if not statements.KEEPS_NUL:
        with pytest.raises(StorageError, match="NUL"):
            await sqlite_storage.commit(change)
        assert await sqlite_storage.load_meta("k") is None
        await sqlite_storage.commit(note("k", r"a\u0000b"))  # looks alike in JSON, and is none
        assert await sqlite_storage.load_meta("k") == r"a\u0000b"
    else:
        await sqlite_storage.commit(change)
        assert await sqlite_storage.load_meta("k") == "a\0b"


async def missing(storage, numbers):
    return [number for number in numbers if await storage.load_order(number) is None]


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, clock, io_loop):
    """Killed at any moment, the books hold every acknowledged order and pass the audit; several rounds on one file."""
    path, acknowledged = tmp_path / "payd.db", set()
    for round_number in range(3):
        command = [sys.executable, str(HERE / "busy_writer.py"), str(path), str(round_number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                acknowledged.add(line.strip())
                if len(acknowledged) >= 120 * (round_number + 1):
                    break
            child.kill()
            acknowledged |= {line.strip() for line in child.stdout if line.endswith("\n")}

        assert audit(path, lambda *_: None) == []
        storage = open_storage(path, mode="sandbox", clock=clock)
        assert io_loop.run_sync(partial(missing, storage, acknowledged)) == []
        io_loop.run_sync(storage.close)
