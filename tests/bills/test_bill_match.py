"""A bill and the books contradict each other exactly where they were made to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd.core.bill_lines import day_bounds
from payd.core.bill_match import REFUND_WORDS, BillMatch
from payd.core.trade_bill import read_trade_bill
from payd.models.changes import OrderSnapshot
from payd.models.ledger import Account
from payd.models.states import OrderState, RefundState

from . import writer
from .books import APPID, DAY, MCHID, NOON, payment_row, refund_of, refund_row, snapshot, transaction_of


def compare(
    rows: Iterable[Mapping[str, str]],
    books: Iterable[OrderSnapshot],
    *,
    healed: Iterable[OrderSnapshot] = (),
    share: int = 0,
    shares: int = 1,
) -> BillMatch:
    """Do what the bill reconciler does: both directions, then what is unseen, then ask and look again."""
    match = BillMatch(DAY, mchid=MCHID, appid=APPID, share=share, shares=shares)
    orders = {s.order.out_trade_no: s for s in books}
    for row in read_trade_bill(writer.trade_lines(rows)):
        match.add(row)
    start, end = day_bounds(DAY)
    for each in orders.values():
        if each.order.paid_at is not None and start <= each.order.paid_at < end:
            match.see_order(each)
    refunds = {r.out_refund_no: (r, s) for s in orders.values() for r in s.refunds}
    for refund, _ in refunds.values():
        if start <= refund.created_at < end:
            match.see_refund(refund)
    for number in list(match.unseen_payments()):
        match.look_payment(number, orders.get(number), asked=False)
    for number, order_number in list(match.unseen_refunds()):
        match.look_refund(number, refunds.get(number, (0, None))[1], order_known=order_number in orders, asked=False)
    for number in match.missing_refunds:
        refund, owner = refunds[number]
        match.look_missing_refund(refund, owner.order)
    orders |= {s.order.out_trade_no: s for s in healed}
    refunds = {r.out_refund_no: (r, s) for s in orders.values() for r in s.refunds}
    for number in match.ask_payments:
        match.look_payment(number, orders.get(number), asked=True)
    for number in match.ask_refunds:
        match.look_refund(number, refunds[number][1], order_known=True, asked=True)
    return match


def told(match: BillMatch) -> set[tuple[str, str, str | None, str | None]]:
    return {(f.kind.value, f.reason, f.out_trade_no, f.out_refund_no) for f in match.findings}


def test_equal_bill_and_books_find_nothing() -> None:
    """Payments and refunds that agree are matched, counted and summed."""
    books = [snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),)), snapshot("ORDER-2")]

    match = compare([payment_row("ORDER-2"), refund_row("ORDER-1", "R1"), payment_row("ORDER-1")], books)

    assert match.findings == []
    assert (
        match.counts.matched_payments, match.counts.matched_refunds, match.counts.paid_fen,
        match.counts.refunded_fen, match.counts.fee_fen,
    ) == (2, 1, 2000, 400, 10)  # fmt: skip
    assert match.ask_payments + match.ask_refunds == []


def test_money_that_the_books_do_not_know_is_missing_here() -> None:
    """An unknown out_trade_no under our appid is found; under another appid it is another program's."""
    foreign = payment_row("SHOP-9", 公众账号ID="wx-other")

    match = compare([payment_row("ORDER-9"), foreign, refund_row("SHOP-9", "SR", 公众账号ID="wx-other")], [])

    assert {("bill_missing_here", "unknown", "ORDER-9", None)} == told(match)
    assert match.counts.foreign == 2


def test_another_merchants_row_is_foreign() -> None:
    """A row of another mchid says nothing about our books, whatever its number."""
    match = compare([payment_row("ORDER-1", 商户号="1900000002")], [snapshot("ORDER-1", mchid="1900000002")])

    assert set() == told(match)
    assert match.counts.foreign == 1


def test_an_unpaid_order_is_asked_about_first() -> None:
    """A known order that is not PAID is asked about; when the answer settles it, nothing is found."""
    waiting = snapshot("ORDER-1", status=OrderState.PAYING)

    healed = compare([payment_row("ORDER-1")], [waiting], healed=[snapshot("ORDER-1")])
    stuck = compare([payment_row("ORDER-1")], [waiting])

    assert ["ORDER-1"] == healed.ask_payments == stuck.ask_payments
    assert set() == told(healed)
    assert {("bill_missing_here", "not_paid", "ORDER-1", None)} == told(stuck)


def test_late_money_is_known_money() -> None:
    """A CLOSED order whose late payment is in the books agrees with its row."""
    late = snapshot(
        "ORDER-1", status=OrderState.CLOSED, late=True, paid_at=NOON, transaction_id=transaction_of("ORDER-1")
    )
    late = replace(late, order=replace(late.order, paid_at=NOON))

    assert set() == told(compare([payment_row("ORDER-1")], [late]))


def test_a_paid_order_without_a_row_is_missing_there() -> None:
    """Only orders paid inside that Beijing day are owed a row."""
    start, end = day_bounds(DAY)
    books = [
        snapshot("ORDER-1", paid_at=start), snapshot("ORDER-2", paid_at=end - timedelta(seconds=1)),
        snapshot("ORDER-3", paid_at=start - timedelta(seconds=1)), snapshot("ORDER-4", paid_at=end),
        snapshot("ORDER-5", mchid="1900000002"), snapshot("ORDER-6", status=OrderState.PAYING),
    ]  # fmt: skip

    assert {
        ("bill_missing_there", "no_row", "ORDER-1", None), ("bill_missing_there", "no_row", "ORDER-2", None)
    } == told(compare([], books))  # fmt: skip


def test_an_order_paid_on_another_day_by_our_books_still_matches_its_row() -> None:
    """A row whose order the day's stream does not bring is looked up by its number."""
    match = compare([payment_row("ORDER-1")], [snapshot("ORDER-1", paid_at=NOON - timedelta(days=2))])

    assert (set(), 1) == (told(match), match.counts.matched_payments)


@pytest.mark.parametrize(
    ("cells", "kind", "reason"),
    [
        ({"订单金额": "10.01", "应结订单金额": "10.01"}, "bill_amount", "total_fen"),
        ({"货币种类": "USD"}, "bill_amount", "currency"),
        ({"公众账号ID": "wx-other"}, "app_mismatch", "appid"),
        ({"微信订单号": "4200000000000000000000000001"}, "transaction_mismatch", "transaction_id"),
        ({"手续费": "0.50000"}, "bill_fee", "fee"),
        ({"手续费": "-0.06000"}, "bill_fee", "fee"),
    ],
)
def test_a_payment_row_that_differs_is_found(cells: dict[str, str], kind: str, reason: str) -> None:
    """Amount, currency, appid, transaction and an implausible fee are told apart."""
    match = compare([payment_row("ORDER-1", **cells)], [snapshot("ORDER-1")])

    assert {(kind, reason, "ORDER-1", None)} == told(match)
    assert match.counts.matched_payments == 0


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"申请退款金额": "4.01"}, "refund_fen"),
        ({"微信订单号": "4200000000000000000000000001"}, "transaction_id"),
        ({"微信退款单号": "5030000000000000000000000000001"}, "refund_id"),
        ({"商户订单号": "ORDER-2"}, "out_trade_no"),
        ({"退款状态": "FAIL"}, "status"),
        ({"退款状态": "NEWWORD"}, "status"),
    ],
)
def test_a_refund_row_that_differs_is_found(cells: dict[str, str], reason: str) -> None:
    """Amount, numbers and state of a refund are compared one by one."""
    rows = [payment_row("ORDER-1"), refund_row("ORDER-1", "R1", **cells)]

    match = compare(rows, [snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),))])

    assert {("bill_refund", reason, cells.get("商户订单号", "ORDER-1"), "R1")} == told(match)


@pytest.mark.parametrize("fee", ["0.02000", "-0.09000"])
def test_a_refund_gives_back_at_most_its_share_of_the_fee(fee: str) -> None:
    """A refund that charges a fee, or gives back more than its amount bears, is found."""
    rows = [payment_row("ORDER-1"), refund_row("ORDER-1", "R1", 手续费=fee)]

    match = compare(rows, [snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),))])

    assert {("bill_fee", "fee", "ORDER-1", "R1")} == told(match)


def test_a_refund_that_the_books_do_not_know_is_found() -> None:
    """A refund made elsewhere on our order, and one of an order unknown under our appid."""
    rows = [payment_row("ORDER-1"), refund_row("ORDER-1", "CONSOLE-1"), refund_row("ORDER-8", "CONSOLE-8")]

    assert {
        ("bill_refund", "unknown", "ORDER-1", "CONSOLE-1"), ("bill_refund", "unknown", "ORDER-8", "CONSOLE-8")
    } == told(compare(rows, [snapshot("ORDER-1")]))  # fmt: skip


def test_a_refund_of_ours_without_a_row_is_found() -> None:
    """Accepted for sure on this day and not in the bill: found. Perhaps accepted on the next day: not."""
    end = day_bounds(DAY)[1]
    refunds = (
        refund_of("ORDER-1", "SETTLED"),
        refund_of("ORDER-1", "WAITING", status=RefundState.REFUNDING, succeeded_at=None),
        refund_of("ORDER-1", "MIDNIGHT", created_at=end - timedelta(seconds=9), succeeded_at=end),
        refund_of("ORDER-1", "REPEATED", submissions=3, succeeded_at=end),
        refund_of("ORDER-1", "REFUSED", status=RefundState.REFUND_FAIL, succeeded_at=None),
        refund_of("ORDER-1", "UNKNOWN", status=RefundState.REFUNDING, succeeded_at=None, refund_id=None),
    )
    books = [snapshot("ORDER-1", total_fen=2400, refunds=refunds, paid_at=NOON - timedelta(days=3))]

    assert {("bill_refund", "no_row", "ORDER-1", "SETTLED"), ("bill_refund", "no_row", "ORDER-1", "WAITING")} == told(
        compare([], books)
    )


@pytest.mark.parametrize("word", [*REFUND_WORDS, "NEWWORD"])
@pytest.mark.parametrize("state", list(RefundState))
def test_each_refund_word_and_state_is_decided(word: str, state: RefundState) -> None:
    """What agrees at once is not asked about; what is asked about and does not agree then is found."""
    at_once, after = REFUND_WORDS.get(word, (frozenset(), frozenset()))
    ours = refund_of("ORDER-1", "R1", status=state)

    match = compare(
        [payment_row("ORDER-1"), refund_row("ORDER-1", "R1", 退款状态=word)], [snapshot("ORDER-1", refunds=(ours,))]
    )

    assert ([] if state in at_once else ["R1"]) == match.ask_refunds
    assert (state not in after) == (("bill_refund", "status", "ORDER-1", "R1") in told(match))


def test_a_refund_without_refund_id_is_asked_about() -> None:
    """A refund whose acceptance we never heard of is healed by the answer."""
    lost = refund_of("ORDER-1", "R1", status=RefundState.REFUNDING, refund_id=None, succeeded_at=None)

    match = compare(
        [payment_row("ORDER-1"), refund_row("ORDER-1", "R1", 退款状态="PROCESSING")],
        [snapshot("ORDER-1", refunds=(lost,))],
        healed=[snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),))],
    )

    assert (["R1"], set()) == (match.ask_refunds, told(match))


def test_a_second_row_of_one_number_is_found() -> None:
    """The same out_trade_no paid twice, or the same refund twice, is never quietly dropped."""
    rows = [payment_row("ORDER-1"), payment_row("ORDER-1"), refund_row("ORDER-1", "R1"), refund_row("ORDER-1", "R1")]

    match = compare(rows, [snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),))])

    assert {
        ("bill_missing_here", "second_row", "ORDER-1", None), ("bill_refund", "second_row", "ORDER-1", "R1")
    } == told(match)  # fmt: skip


def test_fees_are_posted_for_known_rows_only() -> None:
    """Each known row books its fee once, a refund's back; a refund may carry its order's number."""
    rows = [payment_row("ORDER-1"), refund_row("ORDER-1", "ORDER-1"), payment_row("ORDER-9")]

    match = compare(rows, [snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "ORDER-1"),))])

    postings = list(match.fee_postings(NOON))
    assert len(postings) == 3
    entries = [entry for posting in postings for entry in posting]
    assert {("fee:ORDER-1:2026-11-22", 6), ("fee:refund:ORDER-1:2026-11-22", -2)} == {
        (e.posting_id, e.amount_fen) for e in entries if e.account is Account.WECHAT_FEES
    }


def test_the_same_contradiction_makes_the_same_record() -> None:
    """Two runs over one bill open one discrepancy; another day's would be another."""
    first, second = (compare([payment_row("ORDER-9")], []).findings[0] for _ in range(2))

    assert first.discrepancy(DAY, NOON).id == second.discrepancy(DAY, NOON + timedelta(days=1)).id
    assert first.discrepancy(DAY, NOON).id != first.discrepancy(DAY + timedelta(days=1), NOON).id


PLANTED: list[tuple[str, Any]] = [
    ("equal", lambda n: ([payment_row(n)], [snapshot(n)], set())),
    ("here", lambda n: ([payment_row(n)], [], {("bill_missing_here", "unknown", n, None)})),
    ("there", lambda n: ([], [snapshot(n)], {("bill_missing_there", "no_row", n, None)})),
    ("amount", lambda n: (
        [payment_row(n)], [snapshot(n, total_fen=999)], {("bill_amount", "total_fen", n, None)})),
    ("refund", lambda n: (
        [payment_row(n), refund_row(n, f"R{n}", 申请退款金额="3.99")],
        [snapshot(n, refunds=(refund_of(n, f"R{n}"),))], {("bill_refund", "refund_fen", n, f"R{n}")})),
    ("unrefunded", lambda n: (
        [payment_row(n)], [snapshot(n, refunds=(refund_of(n, f"R{n}"),))], {("bill_refund", "no_row", n, f"R{n}")})),
]  # fmt: skip


@given(st.lists(st.sampled_from(PLANTED), max_size=12), st.randoms(use_true_random=False), st.integers(1, 4))
def test_planted_differences_are_found_exactly(plan: list[tuple[str, Any]], shuffle: Any, shares: int) -> None:
    """Whatever is planted, in whatever order of rows and however many shares, is found, and nothing else."""
    rows: list[dict[str, str]] = []
    books: list[OrderSnapshot] = []
    planted: set[Any] = set()
    for position, (_, make) in enumerate(plan):
        more_rows, more_books, more_planted = make(f"ORDER-{position:04}")
        rows, books, planted = rows + more_rows, books + more_books, planted | more_planted
    shuffle.shuffle(rows)
    shuffle.shuffle(books)

    matches = [compare(rows, books, share=share, shares=shares) for share in range(shares)]

    assert planted == set().union(*(told(match) for match in matches))
    assert len(planted) == sum(len(match.findings) for match in matches)
