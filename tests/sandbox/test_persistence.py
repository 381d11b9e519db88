"""A simulator that was killed comes back knowing everything; a damaged or foreign directory is refused."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time

import pytest

from payd.sandbox import Sandbox
from payd.sandbox.errors import DirectoryRefused


@pytest.fixture
def directory(prepared, tmp_path):
    """A merchant's directory of this test's own."""
    return shutil.copytree(prepared, tmp_path / "sandbox")


@pytest.fixture
def simulator(io_loop, directory, wall):
    running = Sandbox(directory, seed=7, wall_clock=wall)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


async def _come_back(merchant, directory, wall):
    """A second simulator on a copy of the directory, as a killed one leaves it: nothing was closed."""
    copied = shutil.copytree(directory, directory.parent / "copy")
    revived = Sandbox(copied, wall_clock=wall)
    await revived.start()
    merchant.base_url = revived.base_url
    return revived


async def test_book_clock_keys_and_switches_survive_a_kill(simulator, merchant, control, directory, wall):
    """Orders, refunds, burnt numbers, attempts, offset, mode, certificates and switches are the same."""
    await merchant.prepay()
    await merchant.prepay("order-000002")
    await merchant.close_order("never-seen")
    await control.pay()
    await control.advance(1000)
    await merchant.refund()
    await control("POST", "keys", {"mode": "both", "rotate": True})
    await control.switch(close_unknown="not_found")
    before, keys = await control.book(), (await control("GET", "keys")).json

    revived = await _come_back(merchant, directory, wall)
    after, keys_after = await control.book(), (await control("GET", "keys")).json
    await revived.stop()

    for name in ("orders", "refunds", "notifications", "burnt", "totals", "clock", "switches", "seed"):
        assert after[name] == before[name]
    assert keys_after == keys


async def test_pending_work_goes_on_after_a_kill(simulator, merchant, control, receiver, directory, wall):
    """A retry, a refund and an automatic close that were due still happen."""
    receiver.answers = [500]
    await merchant.prepay(notify_url=receiver.url)
    await merchant.prepay("order-000002")
    await control.pay()
    await merchant.refund(notify_url=receiver.url)

    revived = await _come_back(merchant, directory, wall)
    await control.advance(7 * 86400)
    book = await control.book()
    await revived.stop()

    assert [item.json["event_type"] for item in receiver.received] == [
        "TRANSACTION.SUCCESS", "REFUND.SUCCESS", "TRANSACTION.SUCCESS"]  # fmt: skip
    assert [order["trade_state"] for order in book["orders"]] == ["REFUND", "CLOSED"]
    assert book["refunds"][0]["status"] == "SUCCESS"


async def test_identifiers_go_on_where_they_were(simulator, merchant, control, directory, wall):
    """Nothing is given out twice after a restart."""
    first = (await merchant.prepay()).json["code_url"]

    revived = await _come_back(merchant, directory, wall)
    second = (await merchant.prepay("order-000002")).json["code_url"]
    await revived.stop()

    assert first != second


async def test_one_book_is_kept_by_one_simulator(simulator, directory):
    """A second one on the same directory is refused at its start."""
    second = Sandbox(directory)

    with pytest.raises(DirectoryRefused, match="another simulator"):
        await second.start()


async def test_without_persistence_nothing_is_written(io_loop, prepared, directory, wall):
    """`persist=False` leaves the directory as it was."""
    before = sorted(path.name for path in directory.iterdir())

    running = Sandbox(directory, persist=False, wall_clock=wall)
    await running.start()
    await running.stop()

    assert sorted(path.name for path in directory.iterdir()) == before


async def test_stop_and_start_again_is_the_same_simulator(simulator, merchant, control):
    """Also inside one process; stopping twice is no error."""
    await merchant.prepay()
    await simulator.stop()
    await simulator.stop()
    await simulator.start()
    merchant.base_url = simulator.base_url

    assert (await merchant.query()).json["trade_state"] == "NOTPAY"


async def test_a_real_kill_loses_nothing_that_was_answered(merchant, prepared, tmp_path):
    """A simulator of its own process, SIGKILLed after an answer, knows the order when it is back."""

    def run():
        code = "from payd.sandbox.commands import sandbox; sandbox()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "--dir", str(directory), "--port", "0"], stdout=subprocess.PIPE, text=True
        )

    async def listening(process):
        line = await asyncio.get_running_loop().run_in_executor(None, process.stdout.readline)
        return re.search(r"http://127\.0\.0\.1:\d+", line).group()

    directory = shutil.copytree(prepared, tmp_path / "killed")
    merchant.wall = time.time
    first = run()
    merchant.base_url = await listening(first)
    answer = await merchant.prepay()
    first.kill()
    first.communicate()
    second = run()
    merchant.base_url = await listening(second)
    found = await merchant.query()
    second.terminate()
    second.communicate()

    assert (answer.status, found.status, found.json["trade_state"]) == (200, 200, "NOTPAY")
    assert second.returncode == 0
