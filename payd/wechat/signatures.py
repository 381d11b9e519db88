"""Where RSA signatures are made: on threads, and when a crowd wants them, in a process of its own.

A thread that signs lets the interpreter go and then has to wait for it, and the loop waits for that thread in turn:
under load a quarter of all creates was lost there (README, D31). The process is started by the first crowd and lives as
long as payd. It holds nothing that is not here: when it cannot be started, ends, or leaves a text unanswered, its texts
are signed on threads, with the same result, and another one may be started a minute later.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from payd.logs import get_logger
from payd.ports import Clock
from payd.wechat import signing_child
from payd.wechat.keyring import MerchantKey

#: So many that wait for threads are a crowd.
CROWD: Final = 8
#: A process that ended is not replaced sooner.
RESTART_SECONDS: Final = 60.0
#: A text that waits for so long, with no answer to another meanwhile, waits for nothing: each takes a millisecond.
PATIENCE_SECONDS: Final = 2.0
#: The same for the process to be there.
START_SECONDS: Final = 30.0
#: How often it is looked whether somebody waits in vain.
LOOK_SECONDS: Final = 1.0

#: What the process is given of the environment: how Python finds itself and its libraries. None of payd's secrets.
_ENVIRONMENT: Final = (
    "PATH", "LANG", "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "OPENSSL_CONF",
    "OPENSSL_MODULES",
)  # fmt: skip

_SIGNATURE_BYTES_MAX: Final = 1024


class Signatures:
    """Signs with the merchant's key, off the loop. Used on one event loop."""

    def __init__(self, key: MerchantKey, *, clock: Clock, executor: Executor) -> None:
        self._key = key
        self._clock = clock
        self._executor = executor
        self._log = get_logger("payd.wechat")
        self._on_threads = 0
        self._process: SigningProcess | None = None
        self._next_start = clock.monotonic()

    async def sign(self, text: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256 (WeChat section 1.1)."""
        if self._process is not None:
            signature = self._process.sign(text)
            if signature is not None:
                with contextlib.suppress(ProcessEnded):
                    return await signature
        elif self._on_threads >= CROWD and self._clock.monotonic() >= self._next_start:
            self._start()
        self._on_threads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._key.sign, text)
        finally:
            self._on_threads -= 1

    def _start(self) -> None:
        try:
            self._process = SigningProcess(self._key, on_end=self._ended)
        except OSError as exc:
            self._ended(str(exc))
        else:
            self._log.info("signing_process_started", pid=self._process.pid)

    def _ended(self, reason: str) -> None:
        self._process = None
        self._next_start = self._clock.monotonic() + RESTART_SECONDS
        self._log.warning("signing_process_ended", detail=reason)

    def close(self) -> None:
        """End the process, for good; threads are their owner's."""
        self._next_start = math.inf
        if self._process is not None:
            self._process.close()
            self._process = None


class ProcessEnded(Exception):
    """The process will not answer this text any more; nothing has become of it."""


class SigningProcess:
    """A running `signing_child`: texts go out and signatures come in over one socket, in the same order.

    Raises OSError when it cannot be started. ``on_end(reason)`` is told when it ended without being closed.
    """

    def __init__(self, key: MerchantKey, *, on_end: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._ready = False
        self._patience = START_SECONDS
        self._waiting: deque[tuple[asyncio.Future[bytes], float]] = deque()  # and since when
        self._heard_at = self._loop.time()
        self._wire, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.callback(self._wire.close)
            with child_end:
                self._child = _start_child(child_end)
            undo.callback(self._child.wait)
            undo.callback(self._child.kill)  # done before the wait
            # Over the socket: what is in arguments, environment or files can be read by others.
            self._wire.send(key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
            self._wire.setblocking(False)
            undo.pop_all()
        self._loop.add_reader(self._wire, self._read)
        self._watch = self._loop.call_later(LOOK_SECONDS, self._look)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def sign(self, text: bytes) -> asyncio.Future[bytes] | None:
        """Hand a text over. None: not now, it is too long, there are too many, or the process is not ready yet.

        The future raises ProcessEnded when there will be no answer.
        """
        if not self._ready or not 0 < len(text) <= signing_child.TEXT_BYTES_MAX:
            return None
        try:
            self._wire.send(text)
        except OSError:  # its buffer is full, or it is gone, which `_read` hears
            return None
        future = self._loop.create_future()
        self._waiting.append((future, self._loop.time()))
        return future

    def _read(self) -> None:
        """Take every answer that is there."""
        try:
            while True:
                message = self._wire.recv(_SIGNATURE_BYTES_MAX)
                if not message:
                    self._end("it ended by itself")
                    return
                self._heard_at = self._loop.time()
                if not self._ready:
                    self._ready, self._patience = True, PATIENCE_SECONDS
                    continue
                future, _ = self._waiting.popleft()
                if not future.done():  # else its caller was cancelled
                    future.set_result(message)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(str(exc))

    def _look(self) -> None:
        """Look now and then whether it answers while somebody waits."""
        self._watch = self._loop.call_later(min(LOOK_SECONDS, self._patience / 2), self._look)
        if self._is_stuck():
            self._read()  # the loop itself may have stood still: what came meanwhile counts
            if self._is_stuck() and not self._watch.cancelled():
                self._end(f"it said nothing for {self._patience:g} s")

    def _is_stuck(self) -> bool:
        if self._ready and not self._waiting:
            return False
        since = max(self._heard_at, self._waiting[0][1]) if self._waiting else self._heard_at
        return self._loop.time() - since > self._patience

    def _end(self, reason: str) -> None:
        self.close()
        self._on_end(reason)

    def close(self) -> None:
        """End it, and tell those who wait."""
        self._watch.cancel()
        self._loop.remove_reader(self._wire)
        self._wire.close()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(ProcessEnded())
        self._child.kill()  # it holds nothing that could be lost
        self._child.wait()


def _start_child(its_end: socket.socket) -> subprocess.Popen[bytes]:
    program = Path(signing_child.__file__)
    return subprocess.Popen(
        [sys.executable or "python3", "-P", str(program), str(its_end.fileno())],
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        pass_fds=[its_end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
