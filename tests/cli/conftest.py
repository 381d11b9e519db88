"""The command line in this process, a configuration in a folder of its own, and a house with a daemon."""

from __future__ import annotations

import http.server
import json
import logging
import queue
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from payd import logs
from payd.cli import main
from payd.sandbox import prepare_directory
from tests.journeys.house import House, free_port


@pytest.fixture(scope="session")
def merchant_folder(tmp_path_factory):
    """A prepared simulated merchant: making RSA keys takes a second, so it is done once and copied."""
    folder = tmp_path_factory.mktemp("keys") / "sandbox"
    prepare_directory(folder)
    return folder


@pytest.fixture(autouse=True)
def logs_as_before():
    """Commands send the log to the standard error of their run, which ends with it."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logs._voice = logs._Readable()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def payd():
    """Run a command line in this process."""

    def run(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> Result:
        return CliRunner(env=env).invoke(main, [str(argument) for argument in arguments], **options)

    return run


@pytest.fixture
def write_config(tmp_path):
    """Write a configuration into the test's folder."""

    def write(content: dict[str, Any], name: str = "config.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def sandbox_config(tmp_path, merchant_folder, write_config):
    """Mode sandbox with prepared keys; the simulator takes any free port, and nobody listens on payd's."""
    shutil.copytree(merchant_folder, tmp_path / "sandbox")
    return write_config(
        {"mode": "sandbox", "server": {"port": free_port()}, "sandbox": {"port": 0}, "pay": {"api_keys": ["k" * 8]}}
    )


@pytest.fixture
def live_config(tmp_path, merchant_folder, write_config):
    """Mode live with the simulated merchant's keys; returns the settings, to be changed and written."""
    shutil.copytree(merchant_folder, tmp_path, dirs_exist_ok=True)
    return json.loads((tmp_path / "config.json").read_text())


class Receiver(http.server.ThreadingHTTPServer):
    """A merchant's webhook endpoint: keeps what it gets and answers ``status``."""

    daemon_threads = True
    status = 204

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"
        self.got: queue.Queue[tuple[Any, dict[str, Any]]] = queue.Queue()


class _Keep(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.put((self.headers, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _receiving():
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiver
    receiver.shutdown()
    receiver.server_close()
    thread.join()


@pytest.fixture
def receiver():
    """An endpoint for one test."""
    yield from _receiving()


@pytest.fixture(scope="module")
def shop():
    """An endpoint for a whole module."""
    yield from _receiving()


WEBHOOK_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture(scope="module")
def house(merchant_folder, shop, tmp_path_factory):
    """A running payd that reconciles only when it is asked to, with one webhook endpoint."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(merchant_folder, folder / "sandbox")
    hook = {"url": shop.url, "secrets": [WEBHOOK_SECRET], "allow_private_addresses": True}
    running = House(folder, {"reconcile_enabled": False, "bills": {"enabled": False}, "webhooks": [hook]}).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def ask(payd, house):
    """Run a command with the house's configuration; JSON when the command printed some."""

    def run(*arguments: object, code: int = 0) -> Any:
        done = payd(*arguments, "--config", house.folder / "config.json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run
