"""Signatures off the loop: the same bytes from a thread and from the process, whatever becomes of the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from payd.wechat import signing_child
from payd.wechat.keyring import MerchantKey
from payd.wechat.signatures import _ENVIRONMENT, CROWD, RESTART_SECONDS, Signatures, _start_child
from tests.loops import LOOPS, PATIENCE_SECONDS, current_loop, until

TEXTS = [f"POST\n/v3/pay/transactions/native\n1\n{n}\n{{}}\n".encode() for n in range(40)]


@pytest.fixture(params=LOOPS)
def io_loop(request: pytest.FixtureRequest) -> Any:
    """Each loop in turn."""
    with current_loop(request.param) as loop:
        yield loop


@pytest.fixture
def key(keys: Any) -> MerchantKey:
    return MerchantKey("1900000109", keys.merchant_serial, keys.merchant)


@contextlib.asynccontextmanager
async def open_signatures(key: MerchantKey, clock: Any) -> AsyncIterator[Signatures]:
    with ThreadPoolExecutor(2) as executor:
        signatures = Signatures(key, clock=clock, executor=executor)
        try:
            yield signatures
        finally:
            signatures.close()


async def sign_all(signatures: Signatures, texts: list[bytes]) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.gather(*map(signatures.sign, texts))


async def with_a_process(signatures: Signatures) -> Any:
    """Come as a crowd, and wait until its process is there."""
    await sign_all(signatures, TEXTS)
    await until(lambda: signatures._process._ready)
    return signatures._process


@dataclass
class Tally:
    """What a process has answered."""

    answers: int = 0


def count_answers(process: Any) -> Tally:
    """Count the futures that the process ends, from now on."""
    tally, sign = Tally(), process.sign

    def counting(text: bytes) -> Any:
        future = sign(text)
        if future is not None:
            future.add_done_callback(lambda done: setattr(tally, "answers", tally.answers + (not done.cancelled())))
        return future

    process.sign = counting
    return tally


def make_impatient(process: Any) -> None:
    """Look at a process that is there much more often than in life."""
    process._patience = 0.3
    process._watch.cancel()
    process._look()


async def test_a_few_signatures_start_no_process(io_loop, key, clock):
    """A small shop pays for none."""
    async with open_signatures(key, clock) as signatures:
        for start in range(0, len(TEXTS), CROWD):
            few = TEXTS[start : start + CROWD]
            assert await sign_all(signatures, few) == [key.sign(text) for text in few]

        assert signatures._process is None


async def test_a_crowd_gets_a_process_and_everybody_the_right_signature(io_loop, key, clock):
    """Those who called it up are signed for on threads; those who come later by the process, each its own text."""
    async with open_signatures(key, clock) as signatures:
        assert await sign_all(signatures, TEXTS) == [key.sign(text) for text in TEXTS]
        tally = count_answers(await with_a_process(signatures))

        assert await sign_all(signatures, TEXTS) == [key.sign(text) for text in TEXTS]
        assert tally.answers == len(TEXTS)


async def test_a_process_that_is_killed_loses_no_signature(io_loop, key, clock):
    """What it had not answered is signed on threads; a minute later another may be started, not sooner."""
    async with open_signatures(key, clock) as signatures:
        process = await with_a_process(signatures)
        os.kill(process.pid, signal.SIGSTOP)  # so that all of them wait for it
        under_way = [asyncio.ensure_future(signatures.sign(text)) for text in TEXTS]
        await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.gather(*under_way) == [key.sign(text) for text in TEXTS]
        assert signatures._process is None
        assert not Path(f"/proc/{process.pid}").exists(), "it is buried"

        clock.advance(RESTART_SECONDS - 1)
        await sign_all(signatures, TEXTS)
        assert signatures._process is None
        clock.advance(1)
        assert (await with_a_process(signatures)).pid != process.pid


async def test_a_process_that_is_stuck_loses_no_signature(io_loop, key, clock):
    """It is ended; nobody waits for it for ever."""
    async with open_signatures(key, clock) as signatures:
        process = await with_a_process(signatures)
        os.kill(process.pid, signal.SIGSTOP)
        make_impatient(process)

        assert await sign_all(signatures, TEXTS) == [key.sign(text) for text in TEXTS]
        assert signatures._process is None
        assert not Path(f"/proc/{process.pid}").exists()


async def test_a_process_with_nothing_to_do_is_left_alone(io_loop, key, clock):
    """Silence is no illness when nobody waits."""
    async with open_signatures(key, clock) as signatures:
        process = await with_a_process(signatures)
        looks, look = [], process._look
        process._look = lambda: looks.append(look())
        make_impatient(process)
        await until(lambda: len(looks) == 4)

        signature = signatures.sign(b"text")  # handed over right before a look, after a long silence
        waiting = asyncio.ensure_future(signature)
        await asyncio.sleep(0)
        process._look()

        assert signatures._process is process
        assert await waiting == key.sign(b"text")


async def test_a_caller_who_leaves_does_not_shift_the_others(io_loop, key, clock):
    """Signatures come in the order of the texts; the one nobody waits for is dropped."""
    async with open_signatures(key, clock) as signatures:
        await with_a_process(signatures)
        under_way = [asyncio.ensure_future(signatures.sign(text)) for text in TEXTS]
        await asyncio.sleep(0)
        under_way[3].cancel()

        async with asyncio.timeout(PATIENCE_SECONDS):
            signed = await asyncio.gather(*under_way, return_exceptions=True)
        assert isinstance(signed.pop(3), asyncio.CancelledError)
        assert signed == [key.sign(text) for text in TEXTS[:3] + TEXTS[4:]]


async def test_what_does_not_fit_is_signed_on_threads(io_loop, key, clock):
    """A text longer than a message, and more texts than the socket holds."""
    async with open_signatures(key, clock) as signatures:
        process = await with_a_process(signatures)
        texts = [b"x" * (signing_child.TEXT_BYTES_MAX + extra) for extra in (0, 1)]
        texts.append(b"")
        tally = count_answers(process)
        assert await sign_all(signatures, texts) == [key.sign(text) for text in texts]
        assert tally.answers == 1

        os.kill(process.pid, signal.SIGSTOP)
        large = [texts[0]] * 50
        under_way = [asyncio.ensure_future(signatures.sign(text)) for text in large]
        await asyncio.sleep(0)
        assert 0 < len(process._waiting) < 50
        os.kill(process.pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.gather(*under_way) == [key.sign(texts[0])] * 50
        assert signatures._process is process


async def test_without_a_process_everything_is_signed_as_well(io_loop, key, clock, monkeypatch):
    """It is a matter of speed only, and is tried again a minute later."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    async with open_signatures(key, clock) as signatures:
        assert await sign_all(signatures, TEXTS) == [key.sign(text) for text in TEXTS]
        assert signatures._process is None
        assert signatures._next_start == clock.monotonic() + RESTART_SECONDS


async def test_behind_the_end_no_process_is_started(io_loop, key, clock):
    """Nobody would end it."""
    async with open_signatures(key, clock) as signatures:
        signatures.close()

        assert await sign_all(signatures, TEXTS) == [key.sign(text) for text in TEXTS]
        assert signatures._process is None


async def test_the_key_is_handed_over_where_nobody_reads_it(io_loop, key, clock, monkeypatch):
    """Not in the arguments, not in the environment; payd's own secrets are not there either."""
    monkeypatch.setenv("PAY_API_KEY", "not for everybody")
    async with open_signatures(key, clock) as signatures:
        place = Path(f"/proc/{(await with_a_process(signatures)).pid}")
        python, option, program, number = place.joinpath("cmdline").read_text().split("\0")[:-1]
        names = {entry.partition("=")[0] for entry in place.joinpath("environ").read_text().split("\0")}

    assert (python, option, program) == (sys.executable, "-P", signing_child.__file__)
    assert number.isdigit()
    assert names <= {"", *_ENVIRONMENT}


def test_the_process_outlives_signals_to_the_group_and_ends_with_payd(key):
    """While payd drains it still signs; when payd is gone, however, so is it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        child = _start_child(its)
        its.close()
        ours.settimeout(PATIENCE_SECONDS)
        ours.send(key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        assert ours.recv(100) == signing_child.READY
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child.send_signal(number)

        ours.send(b"text")
        assert ours.recv(1000) == key.sign(b"text")
    assert child.wait(PATIENCE_SECONDS) == 0
