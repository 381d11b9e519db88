"""``Storage.commit``: all of a ChangeSet lands or none, and every race has a name.

The races: two commands create the same number; a notification and a query settle the same order; two refunds take the
same money; a callback is delivered twice at once; a crash between two halves of one decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from payd.core.changes import new_discrepancy
from payd.errors import AlreadyExists, StaleVersion, StorageError, StorageUnavailable
from payd.models.changes import ChangeSet, Put
from payd.models.ledger import Account, LedgerEntry, PostingKind
from payd.models.states import OrderState, PaymentState, RefundState


async def test_read_your_writes(storage, histories):
    """What was acknowledged is what the next read shows, to the last member."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    assert created.snapshot == await storage.load_order("order-0001")

    paid = histories.pay(created.snapshot)
    await storage.commit(paid.change)
    assert paid.snapshot == await storage.load_order("order-0001")
    assert paid.snapshot == await storage.load_order_by_transaction("42order0001")

    refunded = histories.refund(paid.snapshot, "refund-1", 300)
    await storage.commit(refunded.change)

    assert refunded.snapshot == await storage.load_order_of_refund("refund-1")
    assert [*created.change.journal, *paid.change.journal, *refunded.change.journal] == list(
        await storage.list_events("order-0001")
    )


async def test_what_is_not_there_is_none(storage):
    """A number nobody used is None, not an error."""
    assert await storage.load_order("order-0001") is None
    assert await storage.load_order_by_transaction("4200001") is None
    assert await storage.load_order_of_refund("refund-1") is None
    assert await storage.load_idempotency("k") is None
    assert await storage.load_meta("k") is None
    assert list(await storage.list_events("order-0001")) == []


async def test_stale_version(storage, histories):
    """A writer who read an older version is refused and moves nothing."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    paid, expired = histories.pay(created.snapshot), histories.expire(created.snapshot)
    await storage.commit(paid.change)

    with pytest.raises(StaleVersion) as refusal:
        await storage.commit(expired.change)

    assert (refusal.value.table, refusal.value.key) == ("orders", "order-0001")
    assert paid.snapshot == await storage.load_order("order-0001")
    assert len(await storage.list_events("order-0001")) == len(created.change.journal) + len(paid.change.journal)


async def test_replacing_what_never_was_is_stale(storage, histories):
    """A put that replaces a version of a record nobody wrote is refused."""
    created = histories.create("order-0001")

    with pytest.raises(StaleVersion):
        await storage.commit(histories.pay(created.snapshot).change)

    assert await storage.load_order("order-0001") is None


async def test_already_exists_names_the_record(storage, histories):
    """A second record under the same number is refused by name, and the first stays."""
    first, second = histories.create("order-0001"), histories.create("order-0001", total_fen=5)
    await storage.commit(first.change)

    with pytest.raises(AlreadyExists) as refusal:
        await storage.commit(second.change)

    assert (refusal.value.table, refusal.value.key) == ("orders", "order-0001")
    assert first.snapshot == await storage.load_order("order-0001")


async def test_a_transaction_pays_one_order(storage, histories):
    """One transaction_id can stand on one order only."""
    one, two = histories.create("order-0001"), histories.create("order-0002")
    await storage.commit(one.change)
    await storage.commit(two.change)
    await storage.commit(histories.pay(one.snapshot).change)
    stolen = histories.pay(two.snapshot)
    puts = tuple(
        Put(replace(put.record, transaction_id="42order0001"), put.replaces) if hasattr(put.record, "transaction_id")
        else put for put in stolen.change.puts
    )  # fmt: skip

    with pytest.raises(AlreadyExists) as refusal:
        await storage.commit(replace(stolen.change, puts=puts))

    assert (refusal.value.table, refusal.value.key) == ("orders.transaction_id", "42order0001")
    assert two.snapshot == await storage.load_order("order-0002")


async def test_failed_commit_writes_nothing(storage, histories):
    """When one record of a ChangeSet is refused, none of its other records is there."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    broken = replace(
        histories.pay(created.snapshot).change,
        puts=(*histories.pay(created.snapshot).change.puts, Put(histories.create("order-0001").snapshot.order, 0)),
        notifications=(histories.notification(1),),
        open_discrepancies=(histories.discrepancy("D1"),),
        meta=(("k", "v"),),
    )

    with pytest.raises(AlreadyExists):
        await storage.commit(broken)

    assert created.snapshot == await storage.load_order("order-0001")
    assert len(created.change.journal) == len(await storage.list_events("order-0001"))
    assert list(await storage.list_notifications(None, limit=10, after=None)) == []
    assert await storage.load_discrepancy("D1") is None
    assert await storage.load_meta("k") is None


async def test_a_journal_position_is_written_once(storage, histories):
    """Two lines at one position of one order: the second is refused."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    forged = replace(created.change.journal[1], detail={"forged": True})

    with pytest.raises(AlreadyExists) as refusal:
        await storage.commit(ChangeSet(journal=(forged,)))

    assert (refusal.value.table, refusal.value.key) == ("journal", "order-0001 2")
    assert list(created.change.journal) == list(await storage.list_events("order-0001"))


async def test_a_posting_is_booked_once(storage, histories):
    """The same fee read from a bill twice is booked once."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    fee = histories.fee(created.snapshot, 6)
    await storage.commit(fee)

    with pytest.raises(AlreadyExists) as refusal:
        await storage.commit(replace(fee, meta=(("k", "v"),)))

    assert refusal.value.table == "ledger_entries"
    assert await storage.load_meta("k") is None


async def test_a_posting_that_does_not_sum_to_zero_is_refused(storage, histories):
    """Double entry is the storage's promise, whoever made the value."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    entry = LedgerEntry(
        posting_id="fee:order-0001:x", kind=PostingKind.FEE, account=Account.WECHAT_FEES, amount_fen=1,
        out_trade_no="order-0001", out_refund_no=None, at=histories.clock.now(),
    )  # fmt: skip
    lopsided = ChangeSet(meta=(("k", "v"),))
    object.__setattr__(lopsided, "ledger", (entry,))

    with pytest.raises(StorageError, match="zero"):
        await storage.commit(lopsided)

    assert await storage.load_meta("k") is None


async def test_an_arrow_that_does_not_exist_is_refused(storage, histories):
    """No commit takes an order, a payment or a refund along an arrow outside the state tables."""
    created = histories.create("order-0001")
    paid = histories.pay(created.snapshot)
    refunded = histories.refund(paid.snapshot, "refund-1", 300)
    for decision in (created, paid, refunded):
        await storage.commit(decision.change)
    before = await storage.load_order("order-0001")
    forbidden = [
        (before.order, OrderState.CLOSED), (before.payment, PaymentState.FAIL),
        (before.refunds[0], RefundState.REFUND_INIT),
    ]  # fmt: skip

    for record, state in forbidden:
        with pytest.raises(StorageError) as refusal:
            await storage.commit(
                ChangeSet(puts=(Put(replace(record, status=state, version=record.version + 1), record.version),))
            )
        assert type(refusal.value) is StorageError

    assert before == await storage.load_order("order-0001")


async def test_refunds_never_exceed_the_total(storage, histories):
    """An order whose reserved refunds exceed its total is refused, whatever the caller computed."""
    created = histories.create("order-0001")
    paid = histories.pay(created.snapshot)
    await storage.commit(created.change)
    await storage.commit(paid.change)
    order = paid.snapshot.order
    greedy = replace(order, reserved_fen=order.total_fen + 1, version=order.version + 1)

    with pytest.raises(StorageError):
        await storage.commit(ChangeSet(puts=(Put(greedy, order.version),)))

    assert paid.snapshot == await storage.load_order("order-0001")


async def test_a_journal_line_needs_its_order(storage, histories):
    """Nothing can be told about an order that is not there."""
    created = histories.create("order-0001")

    with pytest.raises(StorageError):
        await storage.commit(ChangeSet(journal=created.change.journal))

    assert list(await storage.list_events("order-0001")) == []


async def test_concurrent_writers_one_wins(storage, histories):
    """Of many who decided from the same version exactly one lands; the others are told to load again."""
    created = histories.create("order-0001")
    await storage.commit(created.change)
    decisions = [histories.pay(created.snapshot) for _ in range(20)]

    outcomes = await asyncio.gather(*(storage.commit(d.change) for d in decisions), return_exceptions=True)

    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 19
    assert decisions[outcomes.index(None)].snapshot == await storage.load_order("order-0001")


async def test_concurrent_creators_one_wins(storage, histories):
    """Of many who create one number exactly one lands, with its own journal."""
    decisions = [histories.create("order-0001", total_fen=n + 1) for n in range(20)]

    outcomes = await asyncio.gather(*(storage.commit(d.change) for d in decisions), return_exceptions=True)

    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 19
    winner = decisions[outcomes.index(None)]
    assert winner.snapshot == await storage.load_order("order-0001")
    assert list(winner.change.journal) == list(await storage.list_events("order-0001"))


async def test_one_misfit_among_many_fails_alone(storage, histories):
    """A refused ChangeSet does not take those down that were committed at the same time."""
    await storage.commit(histories.create("order-0013").change)
    numbers = [f"order-{n:04d}" for n in range(40)]

    outcomes = await asyncio.gather(
        *(storage.commit(histories.create(number).change) for number in numbers), return_exceptions=True
    )

    assert [n for n, outcome in zip(numbers, outcomes, strict=True) if outcome is not None] == ["order-0013"]
    for number in numbers:
        assert await storage.load_order(number) is not None


async def test_racing_refunds_never_take_the_same_fen(storage, histories):
    """Two refunds decided from one snapshot: one is stale, the reserved sum stays below the total."""
    created = histories.create("order-0001")
    paid = histories.pay(created.snapshot)
    await storage.commit(created.change)
    await storage.commit(paid.change)

    outcomes = await asyncio.gather(
        *(storage.commit(histories.refund(paid.snapshot, f"refund-{n}", 600).change) for n in range(2)),
        return_exceptions=True,
    )

    assert outcomes.count(None) == 1
    snapshot = await storage.load_order("order-0001")
    assert (snapshot.order.reserved_fen, len(snapshot.refunds)) == (600, 1)


async def test_a_discrepancy_is_opened_once(storage, histories):
    """The same contradiction seen again is no error and changes nothing, also after a person resolved it."""
    found = new_discrepancy(
        histories.discrepancy("x").kind, out_trade_no="nobody-01", out_refund_no=None, transaction_id=None,
        detail={"a": 1}, now=histories.clock.now(),
    )  # fmt: skip
    await storage.commit(ChangeSet(open_discrepancies=(found,)))
    status = type(found.status).RESOLVED
    resolved = replace(found, version=2, status=status, resolved_at=found.opened_at, resolved_by="op", note="seen")
    await storage.commit(ChangeSet(puts=(Put(resolved, 1),)))

    await storage.commit(ChangeSet(open_discrepancies=(found, found)))

    assert resolved == await storage.load_discrepancy(found.id)
    assert [resolved] == list(await storage.list_discrepancies(None, limit=10, after=None))


async def test_an_idempotency_key_is_claimed_once_and_answered(storage, histories):
    """A claim is exclusive; its answer (JSON, so UTF-8) comes back byte by byte."""
    claim = histories.key("k" * 64)
    await storage.commit(ChangeSet(puts=(Put(claim, 0),)))
    with pytest.raises(AlreadyExists):
        await storage.commit(ChangeSet(puts=(Put(replace(claim, owner="you"), 0),)))
    assert claim == await storage.load_idempotency("k" * 64)

    answered = replace(claim, version=2, answer_status=201, answer_body='{"茶": "a\\u0000\x7f"} \n'.encode())
    await storage.commit(ChangeSet(puts=(Put(answered, 1),)))

    assert answered == await storage.load_idempotency("k" * 64)


async def test_meta_is_replaced(storage):
    """Of two sayings under one key the last stays."""
    await storage.commit(ChangeSet(meta=(("k", "a"), ("l", "b"))))
    await storage.commit(ChangeSet(meta=(("k", "c"),)))

    assert (await storage.load_meta("k"), await storage.load_meta("l")) == ("c", "b")


async def test_after_close_everything_is_refused(storage, histories):
    """A closed storage takes nothing and shows nothing, and says so; closing twice is no error."""
    created = histories.create("order-0001")
    await storage.close()

    with pytest.raises(StorageUnavailable):
        await storage.commit(created.change)
    with pytest.raises(StorageUnavailable):
        await storage.load_order("order-0001")
    with pytest.raises(StorageUnavailable):
        await storage.due_payments(histories.clock.now(), limit=1)
    await storage.close()


async def test_an_empty_change_is_no_error(storage):
    """Nothing to write is written at once."""
    await storage.commit(ChangeSet())
