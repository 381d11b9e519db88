"""The whole way over real HTTP and crypto: payd's parts and client, and the simulator that shares no code with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from payd.config import Config
from payd.daemon import Gateway, Parts, open_parts
from payd.models.bill import BillKind, BillRunStatus
from payd.models.ids import BEIJING
from payd.models.order import CreateCommand
from payd.models.refund import RefundCommand
from payd.models.states import OrderState, RefundState
from payd.sandbox import Sandbox, prepare_directory
from payd.sandbox.control_client import ControlClient
from payd.system import FollowingClock
from payd.wechat import ClientSettings

NOTIFY_URL = "http://127.0.0.1:9/pay/notify/wechat"  # the discard port: every callback is lost


def nothing(snapshot: object, outcome: str) -> tuple[int, bytes]:
    """The answer to a caller that is not there."""
    return 201, b""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bills") / "merchant"
    prepare_directory(path)
    return path


@dataclass
class Shop:
    """A merchant whose callbacks never arrive, at noon in Beijing."""

    parts: Parts
    simulator: Sandbox

    async def control(self, path: str, **body: Any) -> dict[str, Any]:
        client = ControlClient(self.simulator.base_url)
        return await asyncio.to_thread(client.call, "POST", path, body)

    @property
    def today(self) -> date:
        return self.parts.clock.now().astimezone(BEIJING).date()

    async def pass_to(self, hour: int, *, days: int = 1) -> None:
        """Let time pass to an hour of a coming day, Beijing time."""
        now = self.parts.clock.now().astimezone(BEIJING)
        then = datetime(now.year, now.month, now.day, hour, tzinfo=BEIJING) + timedelta(days=days)
        await self.control("clock", advance_seconds=int((then - now).total_seconds()) + 1)

    def command(self, number: str, fen: int) -> CreateCommand:
        return CreateCommand(
            out_trade_no=number, trade_type="NATIVE", description='tea, "green" `no.1`', total_fen=fen, currency="CNY",
            expire_seconds=7200, openid=None, attach="a,b\\c\td", goods_tag=None, detail=None, scene_info=None,
            settle_info=None, support_fapiao=None, metadata=None, content={"total": fen},
        )  # fmt: skip

    async def order(self, number: str, fen: int) -> None:
        """Create an order at payd."""
        await self.parts.plugin.create(self.command(number, fen), request_id="t", call=None, render=nothing)

    async def sell(self, number: str, fen: int = 1000) -> None:
        """Create an order and have it paid. payd hears nothing of it."""
        await self.order(number, fen)
        await self.control("pay", out_trade_no=number)

    async def give_back(self, number: str, out_refund_no: str, fen: int) -> None:
        """Refund a part; payd hears nothing of its end."""
        command = RefundCommand(
            out_trade_no=number, transaction_id=None, out_refund_no=out_refund_no, refund_fen=fen, reason="x,y",
            funds_account=None, goods_detail=None, metadata=None, content={"refund": fen},
        )  # fmt: skip
        await self.parts.plugin.refund(command, request_id="t", call=None, render=lambda number: nothing)


@pytest.fixture
def shop(io_loop: IOLoop, directory: Path, tmp_path: Path) -> Iterator[Shop]:
    simulator = Sandbox(directory, seed=11, persist=False)
    io_loop.run_sync(simulator.start)
    facts = simulator.merchant
    settings = ClientSettings(
        mchid=facts.mchid, appid=facts.appid, private_key_path=facts.private_key_path,
        api_v3_key=facts.api_v3_key.encode(), merchant_serial_no=facts.merchant_serial_no, notify_url=NOTIFY_URL,
        public_key_id=facts.public_key_id, public_key_path=facts.public_key_path, api_base=simulator.base_url,
        api_base_backup=None, timeout_ms=5000,
    )  # fmt: skip
    gateway = Gateway(settings, FollowingClock(lambda: simulator.book_offset_seconds), simulator.base_url)
    config = Config.model_validate({"mode": "sandbox", "storage": {"path": tmp_path / "payd.db"}})
    opened = open_parts(config, gateway)
    shop = Shop(io_loop.run_sync(opened.__aenter__), simulator)
    io_loop.run_sync(lambda: shop.pass_to(12))
    yield shop
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None))
    io_loop.run_sync(simulator.stop)


async def status(shop: Shop, number: str) -> OrderState:
    snapshot = await shop.parts.storage.load_order(number)
    assert snapshot is not None
    return snapshot.order.status


async def test_a_night_heals_what_the_day_lost(shop: Shop) -> None:
    """Payments and a refund whose callbacks were lost are settled by the bill's rows, and everything agrees."""
    await shop.sell("BILL-TOLD-1")
    await shop.parts.settlement.ask_payment("BILL-TOLD-1")
    await shop.give_back("BILL-TOLD-1", "BILL-BACK-1", 400)
    await shop.sell("BILL-LOST-1", 12_345)
    await shop.order("BILL-OPEN-1", 500)
    day = shop.today
    await shop.pass_to(11)

    await shop.parts.bills.run_due()

    report = await shop.parts.bills.show(day)
    assert report.trade is not None
    assert report.fund_flow is not None
    assert (
        report.trade.status, report.trade.rows, report.differences, report.discrepancies,
    ) == (BillRunStatus.COMPARED, 3, 0, ())  # fmt: skip
    assert await status(shop, "BILL-LOST-1") == OrderState.PAID
    assert await status(shop, "BILL-OPEN-1") == OrderState.PAYING
    refunded = await shop.parts.storage.load_order_of_refund("BILL-BACK-1")
    assert refunded is not None
    assert refunded.refunds[0].status == RefundState.REFUND_SUCCESS
    summary = report.trade.summary
    assert tuple(summary[name] for name in ("healed_payments", "healed_refunds", "paid_fen", "refunded_fen")) == (
        1,
        1,
        13_345,
        400,
    )
    assert summary["fees"]["fen"] == 6 - 2 + 74
    assert (
        report.fund_flow.status, report.fund_flow.summary["linked_payments"],
        report.fund_flow.summary["linked_refunds"],
    ) == (BillRunStatus.COMPARED, 2, 1)  # fmt: skip


async def test_money_behind_payds_back_is_found(shop: Shop) -> None:
    """An order that was made at WeChat past payd, and paid, is missing here; payd's own agrees."""
    body = shop.parts.wechat.prepay_body(
        shop.command("BILL-STRANGE-1", 700), out_trade_no="BILL-STRANGE-1",
        expires_at=shop.parts.clock.now() + timedelta(hours=1),
    )  # fmt: skip
    await shop.parts.wechat.prepay("NATIVE", body)
    await shop.control("pay", out_trade_no="BILL-STRANGE-1")
    await shop.sell("BILL-OURS-1")
    day = shop.today
    await shop.pass_to(11)

    report = await shop.parts.bills.fetch(day)

    assert [(found.kind.value, found.out_trade_no, found.detail["bill"]) for found in report.discrepancies] == [
        ("bill_missing_here", "BILL-STRANGE-1", 700)
    ]
    assert report.exit_code == 1


async def test_the_simulators_troubles_end_as_the_contract_says(shop: Shop) -> None:
    """Being made: 75. Damaged on the way: 75 and nothing concluded. Whole: 0. No statement: 0."""
    await shop.sell("BILL-SLOW-1")
    day = shop.today
    await shop.pass_to(11)
    ends = []

    await shop.control("faults", target="trade_bill", kind="statement_creating")
    ends.append(await shop.parts.bills.fetch(day))
    await shop.control("faults", target="download", kind="damaged_bill")
    ends.append(await shop.parts.bills.fetch(day))
    assert await status(shop, "BILL-SLOW-1") == OrderState.PAYING
    ends.append(await shop.parts.bills.fetch(day))
    ends.append(await shop.parts.bills.fetch(day - timedelta(days=1)))

    assert [(report.exit_code, report.outcome.value) for report in ends] == [
        (75, "creating"),
        (75, "damaged"),
        (0, "compared"),
        (0, "no_statement"),
    ]
    assert await status(shop, "BILL-SLOW-1") == OrderState.PAID
    run = await shop.parts.storage.load_bill_run(day, BillKind.TRADE)
    assert run is not None
    assert run.status == BillRunStatus.COMPARED


async def test_the_file_that_is_kept_is_wechats(shop: Shop, tmp_path: Path) -> None:
    """The stored bill keeps WeChat's escapes; read back, the merchant's texts are what was ordered."""
    await shop.sell("BILL-TEXT-1")
    day = shop.today
    await shop.pass_to(11)
    report = await shop.parts.bills.fetch(day)

    rows = await shop.parts.bills.export_csv(day, tmp_path / "bill.csv")

    assert (rows, report.intact) == (1, True)
    assert '"tea, ""green"" `no.1`","a,b\\c\td"' in (tmp_path / "bill.csv").read_text("utf-8-sig")
