"""Draws the pictures of dashboard/README.md: starts a sandbox daemon in a temporary folder, trades, renders.

Takes about a minute, because the plots show what happens in that time. Only ports of 127.0.0.1 are used.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from dashboard.api_client import ApiClient
from dashboard.app import DashboardApp
from dashboard.headless import plain_svg
from dashboard.settings import ApiKey, Settings

PICTURES = Path(__file__).resolve().parent.parent / "dashboard" / "pictures"
KEY = "payd_pictures_key"
TRADE_SECONDS = 60
GOODS = ("红茶 black tea", "绿茶 green tea", "豆浆 soy milk", "包子 buns", "乌龙 oolong", "咖啡 coffee")
SHOTS: tuple[tuple[str, str, tuple[int, int], str, str], ...] = (
    ("overview", "1", (120, 38), "payd-dark", "en"),
    ("orders", "2", (120, 24), "payd-dark", "en"),
    ("order", "order", (100, 46), "payd-dark", "en"),
    ("refund", "refund", (100, 30), "payd-dark", "en"),
    ("callbacks", "4", (120, 22), "payd-dark", "en"),
    ("health", "7", (80, 30), "payd-light", "en"),
    ("overview-zh", "1", (80, 24), "payd-cb", "zh"),
    ("too-small", "1", (40, 8), "payd-mono", "en"),
)


class Shop:
    """A sandbox daemon and somebody who orders and pays."""

    def __init__(self, folder: Path) -> None:
        self.port, self.sandbox_port = free_port(), free_port()
        config = {
            "mode": "sandbox", "server": {"port": self.port}, "storage": {"path": "payd.db"},
            "sandbox": {"port": self.sandbox_port, "dir": "sandbox"}, "pay": {"api_keys": [KEY]},
            "webhooks": [{"url": "http://127.0.0.1:9/hook", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
                          "events": ["*"], "allow_private_addresses": True}],
        }  # fmt: skip
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "payd", "serve", "--config", str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        if "listening" not in self.process.stdout.readline():
            raise SystemExit("the daemon did not start")
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = AsyncHTTPClient(force_instance=True)
        self._chance = random.Random(7)
        self._counter = 0

    async def post(self, path: str, body: dict[str, Any], *, sandbox: bool = False) -> None:
        url = f"http://127.0.0.1:{self.sandbox_port}{path}" if sandbox else self.url + path
        headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
        await self._http.fetch(url, method="POST", headers=headers, body=json.dumps(body))

    async def trade(self) -> None:
        """One customer: orders, most often pays, now and then wants the money back."""
        self._counter += 1
        number, total = f"shop-20261124-{self._counter:04d}", self._chance.randrange(300, 9900, 50)
        await self.post(
            "/pay/create",
            {"out_trade_no": number, "description": self._chance.choice(GOODS), "amount": {"total": total}},
        )
        if self._chance.random() < 0.8:
            await self.post("/_sandbox/pay", {"out_trade_no": number}, sandbox=True)
            if self._chance.random() < 0.15:
                await asyncio.sleep(0.3)
                try:
                    await self.post(
                        "/pay/refund", {"out_trade_no": number, "amount": {"refund": total // 2}, "reason": "cold"}
                    )
                except HTTPClientError:
                    pass  # not paid yet in payd's books: the customer waits
        elif self._chance.random() < 0.4:
            await self.post("/pay/close", {"out_trade_no": number})

    def close(self) -> None:
        self._http.close()
        self.process.terminate()
        self.process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def shoot(shop: Shop, history: Any, shot: tuple[str, str, tuple[int, int], str, str]) -> None:
    """Draw one picture, with the history another dashboard gathered."""
    name, key, size, theme, lang = shot
    source = ApiClient(shop.url, ApiKey(KEY), lang=lang)
    app = DashboardApp(Settings(url=shop.url, theme=theme, lang=lang), source, polling=False)
    app.history = history
    async with app.run_test(size=size) as pilot:
        await pilot.press(key if key in "123456789" else "2")
        for _ in range(2):
            await app.poller.poll_once()
            await pilot.pause()
        if key in ("order", "refund"):
            state = "PAID" if key == "refund" else "PAYING"
            app.open_order(next(order["out_trade_no"] for order in app.front.shown if order["status"] == state))
            await pilot.pause()
            await app.poller.poll_once()
            await pilot.pause()
            if key == "refund":
                await pilot.press("B")
        await pilot.pause()
        (PICTURES / f"{name}.svg").write_text(plain_svg(app.export_screenshot(title="payd")), "utf-8")
    source.close()


async def main() -> None:
    """Trade for a while under the eyes of one dashboard, then draw."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        try:
            source = ApiClient(shop.url, ApiKey(KEY))
            app = DashboardApp(Settings(url=shop.url), source, polling=False)
            async with app.run_test(size=(120, 40)):
                loop = asyncio.get_running_loop()
                end = loop.time() + TRADE_SECONDS
                while loop.time() < end:
                    await shop.trade()
                    await app.poller.poll_once()
                    await asyncio.sleep(0.4 + 0.5 * random.Random(int(end - loop.time()) // 8).random())
            await asyncio.sleep(6)  # the daemon's gauges of the day follow within five seconds
            source.close()
            for shot in SHOTS:
                await shoot(shop, app.history, shot)
        finally:
            shop.close()
    print(f"drew {len(SHOTS)} pictures into {PICTURES}")


if __name__ == "__main__":
    asyncio.run(main())
