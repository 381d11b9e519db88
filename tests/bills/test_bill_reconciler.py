"""The nightly run, against real books in a file: when it tries, what it concludes, what it leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payd import limits
from payd.config import BillsConfig
from payd.errors import RequestError
from payd.models.bill import BillKind, BillRunStatus
from payd.models.changes import ChangeSet
from payd.models.states import OrderState, RefundState
from payd.models.wechat import Refused, Unclear

from . import writer
from .books import DAY, NOON, payment_row, refund_of, refund_row, snapshot
from .counterpart import creating

DAILY = timedelta(days=1)


async def test_a_quiet_night_agrees_and_books_the_fees(house: Any) -> None:
    """A bill that agrees opens nothing, books each fee once and keeps the file."""
    await house.enter(snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),)), snapshot("ORDER-2"))
    house.wechat.serve_trade([payment_row("ORDER-1"), payment_row("ORDER-2"), refund_row("ORDER-1", "R1")])

    await house.bills.run_due()

    run = await house.run()
    assert (run.status, run.rows, run.differences, run.next_at) == (BillRunStatus.COMPARED, 3, 0, None)
    assert await house.discrepancies() == []
    assert house.ledger() == {"wechat_fees": 10, "wechat_receivable": -10}
    assert {key: run.summary["fees"][key] for key in ("rows", "fen")} == {"rows": 3, "fen": 10}
    assert (house.folder / "bills" / run.path).read_bytes().startswith(b"\xef\xbb\xbf")
    assert (await house.run(BillKind.FUND_FLOW)).status == BillRunStatus.EMPTY


async def test_a_second_run_changes_nothing(house: Any) -> None:
    """Fetching the same bill again books no fee twice and opens no discrepancy twice."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1"), payment_row("UNKNOWN-1")])
    await house.bills.run_due()
    before = (house.ledger(), await house.discrepancies())

    report = await house.bills.fetch(DAY)

    assert before == (house.ledger(), await house.discrepancies())
    assert (report.differences, report.exit_code) == (1, 1)


async def test_fees_that_are_booked_already_are_left_out(house: Any) -> None:
    """When the record of progress is lost, every posting that is there is skipped and the others land."""
    numbers = [f"ORDER-{i}" for i in range(9)]
    await house.enter(*(snapshot(number) for number in numbers))
    house.wechat.serve_trade([payment_row(number) for number in numbers[:5]])
    await house.bills.fetch(DAY)
    house.wechat.serve_trade([payment_row(number) for number in numbers])

    await house.bills.fetch(DAY)

    assert house.ledger()["wechat_fees"] == 54


async def test_fees_go_on_where_a_crash_stopped_them(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit of fees carries its own progress: after a crash half-way nothing is missing or doubled."""
    monkeypatch.setattr(limits, "BILL_COMMIT_ROWS", 2)
    numbers = [f"ORDER-{i}" for i in range(7)]
    await house.enter(*(snapshot(number) for number in numbers))
    house.wechat.serve_trade([payment_row(number) for number in numbers])
    commit, commits = house.storage.commit, []

    async def dying(change: ChangeSet) -> None:
        if change.ledger:
            commits.append(len(change.ledger) // 2)
            if len(commits) == 3:
                raise RuntimeError("the process dies here")
        await commit(change)

    monkeypatch.setattr(house.storage, "commit", dying)
    with pytest.raises(RuntimeError):
        await house.bills.run_due()
    assert house.ledger()["wechat_fees"] == 24
    house.restart()
    await house.bills.run_due()

    assert commits == [2, 2, 2, 2, 1]
    assert house.ledger()["wechat_fees"] == 42
    assert (await house.run()).status == BillRunStatus.COMPARED


async def test_lost_money_is_healed_by_a_query(house: Any) -> None:
    """An order whose notification and queries were lost becomes PAID by asking, and nothing is opened."""
    lost = refund_of("ORDER-2", "R2", status=RefundState.REFUNDING, refund_id=None, succeeded_at=None)
    await house.enter(snapshot("ORDER-1", status=OrderState.PAYING), snapshot("ORDER-2", refunds=(lost,)))
    house.wechat.serve_trade([payment_row("ORDER-1"), payment_row("ORDER-2"), refund_row("ORDER-2", "R2")])
    house.wechat.paid["ORDER-1"] = 1000
    house.wechat.refunded["R2"] = ("ORDER-2", 400)

    await house.bills.run_due()

    assert house.wechat.asked == ["ORDER-1", "R2"]
    order, refunded = await house.storage.load_order("ORDER-1"), await house.storage.load_order("ORDER-2")
    assert order.order.status == OrderState.PAID
    assert refunded.refund("R2").status == RefundState.REFUND_SUCCESS
    assert await house.discrepancies() == []
    summary = (await house.run()).summary
    assert (summary["healed_payments"], summary["healed_refunds"], summary["unasked"]) == (1, 1, 0)


async def test_what_a_query_does_not_heal_is_opened(house: Any) -> None:
    """A row for an order that WeChat's own query calls unpaid needs a person."""
    await house.enter(snapshot("ORDER-1", status=OrderState.PAYING))
    house.wechat.serve_trade([payment_row("ORDER-1")])

    await house.bills.run_due()

    [found] = await house.discrepancies()
    assert (
        found.kind.value, found.detail["reason"], found.detail["books"],
    ) == ("bill_missing_here", "not_paid", "PAYING")  # fmt: skip


async def test_a_silent_wechat_proves_nothing(house: Any) -> None:
    """While a number cannot be asked about, nothing is opened and the run comes back; after the last try it is."""
    await house.enter(snapshot("ORDER-1", status=OrderState.PAYING))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    house.wechat.silent = True

    await house.bills.run_due()

    first = await house.run()
    assert await house.discrepancies() == []
    assert first.next_at > house.clock.at
    for _ in range(limits.BILL_ATTEMPTS_MAX - 1):
        house.clock.at += timedelta(hours=5)
        await house.bills.run_due()
    assert [found.kind.value for found in await house.discrepancies()] == ["bill_missing_here"]
    assert (await house.run()).next_at is None


async def test_planted_differences_are_found_exactly(house: Any) -> None:
    """One of each kind in one bill: that many discrepancies, each about its own numbers."""
    kept = refund_of("ORDER-4", "R4")
    await house.enter(
        snapshot("ORDER-1"), snapshot("ORDER-2"), snapshot("ORDER-3", total_fen=999), snapshot("ORDER-5"),
        snapshot("ORDER-4", refunds=(kept,)), snapshot("ORDER-6"),
    )  # fmt: skip
    house.wechat.serve_trade(
        [
            payment_row("ORDER-1"), payment_row("NOBODY-1"), payment_row("ORDER-3"), payment_row("ORDER-4"),
            refund_row("ORDER-4", "R4", 申请退款金额="3.99"), refund_row("ORDER-1", "CONSOLE"),
            payment_row("ORDER-5", 手续费="9.99000"), payment_row("ORDER-6"),
            payment_row("OTHER-SHOP", 公众账号ID="wx-other"),
        ]
    )  # fmt: skip

    report = await house.bills.fetch(DAY)

    assert {
        ("bill_missing_here", "NOBODY-1", None), ("bill_missing_there", "ORDER-2", None),
        ("bill_amount", "ORDER-3", None), ("bill_refund", "ORDER-4", "R4"), ("bill_refund", "ORDER-1", "CONSOLE"),
        ("bill_fee", "ORDER-5", None),
    } == {(found.kind.value, found.out_trade_no, found.out_refund_no) for found in report.discrepancies}  # fmt: skip
    assert (report.differences, report.exit_code, report.outcome.value) == (6, 1, "compared")
    assert report.trade.summary["foreign"] == 1


async def test_a_bill_in_shares_finds_the_same(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bill that is too long for one pass is compared in several, with the same end."""
    monkeypatch.setattr(limits, "BILL_ROWS_IN_MEMORY", 2)
    numbers = [f"ORDER-{i:03}" for i in range(40)]
    await house.enter(*(snapshot(number) for number in numbers))
    house.wechat.serve_trade([payment_row(number) for number in [*numbers[:-1], "NOBODY-1"]])

    await house.bills.run_due()

    run = await house.run()
    assert run.summary["fees"]["shares"] > 5
    assert (run.rows, run.summary["matched_payments"], run.summary["books_orders"]) == (40, 39, 40)
    assert {"NOBODY-1", numbers[-1]} == {found.out_trade_no for found in await house.discrepancies()}
    assert house.ledger()["wechat_fees"] == 39 * 6


# -- when -------------------------------------------------------------------------------------------------------------


async def test_nothing_is_fetched_before_its_time(house: Any) -> None:
    """Before fetch_at, Beijing time, yesterday is not due; at that minute it is."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    house.clock.at = datetime(2026, 11, 23, 2, 29, 59, tzinfo=UTC)
    await house.bills.run_due()
    assert house.wechat.applied == []

    house.clock.at = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    await house.bills.run_due()

    assert house.wechat.applied == [(DAY, BillKind.TRADE), (DAY, BillKind.FUND_FLOW)]


async def test_a_switched_off_run_does_nothing(house: Any) -> None:
    """bills.enabled false: no plan, no call."""
    await house.enter(snapshot("ORDER-1"))
    house.restart(BillsConfig(enabled=False))

    await house.bills.run_due()

    assert (house.wechat.applied, await house.storage.load_bill_run(DAY, BillKind.TRADE)) == ([], None)


async def test_empty_books_fetch_nothing(house: Any) -> None:
    """Before the first order there is nothing to compare, so nothing is asked."""
    await house.bills.run_due()

    assert house.wechat.applied == []


async def test_days_missed_while_payd_was_down_are_fetched_oldest_first(house: Any) -> None:
    """From the first order's day on, a month back at most, each day once."""
    await house.enter(snapshot("ORDER-1", paid_at=NOON - 3 * DAILY, created_at=NOON - 3 * DAILY))
    await house.bills.run_due()
    house.restart()
    await house.bills.run_due()

    assert [DAY - n * DAILY for n in (3, 2, 1, 0)] == [day for day, kind in house.wechat.applied[::2]]
    assert len(house.wechat.applied) == 8


async def test_no_more_than_a_month_is_caught_up(house: Any) -> None:
    """A standstill of half a year fetches the last thirty days."""
    await house.enter(snapshot("ORDER-1", paid_at=NOON - 180 * DAILY, created_at=NOON - 180 * DAILY))

    await house.bills.run_due()

    assert len({day for day, _ in house.wechat.applied}) == limits.BILL_CATCH_UP_DAYS


# -- what WeChat says instead of a bill ----------------------------------------------------------------------------


async def test_no_statement_is_an_answer(house: Any) -> None:
    """No bill and nothing paid here: agreed, exit 0, asked no more."""
    await house.enter(snapshot("ORDER-1", status=OrderState.PAYING))

    report = await house.bills.fetch(DAY)
    await house.bills.run_due()

    assert (report.exit_code, report.outcome.value, report.trade.status) == (0, "no_statement", BillRunStatus.EMPTY)
    assert len(house.wechat.applied) == 2


async def test_no_statement_for_a_day_with_payments_is_a_difference(house: Any) -> None:
    """WeChat says nothing happened, our books say PAID: each order is missing there."""
    await house.enter(snapshot("ORDER-1"))

    report = await house.bills.fetch(DAY)

    assert [found.kind.value for found in report.discrepancies] == ["bill_missing_there"]
    assert (report.differences, report.exit_code) == (1, 1)


async def test_a_bill_in_the_making_is_asked_for_half_an_hour_later(house: Any) -> None:
    """STATEMENT_CREATING is no attempt; the bill comes when it is ready."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    house.wechat.planted[BillKind.TRADE] = [creating()]

    await house.bills.run_due()

    run = await house.run()
    assert (BillRunStatus.DUE, 0, house.clock.at + timedelta(minutes=30)) == (run.status, run.attempts, run.next_at)
    house.clock.at += timedelta(minutes=30)
    await house.bills.run_due()
    assert (await house.run()).status == BillRunStatus.COMPARED


async def test_an_unclear_answer_is_tried_again_with_growing_delay(house: Any) -> None:
    """Silence concludes nothing, and the waits grow."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    house.wechat.planted[BillKind.TRADE] = [Unclear(reason="timeout"), Unclear(reason="status", status=500)]
    waits = []

    for _ in range(2):
        await house.bills.run_due()
        run = await house.run()
        waits.append((run.next_at - house.clock.at).total_seconds())
        house.clock.at = run.next_at
    await house.bills.run_due()

    assert waits == [60, 300]
    assert (await house.run()).status == BillRunStatus.COMPARED


@pytest.mark.parametrize("damage", ["malformed", "totals", "cut", "page"])
async def test_a_damaged_bill_concludes_nothing(house: Any, damage: str) -> None:
    """Wrong hash, wrong totals, a cut file, an error page: exit 75, nothing opened or booked; then the whole one."""
    await house.enter(snapshot("ORDER-1"))
    rows = [payment_row("ORDER-1"), payment_row("NOBODY-1")]
    broken = {
        "malformed": writer.trade_lines(rows),
        "totals": writer.trade_lines(rows, said={"应结订单总金额": "1.00"}),
        "cut": list(writer.trade_lines(rows))[:-2],
        "page": [b'{"code":"NO_AUTH"}'],
    }
    house.wechat.serve(BillKind.TRADE, broken[damage])
    house.wechat.planted[BillKind.TRADE] = ["malformed"] if damage == "malformed" else []

    report = await house.bills.fetch(DAY)

    assert (report.exit_code, report.outcome.value, report.trade.status) == (75, "damaged", BillRunStatus.DAMAGED)
    assert (await house.discrepancies(), house.ledger()) == ([], {})
    house.wechat.serve_trade(rows)
    house.clock.at = report.trade.next_at
    await house.bills.run_due()
    assert (await house.run()).status == BillRunStatus.COMPARED
    assert len(await house.discrepancies()) == 1


async def test_a_bill_that_stays_damaged_is_given_up(house: Any) -> None:
    """After the last attempt nothing is due any more; by hand it can still be fetched."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve(BillKind.TRADE, [b"no bill"])
    for _ in range(limits.BILL_ATTEMPTS_MAX + 3):
        await house.bills.run_due()
        house.clock.at += timedelta(hours=5)

    run = await house.run()
    assert (run.status, run.attempts, run.next_at) == (BillRunStatus.DAMAGED, limits.BILL_ATTEMPTS_MAX, None)
    house.wechat.serve_trade([payment_row("ORDER-1")])
    assert (await house.bills.fetch(DAY)).exit_code == 0


async def test_a_refusal_is_not_repeated_for_ever(house: Any) -> None:
    """A signed refusal that is no answer about the day is tried a few times, then left to a person."""
    refused = Refused(status=403, code="NO_AUTH", message="no permission", request_id=None)
    await house.enter(snapshot("ORDER-1"))
    house.wechat.planted[BillKind.TRADE] = [refused] * 20

    for _ in range(limits.BILL_ATTEMPTS_MAX + 3):
        await house.bills.run_due()
        house.clock.at += timedelta(hours=5)

    run = await house.run()
    assert (run.status, run.next_at, run.summary["reason"]) == (BillRunStatus.DUE, None, "NO_AUTH: no permission")


async def test_a_failed_repeat_by_hand_leaves_what_was_compared(house: Any) -> None:
    """Fetching again while WeChat is silent exits 75 and takes nothing back."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    await house.bills.run_due()
    before = await house.run()
    house.wechat.planted[BillKind.TRADE] = [Unclear(reason="timeout")]

    report = await house.bills.fetch(DAY)

    after = await house.run()
    assert (report.exit_code, report.outcome.value) == (75, "unavailable")
    assert (before.status, before.summary, before.next_at) == (after.status, after.summary, after.next_at)


@pytest.mark.parametrize("days", [1, 0, -limits.BILL_DAYS_AT_WECHAT])
async def test_a_day_that_wechat_cannot_have_is_refused(house: Any, days: int) -> None:
    """Today, tomorrow, or three months ago: refused before anything is asked."""
    with pytest.raises(RequestError) as caught:
        await house.bills.fetch(DAY + (days + (days >= 0)) * DAILY)

    assert caught.value.code == "invalid_request"
    assert house.wechat.applied == []


async def test_the_row_of_a_day_is_made_once(house: Any) -> None:
    """Planning after a run by hand meets the row that is there and leaves it alone."""
    await house.enter(snapshot("ORDER-1", status=OrderState.PAYING))
    await house.bills.fetch(DAY)
    before = await house.run()

    await house.bills.run_due()

    assert before == await house.run()
    assert len(house.wechat.applied) == 2


# -- the fund flow ---------------------------------------------------------------------------------------------------


async def test_the_fund_flow_is_checked_and_linked(house: Any) -> None:
    """Movements of our payments and refunds are counted as linked; fees and strangers' are not contradictions."""
    paid, gone = snapshot("ORDER-1", refunds=(refund_of("ORDER-1", "R1"),)), "支出"
    await house.enter(paid)
    house.wechat.serve(
        BillKind.FUND_FLOW,
        writer.fund_flow_lines(
            [
                writer.MOVEMENT | {"微信支付业务单号": paid.order.transaction_id},
                writer.MOVEMENT | {"微信支付业务单号": paid.order.transaction_id, "业务名称": "扣除交易手续费",
                                   "收支类型": gone, "收支金额(元)": "0.06"},
                writer.MOVEMENT | {"微信支付业务单号": paid.refunds[0].refund_id, "业务名称": "退款",
                                   "收支类型": gone, "收支金额(元)": "4.00"},
                writer.MOVEMENT | {"微信支付业务单号": "stranger"},
            ]
        ),
    )  # fmt: skip

    await house.bills.run_due()

    run = await house.run(BillKind.FUND_FLOW)
    assert (run.status, run.rows, run.differences) == (BillRunStatus.COMPARED, 4, 0)
    assert tuple(run.summary[n] for n in ("linked_payments", "linked_refunds", "unlinked_numbers")) == (1, 1, 1)
    assert run.summary["movements"]["退款"] == {"rows": 1, "fen": -400}


async def test_a_damaged_fund_flow_beside_a_good_trade_bill_is_told(house: Any) -> None:
    """fetch exits 75, while the trade bill stays compared."""
    await house.enter(snapshot("ORDER-1"))
    house.wechat.serve_trade([payment_row("ORDER-1")])
    house.wechat.serve(BillKind.FUND_FLOW, writer.fund_flow_lines([writer.MOVEMENT], said={"收入金额": "1"}))

    report = await house.bills.fetch(DAY)

    assert (report.exit_code, report.outcome.value) == (75, "damaged")
    assert report.trade.status == BillRunStatus.COMPARED
    assert "收入金额" in report.reason
