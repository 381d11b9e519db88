"""Lists, due work, totals and streams: what is shown, in which order, and what paging promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from payd.models.bill import BillKind, BillRun, BillRunStatus
from payd.models.changes import ChangeSet, Put
from payd.models.discrepancy import DiscrepancyStatus
from payd.models.notification import NotificationResult
from payd.models.states import OrderState, RefundState
from payd.models.webhook import DeliveryStatus
from payd.ports import OrderFilter, Position, RefundFilter

EVERYTHING = OrderFilter()


async def fill(storage, histories, count, *, paid=0):
    """Create orders 0..count-1, the first ``paid`` of them paid; returns the snapshots, oldest first."""
    snapshots = []
    for n in range(count):
        decision = histories.create(f"order-{n:04d}", trade_type="H5" if n % 3 == 0 else "NATIVE")
        await storage.commit(decision.change)
        if n < paid:
            decision = histories.pay(decision.snapshot)
            await storage.commit(decision.change)
        snapshots.append(decision.snapshot)
    return snapshots


async def test_lists_are_newest_first_and_bounded(storage, histories):
    """A list shows at most ``limit`` orders, newest first, each whole."""
    snapshots = await fill(storage, histories, 5, paid=2)

    assert snapshots[:1:-1] == list(await storage.list_orders(EVERYTHING, limit=3, after=None))


async def test_paging_is_stable_while_orders_come_in(storage, histories):
    """New orders between two pages neither repeat nor hide any order of the next page."""
    snapshots = await fill(storage, histories, 6)
    page = await storage.list_orders(EVERYTHING, limit=2, after=None)
    await storage.commit(histories.create("order-9999").change)
    seen = list(page)

    while page:
        last = page[-1].order
        page = await storage.list_orders(EVERYTHING, limit=2, after=Position(last.created_at, last.out_trade_no))
        seen += page

    assert snapshots[::-1] == seen


async def test_orders_of_one_moment_are_paged_by_number(storage, histories):
    """Orders created in the same microsecond are told apart by their number."""
    at = histories.clock.at
    for n in range(5):
        histories.clock.at = at
        await storage.commit(histories.create(f"order-{n:04d}").change)
    seen, after = [], None

    while page := await storage.list_orders(EVERYTHING, limit=2, after=after):
        seen += [snapshot.order.out_trade_no for snapshot in page]
        after = Position(page[-1].order.created_at, page[-1].order.out_trade_no)

    assert [f"order-{n:04d}" for n in (4, 3, 2, 1, 0)] == seen


async def test_order_filters_combine(storage, histories):
    """Status, trade type and time narrow the list together; times are inclusive from, exclusive to."""
    snapshots = await fill(storage, histories, 12, paid=6)
    times = [snapshot.order.created_at for snapshot in snapshots]
    filters = [
        OrderFilter(status=OrderState.PAID),
        OrderFilter(trade_type="H5"),
        OrderFilter(status=OrderState.PAYING, trade_type="NATIVE"),
        OrderFilter(created_from=times[3], created_to=times[8]),
        OrderFilter(status=OrderState.PAID, created_from=times[2]),
        OrderFilter(trade_type="NATIVE", created_to=times[10]),
        OrderFilter(status=OrderState.CLOSED),
    ]

    for which in filters:
        expected = [
            s for s in reversed(snapshots)
            if which.status in (None, s.order.status) and which.trade_type in (None, s.order.trade_type)
            and (which.created_from or times[0]) <= s.order.created_at
            and (which.created_to is None or s.order.created_at < which.created_to)
        ]  # fmt: skip
        assert expected == list(await storage.list_orders(which, limit=100, after=None)), which
        after = Position(times[7], "order-0007")
        behind = [s for s in expected if s.order.created_at < times[7]]
        assert behind[:2] == list(await storage.list_orders(which, limit=2, after=after)), which


async def test_refund_filters_combine(storage, histories):
    """Refunds are listed by state and by order, newest first, and paged."""
    refunds = []
    for number in ("order-0001", "order-0002"):
        snapshot = histories.create(number).snapshot
        await storage.commit(histories.create(number).change)
        snapshot = await storage.load_order(number)
        await storage.commit((decision := histories.pay(snapshot)).change)
        for n in range(3):
            decision = histories.refund(decision.snapshot, f"{number}-r{n}", 100)
            await storage.commit(decision.change)
        decision = histories.end_refund(decision.snapshot, f"{number}-r1")
        await storage.commit(decision.change)
        refunds += decision.snapshot.refunds

    async def listed(**which):
        return [r.out_refund_no for r in await storage.list_refunds(RefundFilter(**which), limit=4, after=None)]

    newest_first = [r.out_refund_no for r in reversed(refunds)]
    assert newest_first[:4] == await listed()
    assert await listed(status=RefundState.REFUND_SUCCESS) == ["order-0002-r1", "order-0001-r1"]
    assert [f"order-0001-r{n}" for n in (2, 1, 0)] == await listed(out_trade_no="order-0001")
    assert await listed(out_trade_no="order-0001", status=RefundState.REFUNDING) == ["order-0001-r2", "order-0001-r0"]
    after = Position(refunds[3].created_at, refunds[3].out_refund_no)
    page = await storage.list_refunds(RefundFilter(), limit=2, after=after)
    assert refunds[2:0:-1] == list(page)


async def test_inspector_rows_come_back_whole(storage, histories):
    """Each callback is its own row with the verdict of each step; results filter, positions page."""
    rows = [
        histories.notification(n, NotificationResult.APPLIED if n % 2 else NotificationResult.REPEAT) for n in range(6)
    ]
    await storage.commit(ChangeSet(notifications=tuple(rows)))

    assert rows[::-1] == list(await storage.list_notifications(None, limit=100, after=None))
    assert rows[5::-2] == list(await storage.list_notifications("applied", limit=100, after=None))
    after = Position(rows[4].received_at, rows[4].id)
    assert rows[3:1:-1] == list(await storage.list_notifications(None, limit=2, after=after))


async def test_discrepancies_by_status(storage, histories):
    """Open ones can be listed apart, newest first."""
    found = [histories.discrepancy(f"D{n}", seconds=n) for n in range(4)]
    await storage.commit(ChangeSet(open_discrepancies=tuple(found)))
    resolved = replace(found[1], version=2, status=DiscrepancyStatus.RESOLVED, resolved_at=found[1].opened_at)
    await storage.commit(ChangeSet(puts=(Put(resolved, 1),)))

    open_ones = await storage.list_discrepancies(DiscrepancyStatus.OPEN, limit=2, after=None)

    assert [found[3], found[2]] == list(open_ones)
    after = Position(found[2].opened_at, found[2].id)
    assert [found[0]] == list(await storage.list_discrepancies(DiscrepancyStatus.OPEN, limit=2, after=after))
    assert [resolved] == list(await storage.list_discrepancies(DiscrepancyStatus.RESOLVED, limit=2, after=None))


async def test_deliveries_are_listed_with_their_attempts(storage, histories):
    """The outbox shows each delivery with its tries in order."""
    one, two = histories.delivery("d1"), histories.delivery("d2", about="order-0002")
    await storage.commit(ChangeSet(puts=(Put(one, 0), Put(two, 0))))
    await storage.commit(histories.attempted(one))
    again = await storage.load_delivery("d1")
    await storage.commit(histories.attempted(again, status=DeliveryStatus.DELIVERED, next_at=None))

    listed = await storage.list_deliveries(None, limit=10, after=None)

    assert [delivery.id for delivery, _ in listed] == ["d2", "d1"]
    assert [[attempt.number for attempt in attempts] for _, attempts in listed] == [[], [1, 2]]
    assert [two] == [d for d, _ in await storage.list_deliveries(DeliveryStatus.PENDING, limit=10, after=None)]
    assert [attempt.number for attempt in await storage.load_attempts("d1")] == [1, 2]
    assert list(await storage.load_attempts("d2")) == list(await storage.load_attempts("d3")) == []


async def test_due_payments_oldest_first(storage, histories):
    """Due work comes in the order of its due time, and never before it."""
    snapshots = await fill(storage, histories, 4, paid=1)
    due_at = snapshots[2].payment.next_check_at

    assert list(await storage.due_payments(due_at, limit=10)) == ["order-0001", "order-0002"]
    assert list(await storage.due_payments(due_at, limit=1)) == ["order-0001"]
    assert list(await storage.due_payments(due_at - timedelta(days=1), limit=10)) == []


async def test_due_refunds_oldest_first(storage, histories):
    """A refund that has not ended is due at its time; one that has ended never is."""
    (paid,) = await fill(storage, histories, 1, paid=1)
    first = histories.refund(paid, "refund-1", 100)
    second = histories.refund(first.snapshot, "refund-2", 100)
    ended = histories.end_refund(second.snapshot, "refund-1")
    for decision in (first, second, ended):
        await storage.commit(decision.change)
    later = histories.clock.at + timedelta(days=1)

    assert list(await storage.due_refunds(later, limit=10)) == ["refund-2"]


async def test_what_is_told_about_one_object_goes_out_in_order(storage, histories):
    """Of the pending deliveries about one object to one endpoint only the oldest is listed, even while it waits."""
    now = histories.clock.at
    first = histories.delivery("first", next_at=now + timedelta(hours=1))
    second, elsewhere = histories.delivery("second"), histories.delivery("elsewhere", url="https://b.example/")
    other = histories.delivery("other", about="order-0002", next_at=now - timedelta(seconds=1))
    await storage.commit(ChangeSet(puts=tuple(Put(d, 0) for d in (first, second, elsewhere, other))))

    assert [d.id for d in await storage.due_deliveries(now, limit=10)] == ["other", "elsewhere"]
    assert [d.id for d in await storage.due_deliveries(now, limit=1)] == ["other"]

    await storage.commit(histories.attempted(first, status=DeliveryStatus.DELIVERED, next_at=None))
    assert [d.id for d in await storage.due_deliveries(now, limit=10)] == ["other", "second", "elsewhere"]


async def test_a_busy_endpoint_hides_nothing_of_the_others(storage, histories):
    """Endpoints that are skipped take no place in the list."""
    now = histories.clock.at
    busy = [histories.delivery(f"a{n}", url="https://a.example/", about=f"order-{n:04d}") for n in range(5)]
    other = histories.delivery("b", url="https://b.example/")
    await storage.commit(ChangeSet(puts=tuple(Put(d, 0) for d in (*busy, other))))

    listed = await storage.due_deliveries(now, limit=1, skip_urls={"https://a.example/"})

    assert [other] == list(listed)


async def test_bill_runs(storage, histories):
    """A day's run is one row, loaded by day and kind, listed while it is due."""
    now = histories.clock.at
    run = BillRun(
        bill_date=now.date(), kind=BillKind.TRADE, version=1, status=BillRunStatus.DUE, attempts=0, rows=0,
        differences=0, summary={"b": 1, "a": [2]}, path=None, created_at=now, updated_at=now, next_at=now,
    )  # fmt: skip
    await storage.commit(ChangeSet(puts=(Put(run, 0),)))

    assert run == await storage.load_bill_run(now.date(), BillKind.TRADE)
    assert await storage.load_bill_run(now.date(), BillKind.FUND_FLOW) is None
    assert [run] == list(await storage.due_bill_runs(now))
    assert list(await storage.due_bill_runs(now - timedelta(seconds=1))) == []


async def test_open_work_and_totals(storage, histories):
    """Counts, sums and oldest times follow every move."""
    since = histories.clock.at
    snapshots = await fill(storage, histories, 5, paid=3)
    closed = histories.expire(snapshots[4])
    refunded = histories.refund(snapshots[0], "refund-1", 400)
    ended = histories.end_refund(refunded.snapshot, "refund-1")
    waiting = histories.refund(snapshots[1], "refund-2", 50)
    for decision in (closed, refunded, ended, waiting):
        await storage.commit(decision.change)
    await storage.commit(
        ChangeSet(puts=(Put(histories.delivery("d1"), 0),), open_discrepancies=(histories.discrepancy("D1"),))
    )

    work = await storage.open_work(histories.clock.at + timedelta(days=30))
    totals = await storage.totals(since)

    assert (work.open_payments, work.open_refunds, work.open_discrepancies, work.pending_deliveries) == (1, 1, 1, 1)
    assert snapshots[3].order.created_at == work.oldest_payment_at
    assert waiting.snapshot.refunds[0].created_at == work.oldest_refund_at
    assert histories.delivery("d1").created_at == work.oldest_delivery_at
    assert work.due_now == 4  # the open payment, the watch on the closed one, the refund, the delivery
    assert totals.orders == {"CREATED": 0, "PAYING": 1, "PAID": 3, "FAILED": 0, "CLOSED": 1}
    assert totals.refunds == {"REFUND_INIT": 0, "REFUNDING": 1, "REFUND_SUCCESS": 1, "REFUND_FAIL": 0}
    assert (totals.created_orders, totals.paid_orders, totals.paid_fen, totals.refunded_fen) == (5, 3, 3000, 400)
    later = await storage.totals(histories.clock.at + timedelta(seconds=1))
    assert (later.created_orders, later.paid_orders, later.paid_fen, later.refunded_fen) == (0, 0, 0, 0)


async def test_streams_show_each_once(storage, histories):
    """A stream over a day shows what lies in it, oldest first, its end excluded."""
    snapshots = await fill(storage, histories, 5, paid=4)
    refunded = histories.refund(snapshots[0], "refund-1", 400)
    await storage.commit(refunded.change)
    start, end = snapshots[1].order.paid_at, snapshots[3].order.paid_at

    settled = [snapshot async for snapshot in storage.orders_settled_between(start, end)]
    created = refunded.snapshot.refunds[0].created_at
    refunds = [refund async for refund in storage.refunds_created_between(created, created + timedelta(seconds=1))]

    assert snapshots[1:3] == settled
    assert list(refunded.snapshot.refunds) == refunds
    assert [refund async for refund in storage.refunds_created_between(start, created)] == []


async def test_purge_forgets_only_what_has_expired(storage, histories):
    """Expired keys and old inspector rows go; everything else stays."""
    now = histories.clock.at
    old, young = histories.key("old"), histories.key("young", expires_at=now + timedelta(seconds=1))
    rows = tuple(histories.notification(n) for n in range(4))
    await storage.commit(ChangeSet(puts=(Put(old, 0), Put(young, 0)), notifications=rows))

    gone = await storage.purge(now=now, notifications_before=rows[2].received_at)

    assert gone == 3
    assert (None, young) == (await storage.load_idempotency("old"), await storage.load_idempotency("young"))
    assert [rows[3], rows[2]] == list(await storage.list_notifications(None, limit=10, after=None))
    assert await storage.purge(now=now, notifications_before=rows[2].received_at) == 0
