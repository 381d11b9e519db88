"""A running payd with its simulator, as a merchant's program and a test author meet them: over HTTP only."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

KEY = "journey-key-1"
DEADLINE_SECONDS = 30


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Answer:
    """Status, headers and JSON body of one answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes):
        self.status, self.headers, self.raw = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    def __repr__(self) -> str:
        return f"<{self.status} {self.raw[:400]!r}>"


def http_call(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request on a connection of its own. ``body``: bytes go as they are, anything else as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        sent = dict(headers or {})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=data, headers=sent)
        got = connection.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())


def until(look, what: str = "it"):
    """Look until there is something to see; a deadline, not a fixed wait."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        threading.Event().wait(0.02)
    raise AssertionError(f"{what} did not happen within {DEADLINE_SECONDS} s")


class Process:
    """A program of payd's that prints one line when it listens."""

    def __init__(self, arguments: list[str], log: Path, environ: dict[str, str] | None = None):
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "payd", *arguments],
                stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(environ or {})},
            )  # fmt: skip
        ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE_SECONDS)
        self.line = self._process.stdout.readline().decode() if ready else ""
        assert self.line, f"no line from payd {' '.join(arguments)}:\n{log.read_text()[-3000:]}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            code = self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()
        return code


class House:
    """payd in mode sandbox with everything in one folder. ``changes`` are merged into its configuration."""

    def __init__(self, folder: Path, changes: dict[str, Any] | None = None):
        self.folder = folder
        self.port, self.simulator_port = free_port(), free_port()
        self.config: dict[str, Any] = {
            "mode": "sandbox",
            "server": {"port": self.port},
            "storage": {"path": "payd.db"},
            "sandbox": {"port": self.simulator_port, "dir": "sandbox"},
            "pay": {"api_keys": [KEY]},
            "wechat_pay": {"timeout_ms": 1000},
        }
        self.config |= changes or {}
        self.process: Process | None = None

    @property
    def database(self) -> Path:
        return self.folder / "payd.db"

    def start(self) -> House:
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config))
        self.process = Process(["serve", "--config", str(path)], self.folder / "payd.log")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        process, self.process = self.process, None
        return process.end(number) if process else 0

    def restart(self, number: int = signal.SIGTERM) -> None:
        self.stop(number)
        self.start()

    # -- the merchant's program ---------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {"X-Api-Key": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
        return http_call(self.port, method, path, body, sent)

    def create(self, **changes: Any) -> Answer:
        headers = changes.pop("headers", {})
        body = {"description": "Tea", "amount": {"total": 1000}} | changes
        return self.call("POST", "/pay/create", body, **headers)

    def query(self, number: str) -> dict[str, Any]:
        answer = self.call("GET", f"/pay/query?out_trade_no={number}")
        assert answer.status == 200, answer
        return answer.json

    def refund(self, number: str, fen: int, **changes: Any) -> Answer:
        headers = changes.pop("headers", {})
        body = {"out_trade_no": number, "amount": {"refund": fen}} | changes
        return self.call("POST", "/pay/refund", body, **headers)

    def paid(self, **changes: Any) -> str:
        """Create an order and have it paid and announced."""
        number = self.create(**changes).json["out_trade_no"]
        self.act("pay", {"out_trade_no": number, "wait": True})
        assert self.shown(number)["status"] == "PAID"
        return number

    def shown(self, number: str) -> dict[str, Any]:
        """The order as the list shows it: from the database alone, WeChat is not asked."""
        orders = self.call("GET", "/pay/orders?limit=100").json["orders"]
        return next(order for order in orders if order["out_trade_no"] == number)

    def events(self, number: str) -> list[dict[str, Any]]:
        return self.call("GET", f"/pay/orders/{number}/events").json["events"]

    def metric(self, line: str) -> float:
        """The value of one exposition line, written without its value."""
        text = self.call("GET", "/metrics").raw.decode()
        return float(next(row for row in text.splitlines() if row.startswith(line + " ")).rsplit(" ", 1)[1])

    # -- the payer, the bank, bad luck ----------------------------------------------------------------------------

    def act(self, path: str, body: Any = None, method: str = "POST") -> Any:
        answer = http_call(self.simulator_port, method, f"/_sandbox/{path}", body if body is not None else {})
        assert answer.status == 200, answer
        return answer.json

    def fault(self, target: str, kind: str, **more: Any) -> None:
        self.act("faults", {"target": target, "kind": kind, **more})

    def book(self, number: str | None = None) -> dict[str, Any]:
        return self.act("book" + (f"?out_trade_no={number}" if number else ""), method="GET")

    def calls(self) -> dict[str, Any]:
        return self.act("calls", method="GET")["calls"]

    def resend(self, number: str, **tampering: Any) -> list[int]:
        """Send the order's notification again, as WeChat or as somebody else would; the statuses payd answered."""
        notifications = self.book(number)["notifications"]
        found = next(n for n in notifications.values()) if isinstance(notifications, dict) else notifications[-1]
        sent = self.act(f"notifications/{found['id']}/resend", tampering)
        return [answer["status"] for answer in sent["answers"]]


def second_till(house: House) -> House:
    """Another payd of the same merchant, with books of its own, on the house's simulator; not started."""
    folder = house.folder / "second-till"
    folder.mkdir()
    till = House(folder)
    till.simulator_port = house.simulator_port
    keys = house.folder / "sandbox"
    ready = json.loads((keys / "config.json").read_text())["wechat_pay"]
    paths = {name: str(keys / value) for name, value in ready.items() if name.endswith("_path")}
    till.config |= {
        "mode": "live",
        "wechat_pay": ready | paths | {
            "api_base": f"http://127.0.0.1:{house.simulator_port}",
            "notify_url": f"http://127.0.0.1:{till.port}/pay/notify/wechat",
        },
        "bills": {"enabled": False},
    }  # fmt: skip
    del till.config["sandbox"]
    return till
