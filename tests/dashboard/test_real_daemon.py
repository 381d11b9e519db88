"""The dashboard before payd itself: a sandbox daemon in its own process, orders paid through the simulator."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input
from tornado.httpclient import AsyncHTTPClient
from tornado.testing import bind_unused_port

from dashboard.api_client import ApiClient
from dashboard.app import DashboardApp
from dashboard.settings import ApiKey, Settings

KEY = "payd_dashboard_test_key"
START_SECONDS = 60
POLLS = 300


class House:
    """A running `payd serve` in sandbox mode."""

    def __init__(self, folder: Path) -> None:
        sockets = [bind_unused_port() for _ in range(2)]
        self.port, self.sandbox_port = (port for _, port in sockets)
        for socket, _ in sockets:
            socket.close()
        config = {
            "mode": "sandbox", "server": {"port": self.port}, "storage": {"path": "payd.db"},
            "sandbox": {"port": self.sandbox_port, "dir": "sandbox"}, "pay": {"api_keys": [KEY]},
            "webhooks": [{"url": "http://127.0.0.1:9/hook", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
                          "events": ["*"], "allow_private_addresses": True}],
        }  # fmt: skip
        self.config = folder / "config.json"
        self.config.write_text(json.dumps(config))
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "payd", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: queue.Queue[str] = queue.Queue()
        output = self.process.stdout
        assert output is not None
        threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
        assert "listening" in lines.get(timeout=START_SECONDS)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    async def post(self, url: str, body: dict[str, Any]) -> Any:
        client = AsyncHTTPClient(force_instance=True)
        try:
            headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
            response = await client.fetch(url, method="POST", headers=headers, body=json.dumps(body))
            return json.loads(response.body)
        finally:
            client.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A daemon with nothing in its books."""
    made = House(tmp_path)
    made.start()
    yield made
    made.stop()


async def until(app: DashboardApp, pilot: Any, text_of: Callable[[Any], str], holds: Callable[[], bool]) -> None:
    """Poll until the screens show what must come; fails with the last screen after so many polls."""
    for _ in range(POLLS):
        if holds():
            return
        await app.poller.poll_once()
        await pilot.pause()
    raise AssertionError(text_of(app))


async def confirm(app: DashboardApp, pilot: Any, phrase: str) -> str:
    dialog = app.screen
    dialog.query_one("#confirm", Input).value = phrase
    dialog.query_one("#confirm", Input).focus()
    await pilot.press("enter")
    await dialog.workers.wait_for_complete()
    await pilot.pause()
    told = dialog.query_one("#result").shown.plain
    await pilot.press("escape")
    await pilot.pause()
    return told


async def test_a_shift_at_a_real_daemon(house: House, text_of: Callable[[Any], str]) -> None:
    """Orders come in and are paid; one is refunded, one closed, a webhook sent again; a kill and a return are seen."""
    for number in range(4):
        order = {"out_trade_no": f"real-{number:04d}", "description": "红茶 [/red]", "amount": {"total": 1000 + number}}
        await house.post(house.url + "/pay/create", order)
    for number in range(2):
        await house.post(f"http://127.0.0.1:{house.sandbox_port}/_sandbox/pay", {"out_trade_no": f"real-{number:04d}"})
    source = ApiClient(house.url, ApiKey(KEY))
    app = DashboardApp(Settings(url=house.url), source, polling=False)

    async with app.run_test(size=(118, 70)) as pilot:
        await pilot.pause()
        await until(app, pilot, text_of, lambda: "¥20.01" in text_of(app))
        overview = text_of(app)

        await pilot.press("2")
        await until(app, pilot, text_of, lambda: len(app.front.shown) == 4)
        states = {record["out_trade_no"]: record["status"] for record in app.front.shown}

        app.open_order("real-0003")
        await pilot.pause()
        await until(app, pilot, text_of, lambda: "◐ PAYING" in text_of(app) and "weixin://" in text_of(app))
        await pilot.press("X")
        await pilot.pause()
        closed = await confirm(app, pilot, "real-0003")

        app.open_order("real-0000")
        await pilot.pause()
        await until(app, pilot, text_of, lambda: "notification" in text_of(app) or "callback" in text_of(app))
        story = text_of(app)
        await pilot.press("B")
        await pilot.pause()
        app.screen.query_one("#field-amount", Input).value = "4"
        refunded = await confirm(app, pilot, "4.00")

        await pilot.press("3")
        await until(app, pilot, text_of, lambda: "¥4.00" in text_of(app))
        await pilot.press("4")
        await until(app, pilot, text_of, lambda: "11 apply: ✓ applied" in text_of(app))
        await pilot.press("6")
        await until(app, pilot, text_of, lambda: "order.closed" in text_of(app))
        await pilot.press("N")
        await pilot.pause()
        key = app.front.current()["id"]
        resent = await confirm(app, pilot, key)
        await pilot.press("5")
        await until(app, pilot, text_of, lambda: "open payments 1" in text_of(app))
        await pilot.press("7")
        await until(app, pilot, text_of, lambda: "storage: ✓ ok" in text_of(app) and "disk free" in text_of(app))

        house.stop()
        await until(app, pilot, text_of, lambda: "LINK LOST: connection refused" in text_of(app))
        house.start()
        await until(app, pilot, text_of, lambda: "LINK LOST" not in text_of(app))
        restarts = [entry.text for entry in app.journal.entries if "restarted" in entry.text]
    source.close()

    assert "SANDBOX" in overview
    assert states == {"real-0000": "PAID", "real-0001": "PAID", "real-0002": "PAYING", "real-0003": "PAYING"}
    assert "✓ accepted: CLOSED" in closed
    assert "not real money" in story
    assert "✓ accepted:" in refunded
    assert "✓ accepted:" in resent
    assert restarts
