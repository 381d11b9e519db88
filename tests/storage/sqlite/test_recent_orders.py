"""Orders kept in memory: never older than the database, whatever lands, fails or is cancelled."""

from __future__ import annotations

from dataclasses import replace

from payd.models.changes import ChangeSet, Put
from payd.storage.sqlite.recent import RecentOrders
from tests.core.conftest import World

NUMBER = "ORDER001"


def created():
    return World().create()


def changed(snapshot, **members):
    order = replace(snapshot.order, version=snapshot.order.version + 1, **members)
    return ChangeSet(puts=(Put(order, snapshot.order.version),))


def landed(recent, change):
    recent.end(recent.begin(change), change, landed=True)


def test_a_landed_order_is_found_as_it_was_written():
    """Insert, then change: the newest state, with the parts that did not change."""
    recent, decision = RecentOrders(), created()
    landed(recent, decision.change)
    landed(recent, changed(decision.snapshot, attach="x"))

    assert recent.get(NUMBER).order.attach == "x"
    assert recent.get(NUMBER).payment == decision.snapshot.payment


def test_during_a_commit_the_database_is_asked():
    """Nobody reads from memory what is being written."""
    recent, decision = RecentOrders(), created()
    landed(recent, decision.change)

    recent.begin(changed(decision.snapshot))

    assert recent.get(NUMBER) is None


def test_a_commit_that_did_not_land_leaves_nothing_in_memory():
    """Failed, or cancelled and perhaps written all the same: the database knows."""
    recent, decision = RecentOrders(), created()
    landed(recent, decision.change)
    change = changed(decision.snapshot)

    recent.end(recent.begin(change), change, landed=False)

    assert recent.get(NUMBER) is None


def test_of_two_commits_under_way_neither_is_trusted_alone():
    """Each knows only its own half: what both wrote together is in the database."""
    recent, decision = RecentOrders(), created()
    landed(recent, decision.change)
    first, second = changed(decision.snapshot, attach="a"), changed(decision.snapshot, attach="b")
    one, two = recent.begin(first), recent.begin(second)

    recent.end(one, first, landed=True)
    recent.end(two, second, landed=True)

    assert recent.get(NUMBER) is None


def test_a_change_to_an_order_that_is_not_known_is_not_kept():
    """A part is not the whole."""
    recent = RecentOrders()

    landed(recent, changed(created().snapshot))

    assert recent.get(NUMBER) is None


def test_the_least_recently_written_is_forgotten_first():
    """Memory is bounded."""
    recent, decision = RecentOrders(most=1), created()
    landed(recent, decision.change)
    order = replace(decision.snapshot.order, out_trade_no="ORDER002")
    payment = replace(decision.snapshot.payment, out_trade_no="ORDER002")
    landed(recent, ChangeSet(puts=(Put(order, 0), Put(payment, 0))))

    assert recent.get(NUMBER) is None
    assert recent.get("ORDER002") is not None
