"""A running sandbox in a temporary folder, as the README has it: its config.json, its keys, other ports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from payd.sandbox import prepare_directory
from tests.docs.readme import ROOT, blocks
from tests.journeys.house import KEY, House, free_port

#: A curl for machines without one: the few options that the README uses, over urllib.
STAND_IN_FOR_CURL = f"""#!{sys.executable}
import argparse, sys, urllib.error, urllib.request
reader = argparse.ArgumentParser()
reader.add_argument("url")
reader.add_argument("-s", action="store_true")
reader.add_argument("-H", action="append", default=[])
reader.add_argument("-d")
asked = reader.parse_args()
headers = dict(line.split(": ", 1) for line in asked.H)
request = urllib.request.Request(asked.url, asked.d.encode() if asked.d else None, headers)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
sys.stdout.buffer.write(answer.read())
"""


class Mailbox:
    """The merchant's endpoint: keeps every delivery, headers and raw body."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[dict[str, str], bytes]] = []
        deliveries = self.deliveries

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                deliveries.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def of(self, number: str):
        """The first delivery about an order, None before it came."""
        return next((d for d in self.deliveries if json.loads(d[1])["data"]["out_trade_no"] == number), None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Reader(House):
    """Somebody who follows the README in a folder of his own."""

    def __init__(self, folder: Path, mailbox_port: int):
        given = json.loads((ROOT / "config.json").read_text())
        hooks = json.loads(blocks("config: webhooks")[0].text)["webhooks"]
        self.secret = hooks[0]["secrets"][0]
        self.receiver_port = free_port()
        endpoints = [
            {"url": f"http://127.0.0.1:{port}/", "secrets": [self.secret], "allow_private_addresses": True}
            for port in (mailbox_port, self.receiver_port)
        ]
        super().__init__(folder)
        given["server"]["port"], given["sandbox"]["port"] = self.port, self.simulator_port
        self.readme_key = given["pay"]["api_keys"][0]
        given["pay"]["api_keys"].append(KEY)  # House's own, for looking on
        self.config = given | {"webhooks": endpoints}

    def here(self, text: str) -> str:
        """Put this folder's ports in the place of the README's."""
        for theirs, ours in ((8080, self.port), (8081, self.simulator_port), (9000, self.receiver_port)):
            text = text.replace(f"127.0.0.1:{theirs}", f"127.0.0.1:{ours}").replace(
                f'"127.0.0.1", {theirs}', f'"127.0.0.1", {ours}'
            )
        return text

    def shell(self, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a block in bash, in the folder; the first error ends it."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(text)],
            cwd=self.folder, env={**os.environ, "PATH": path, **environ}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def python(self, text: str) -> subprocess.Popen[str]:
        """Start a block as a program."""
        script = self.folder / f"block-{len(text)}.py"
        script.write_text(self.here(text))
        return subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )


@pytest.fixture(scope="session")
def throwaway_keys(tmp_path_factory):
    """A prepared simulator folder: making RSA keys takes a second, so it is done once and copied."""
    folder = tmp_path_factory.mktemp("keys") / "sandbox"
    prepare_directory(folder)
    return folder


@pytest.fixture(scope="session")
def mailbox():
    box = Mailbox()
    yield box
    box.close()


@pytest.fixture(scope="session")
def reader(tmp_path_factory, throwaway_keys, mailbox):
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(throwaway_keys, folder / "sandbox")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "bin").mkdir()
    if shutil.which("curl") is None:
        (folder / "bin" / "curl").write_text(STAND_IN_FOR_CURL)
        (folder / "bin" / "curl").chmod(0o700)
    running = Reader(folder, mailbox.port).start()
    yield running
    assert running.stop() == 0
