"""Where RSA signatures are made: on threads, and when a crowd wants them, in a process of its own.

A thread that signs lets the interpreter go and then has to wait for it, and the loop waits for that thread in turn:
under load a quarter of all creates was lost there (README, D31). The process is started by the first crowd and lives as
long as payd. It holds nothing that is not here: when it cannot be started, ends, or says nothing for some seconds, its
texts are signed on threads, with the same result, and another one may be started a minute later.
"""

from __future__ import annotations

import asyncio
import contextlib
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
#: What has not answered for so long is stuck: a signature takes a millisecond.
PATIENCE_SECONDS: Final = 5.0

_SIGNATURE_BYTES_MAX: Final = 1024


class Signatures:
    """Signs with the merchant's key, off the loop. Used on one event loop."""

    def __init__(
        self, key: MerchantKey, *, clock: Clock, executor: Executor, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._key = key
        self._clock = clock
        self._executor = executor
        self._patience = patience_seconds
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
        self._next_start = self._clock.monotonic() + RESTART_SECONDS
        try:
            self._process = SigningProcess(self._key, patience_seconds=self._patience, on_end=self._ended)
        except OSError as exc:
            self._ended(str(exc))
        else:
            self._log.info("signing_process_started", pid=self._process.pid)

    def _ended(self, reason: str) -> None:
        self._process = None
        self._log.warning("signing_process_ended", detail=reason)

    def close(self) -> None:
        """End the process; threads are their owner's."""
        if self._process is not None:
            self._process.close()
            self._process = None


class ProcessEnded(Exception):
    """The process will not answer this text any more; nothing has become of it."""


class SigningProcess:
    """A running `signing_child`: texts go out and signatures come in over one socket, in the same order.

    Raises OSError when it cannot be started. ``on_end(reason)`` is told when it ended without being closed.
    """

    def __init__(self, key: MerchantKey, *, patience_seconds: float, on_end: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience_seconds
        self._on_end = on_end
        self._ready = False
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._answers = 0  # so far
        self._wire, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.callback(self._wire.close)
            with child_end:
                self._child = _start_child(child_end)
            # Over the socket: what is in arguments, environment or files can be read by others.
            self._wire.send(key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
            self._wire.setblocking(False)
            undo.pop_all()
        self._loop.add_reader(self._wire, self._read)
        self._watch = self._loop.call_later(self._patience, self._look, 0)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def sign(self, text: bytes) -> asyncio.Future[bytes] | None:
        """Hand a text over. None: not now, it is too long, there are too many, or the process is not ready yet.

        The future raises ProcessEnded when there will be no answer.
        """
        if not self._ready or len(text) > signing_child.TEXT_BYTES_MAX:
            return None
        try:
            self._wire.send(text)
        except OSError:  # its buffer is full, or it is gone, which `_read` hears
            return None
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _read(self) -> None:
        """Take every answer that is there."""
        try:
            while True:
                message = self._wire.recv(_SIGNATURE_BYTES_MAX)
                if not message:
                    self._end("it ended by itself")
                    return
                self._answers += 1
                if not self._ready:
                    self._ready = True
                    continue
                future = self._waiting.popleft()
                if not future.done():  # else its caller was cancelled
                    future.set_result(message)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(str(exc))

    def _look(self, answers: int) -> None:
        """Look now and then whether it moves on while somebody waits."""
        if (self._waiting or not self._ready) and self._answers == answers:
            self._end(f"it said nothing for {self._patience:g} s")
        else:
            self._watch = self._loop.call_later(self._patience, self._look, self._answers)

    def _end(self, reason: str) -> None:
        self.close()
        self._on_end(reason)

    def close(self) -> None:
        """End it, and tell those who wait."""
        self._watch.cancel()
        self._loop.remove_reader(self._wire)
        self._wire.close()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ProcessEnded())
        self._child.kill()  # it holds nothing that could be lost
        self._child.wait()


def _start_child(its_end: socket.socket) -> subprocess.Popen[bytes]:
    program = Path(signing_child.__file__)
    return subprocess.Popen(
        [sys.executable, "-P", str(program), str(its_end.fileno())],
        pass_fds=[its_end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
