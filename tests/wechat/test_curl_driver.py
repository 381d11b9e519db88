"""curl on the loop, over real sockets: every request gets its whole answer, or one failure that says what was sent."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from payd.wechat import curl_driver
from payd.wechat.curl_driver import CurlDriver
from payd.wechat.http_answer import TransportFailure
from tests.loops import LOOPS, PATIENCE_SECONDS


@dataclass
class Host:
    """A raw HTTP host. It answers each request with its own target; ``/hold`` waits for the gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open_now: int = 0
    open_most: int = 0
    connections: int = 0
    serving: list[asyncio.Task] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    base: str = ""
    server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                self.bodies.append(await reader.readexactly(int(length.partition(b":")[2])))
                self.heads.append(head)
                target = head.split(b" ")[1]
                if target.startswith(b"/vanish"):
                    self.server.close()
                    writer.transport.abort()
                    return
                if target.startswith(b"/hold"):
                    self.held.set()
                    await self.gate.wait()
                content = b"x" * 5000 if target == b"/large" else target
                writer.write(b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a test's coroutine with a host and a driver, on each loop."""

    def running(test):
        async def around():
            host = Host()
            server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
            host.server = server
            host.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            driver = CurlDriver()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await test(host, driver)
            finally:
                with contextlib.suppress(Exception):
                    driver.close()
                host.gate.set()
                server.close()
                await server.wait_closed()
                await asyncio.gather(*host.serving, return_exceptions=True)

        loop = LOOPS[request.param]()
        try:
            loop.run_until_complete(around())
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return running


def ask(driver, url, *, body=None, seconds=10.0, most=10_000, headers=(), take=None):
    return driver.exchange(url, headers=dict(headers), body=body, seconds=seconds, most=most, take=take)


def test_many_at_once_share_few_connections_and_never_cross(run, monkeypatch):
    """Beyond the bound on connections requests wait; each gets the answer to its own question."""
    monkeypatch.setattr(curl_driver, "WECHAT_CONNECTIONS_MAX", 3)

    async def test(host, driver):
        answers = await asyncio.gather(*(ask(driver, f"{host.base}/{n}", body=b"%d" % n) for n in range(60)))

        assert [answer.body for answer in answers] == [b"/%d" % n for n in range(60)]
        assert sorted(host.bodies, key=int) == [b"%d" % n for n in range(60)]
        assert host.open_most <= 3

    run(test)


def test_a_request_that_never_got_a_connection_was_not_sent(run, monkeypatch):
    """The wait for a connection counts: the failure is a time-out, and says that the host has seen nothing."""
    monkeypatch.setattr(curl_driver, "WECHAT_CONNECTIONS_MAX", 1)

    async def test(host, driver):
        first = asyncio.ensure_future(ask(driver, f"{host.base}/hold", body=b"1"))
        await host.held.wait()

        with pytest.raises(TransportFailure) as failure:
            await ask(driver, f"{host.base}/second", body=b"2", seconds=0.2)

        assert (failure.value.reason, failure.value.sent) == ("timeout", False)
        host.gate.set()
        assert (await first).body == b"/hold"
        assert host.bodies == [b"1"]

    run(test)


def test_a_request_that_is_not_answered_in_time_was_sent(run):
    """Its outcome is unknown."""

    async def test(host, driver):
        with pytest.raises(TransportFailure) as failure:
            await ask(driver, f"{host.base}/hold", body=b"1", seconds=0.2)

        assert (failure.value.reason, failure.value.sent) == ("timeout", True)
        assert host.bodies == [b"1"]

    run(test)


def test_connections_are_kept_and_nothing_of_a_request_stays(run):
    """A question behind a command goes over the same connection, without its method, body or headers."""

    async def test(host, driver):
        await ask(driver, f"{host.base}/one", body=b"secret", headers={"X-One": "1"})
        answer = await ask(driver, f"{host.base}/two")

        assert (answer.status, answer.headers["a"], answer.body) == (200, "1", b"/two")
        assert host.connections == 1
        assert [head.split(b" ")[0] for head in host.heads] == [b"POST", b"GET"]
        assert host.bodies == [b"secret", b""]
        assert b"X-One" not in host.heads[1]
        assert b"expect" not in (host.heads[0] + host.heads[1]).lower()

    run(test)


def test_a_header_that_would_be_two_is_refused(run):
    """Nothing is sent."""

    async def test(host, driver):
        with pytest.raises(TransportFailure) as failure:
            await ask(driver, f"{host.base}/x", body=b"1", headers={"A": "1\r\nB: 2"})

        assert (failure.value.reason, failure.value.sent) == ("connection", False)
        assert host.connections == 0
        assert (await ask(driver, f"{host.base}/y")).body == b"/y"

    run(test)


def test_an_answer_that_is_too_large_ends(run):
    """Its bound holds whether it is kept or handed on; the next request is not harmed."""

    async def test(host, driver):
        pieces = []
        for take in (None, pieces.append):
            with pytest.raises(TransportFailure) as failure:
                await ask(driver, f"{host.base}/large", most=4_999, take=take)
            assert (failure.value.reason, failure.value.sent) == ("malformed", True)
        assert sum(map(len, pieces)) <= 4_999

        answer = await ask(driver, f"{host.base}/large", most=5_000, take=pieces.append)
        assert (answer.body, answer.status) == (b"", 200)

    run(test)


def test_whoever_stops_waiting_stops_nothing(run):
    """The request goes on to its end, and its connection is used again."""

    async def test(host, driver):
        waiting = asyncio.ensure_future(ask(driver, f"{host.base}/hold", body=b"1"))
        await host.held.wait()
        waiting.cancel()
        host.gate.set()

        assert (await ask(driver, f"{host.base}/next")).body == b"/next"
        assert host.bodies == [b"1", b""]

    run(test)


def test_closing_ends_what_is_under_way(run):
    """Everybody who waits hears of it, and that it may have been carried out; no socket stays watched."""

    async def test(host, driver):
        waiting = asyncio.ensure_future(ask(driver, f"{host.base}/hold", body=b"1"))
        await host.held.wait()

        driver.close()

        with pytest.raises(TransportFailure) as failure:
            await waiting
        assert (failure.value.reason, failure.value.sent) == ("connection", True)
        assert driver._watched == {}

    run(test)


def test_a_host_that_is_not_there_has_seen_nothing(run):
    """A refused connection is the one failure after which another host may be asked the same without doubt."""

    async def test(host, driver):
        with pytest.raises(TransportFailure) as failure:
            await ask(driver, "http://127.0.0.1:1/x", body=b"1")

        assert (failure.value.reason, failure.value.sent) == ("connection", False)

    run(test)


def test_what_went_out_once_was_sent_whatever_became_of_the_second_try(run):
    """The host takes a command over a kept connection, drops it and is gone: curl's own second try finds nobody."""

    async def test(host, driver):
        await ask(driver, f"{host.base}/one", body=b"1")

        with pytest.raises(TransportFailure) as failure:
            await ask(driver, f"{host.base}/vanish", body=b"2")

        assert host.bodies == [b"1", b"2"]
        assert failure.value.sent is True

    run(test)


@pytest.mark.parametrize("way", ["add_reader", "add_writer"])
def test_a_socket_that_cannot_be_watched_ends_its_call_alone(run, way):
    """No memory for one more watched socket: that call fails, nobody waits for ever, and the next ones go through."""

    async def test(host, driver):
        loop, broken = driver._loop, []

        class Loop:
            def __getattr__(self, name):
                if name == way and not broken:
                    broken.append(name)
                    raise OSError("no space left")
                return getattr(loop, name)

        driver._loop = Loop()
        with pytest.raises(TransportFailure):
            await ask(driver, f"{host.base}/one", body=b"1", seconds=5.0)

        assert broken == [way]
        assert (await ask(driver, f"{host.base}/two")).body == b"/two"
        assert driver._under_way == {}

    run(test)


def test_handles_of_a_burst_are_not_kept(run, monkeypatch):
    """As many are kept as there may be connections."""
    monkeypatch.setattr(curl_driver, "WECHAT_CONNECTIONS_MAX", 3)

    async def test(host, driver):
        await asyncio.gather(*(ask(driver, f"{host.base}/{n}") for n in range(20)))

        assert len(driver._free) == 3

    run(test)


def test_no_proxy_stands_between_payd_and_its_own_machine(run, monkeypatch):
    """A proxy of the environment is for the world outside."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def test(host, driver):
        assert (await ask(driver, f"{host.base}/x")).body == b"/x"

        with pytest.raises(TransportFailure):
            await ask(driver, "http://payd.invalid/x")

    run(test)
