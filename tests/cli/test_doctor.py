"""payd doctor: each trouble on the way to WeChat is found, with its cause and its cure."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from payd.checkup import CALLBACK_PATH
from payd.config import load_config
from payd.doctor import examine_daemon, examine_notify_url, examine_wechat
from payd.sandbox import Sandbox
from payd.system import SystemClock, SystemEntropy
from payd.wechat import ClientSettings, open_wechat_pay
from tests.faults.fault_proxy import FaultProxy
from tests.journeys.house import House, free_port


class ShiftedClock(SystemClock):
    """A machine whose clock is wrong."""

    def __init__(self, seconds: float) -> None:
        self._shift = timedelta(seconds=seconds)

    def now(self):
        return super().now() + self._shift


@pytest.fixture
def simulator(io_loop, merchant_folder):
    """A running simulator with a book in memory."""
    running = Sandbox(merchant_folder, persist=False)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture
def settings(simulator):
    """The simulated merchant's settings in public-key mode."""
    merchant = simulator.merchant
    return ClientSettings(
        mchid=merchant.mchid,
        appid=merchant.appid,
        private_key_path=merchant.private_key_path,
        api_v3_key=merchant.api_v3_key.encode(),
        notify_url="http://127.0.0.1:1/pay/notify/wechat",
        merchant_serial_no=merchant.merchant_serial_no,
        public_key_id=merchant.public_key_id,
        public_key_path=merchant.public_key_path,
        api_base=simulator.base_url,
        api_base_backup=None,
        timeout_ms=2000,
    )


async def _examine(settings, shift=0.0):
    wechat = open_wechat_pay(settings, clock=ShiftedClock(shift), entropy=SystemEntropy())
    try:
        found = await examine_wechat(wechat, settings, entropy=SystemEntropy())
    finally:
        await wechat.close_client()
    return {item.check: item for item in found if item.level == "problem"}, [item.check for item in found]


async def test_a_healthy_connection_proves_every_step(settings):
    """Clock, round trip, keys and encryption are each proved, and nothing is wrong."""
    problems, checks = await _examine(settings)

    assert problems == {}
    assert checks == ["clock", "round trip", "platform keys", "encryption"]


async def test_a_wrong_certificate_serial_is_named(settings):
    """The merchant serial of another certificate: WeChat does not accept the signature."""
    problems, _ = await _examine(replace(settings, merchant_serial_no="7" * 40))

    assert set(problems) == {"round trip"}
    assert "SIGN_ERROR" in problems["round trip"].cause
    assert "merchant_serial_no" in problems["round trip"].cure


async def test_a_foreign_platform_key_is_named(settings, merchant_folder, tmp_path):
    """Another public key under the right id: WeChat's answers do not verify."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    other = load_pem_private_key((merchant_folder / "wechat" / "platform_key.pem").read_bytes(), None).public_key()
    path = tmp_path / "pub_key.pem"
    path.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    problems, _ = await _examine(replace(settings, public_key_path=path))

    assert "does not verify with the configured platform key" in problems["round trip"].cause
    assert "pub_key.pem" in problems["round trip"].cure


async def test_a_clock_that_is_off_is_found_before_payments_stop(settings):
    """Three minutes off still works at WeChat, and is a finding already."""
    problems, checks = await _examine(settings, shift=180)

    assert set(problems) == {"clock"}
    seconds = int(re.search(r"([0-9]+) s ahead of WeChat", problems["clock"].cause)[1])
    assert seconds in range(170, 190)  # Date has whole seconds
    assert "round trip" in checks


async def test_nobody_at_the_gateway_is_a_network_finding(settings):
    """No connection: the cause and where to look."""
    problems, _ = await _examine(replace(settings, api_base=f"http://127.0.0.1:{free_port()}"))

    assert set(problems) == {"round trip"}
    assert "no connection" in problems["round trip"].cause
    assert "firewall" in problems["round trip"].cure


@pytest.mark.parametrize("url, words", [
    ("http://127.0.0.1:8080/pay/notify/wechat", {"not https", "cannot reach"}),
    ("https://localhost/pay/notify/wechat", {"cannot reach"}),
    ("https://nothing.invalid/pay/notify/wechat", {"no address"}),
    ("https://8.8.8.8/pay/notify/wechat", set()),
])  # fmt: skip
async def test_a_notify_url_that_wechat_cannot_call(live_config, write_config, url, words):
    """https, a name in the DNS and a public address are wanted when the money is real."""
    live_config["wechat_pay"] |= {"api_base": "https://api.mch.weixin.qq.com", "notify_url": url}

    found = await examine_notify_url(load_config(write_config(live_config), {}))

    causes = [item.cause for item in found if item.level == "problem"]
    assert len(causes) == len(words)
    assert all(any(word in cause for cause in causes) for word in words)


@pytest.fixture
def examine_door(house, live_config, write_config):
    """Examine a notify_url on this machine; payd listens at ``port``, the house's unless another is said."""

    async def examine(url, port=house.port):
        live_config["server"]["port"] = port
        live_config["wechat_pay"]["notify_url"] = url
        (found,) = await examine_notify_url(load_config(write_config(live_config), {}))
        return found

    return examine


def door(port):
    return f"http://127.0.0.1:{port}{CALLBACK_PATH}"


@pytest.fixture
def answering(io_loop):
    """Start a program that answers every GET with a status."""
    servers = []

    def start(status):
        class Answer(RequestHandler):
            def get(self):
                self.set_status(status)

        sock, port = bind_unused_port()
        servers.append(HTTPServer(Application([("/.*", Answer)])))
        servers[-1].add_socket(sock)
        return port

    yield start
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


async def test_a_notify_url_on_this_machine_leads_to_payd(examine_door, house):
    """payd's own port, whatever the host is called, is right."""
    found = [await examine_door(door(house.port)), await examine_door(f"http://localhost:{house.port}{CALLBACK_PATH}")]

    assert [item.level.value for item in found] == ["ok", "ok"]


async def test_a_proxy_on_this_machine_may_lead_to_payd(examine_door, house):
    """Ports are not compared: whoever hands the request on to payd is right."""
    proxy = FaultProxy(house.port)
    await proxy.listen()

    found = await examine_door(door(proxy.port))
    await proxy.refuse()

    assert found.level.value == "ok"


async def test_a_notify_url_where_no_payd_listens_is_a_problem(examine_door, house):
    """payd was started on another port than the ready configuration names: cause and cure say where it listens."""
    lost = door(free_port())

    found = await examine_door(lost)

    assert found.level.value == "problem"
    assert found.cause.startswith(f"nobody answers at {lost}; payd listens at {door(house.port)}")
    assert f"set wechat_pay.notify_url to {door(house.port)}" in found.cure


@pytest.mark.parametrize("status", [200, 405, 502])
async def test_another_program_at_the_notify_url_is_a_problem(examine_door, answering, house, status):
    """What answers there is not payd, also when it refuses a GET as payd does, or is a proxy that leads elsewhere."""
    found = await examine_door(door(answering(status)))

    assert found.level.value == "problem"
    assert f"is not payd's door for callbacks ({status}); payd listens at" in found.cause
    assert door(house.port) in found.cure


async def test_a_wrong_path_at_payd_is_a_problem(examine_door, house):
    """payd answers 404 there, and takes no callback."""
    found = await examine_door(f"http://127.0.0.1:{house.port}/notify")

    assert found.level.value == "problem"
    assert "(404)" in found.cause


@pytest.mark.parametrize("status, level", [(None, "note"), (502, "note"), (200, "problem")])
async def test_a_notify_url_cannot_be_judged_while_payd_does_not_run(examine_door, answering, status, level):
    """Nobody there, or a proxy with nobody behind it, is a note; another program in payd's place is a problem."""
    port = free_port()
    url = door(free_port() if status is None else answering(status))

    found = await examine_door(url, port)

    assert found.level.value == level
    assert door(port) in found.cure


async def test_what_speaks_no_http_at_the_notify_url_is_nobody(examine_door, io_loop):
    """A banner, a closed connection: a finding, not a traceback."""

    async def greet(_reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        found = await examine_door(door(server.sockets[0].getsockname()[1]))

    assert found.level.value == "problem"
    assert found.cause.startswith("nobody answers at")


async def test_every_ipv6_address_is_asked_by_ipv6(live_config, write_config):
    """A daemon at :: takes no IPv4: that is where it is looked for."""
    live_config["server"] = {"host": "::", "port": free_port()}

    (found,) = await examine_daemon(load_config(write_config(live_config), {}))

    assert f"http://[::1]:{live_config['server']['port']}" in found.cause


async def test_another_program_on_payds_port_is_found(simulator, live_config, write_config):
    """What listens on server.port must be payd; nobody there is only a note."""
    live_config["server"]["port"] = simulator.port
    foreign = await examine_daemon(load_config(write_config(live_config), {}))
    live_config["server"]["port"] = free_port()
    nobody = await examine_daemon(load_config(write_config(live_config), {}))

    assert [item.level.value for item in (*foreign, *nobody)] == ["problem", "note"]


@pytest.fixture
def own_house(merchant_folder, tmp_path):
    """A payd that has taken no callback yet."""
    folder = tmp_path / "own"
    shutil.copytree(merchant_folder, folder / "sandbox")
    running = House(folder, {"reconcile_enabled": False, "bills": {"enabled": False}}).start()
    yield running
    assert running.stop() == 0


async def test_another_payd_on_the_port_is_no_proof(house, live_config, write_config):
    """A sandbox daemon that was left running says nothing about the live configuration."""
    live_config["server"]["port"] = house.port

    (found,) = await examine_daemon(load_config(write_config(live_config), {}))

    assert found.level.value == "problem"
    assert "another payd (mode sandbox)" in found.cause


async def test_a_wrong_api_v3_key_shows_in_the_callbacks(own_house, write_config):
    """No call to WeChat uses it: it is unproven until a callback was opened, and wrong when one was not."""
    house = own_house
    config = load_config(write_config({"mode": "sandbox", "server": {"port": house.port}}), {})
    found = {}
    for moment in ("before", "opened", "not opened"):
        if moment == "opened":
            number = house.paid()
        elif moment == "not opened":
            assert house.resend(number, wrong_api_v3_key=True) == [400]
        found[moment] = {item.check: item for item in await examine_daemon(config)}["api_v3_key"]

    assert [item.level.value for item in found.values()] == ["note", "ok", "problem"]
    assert "APIv3 key" in found["not opened"].cure


def test_mode_sandbox_is_examined_against_its_own_simulator(payd, sandbox_config):
    """Without a daemon the simulator is started for the run; exit 0, and no database is made."""
    done = payd("doctor", "--config", sandbox_config, "--json")

    assert done.exit_code == 0, done.output
    found = {item["check"]: item["level"] for item in json.loads(done.stdout)["findings"]}
    assert found["round trip"] == found["encryption"] == found["platform keys"] == "ok"
    assert not (sandbox_config.parent / "payd.db").exists()


def test_findings_are_exit_1_and_a_table(payd, live_config, write_config):
    """A finding makes exit 1; every problem has a cure below it, on standard output."""
    live_config["wechat_pay"]["api_base"] = f"http://127.0.0.1:{free_port()}"

    done = payd("doctor", "--config", write_config(live_config))

    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("problem"))
    assert "round trip" in lines[at]
    assert lines[at + 1].strip().startswith("cure:")


def test_offline_problems_are_found_online_too(payd, live_config, write_config, tmp_path):
    """doctor does all of check; what cannot be tried because of it says so."""
    (tmp_path / "apiclient_key.pem").unlink()

    done = payd("doctor", "--config", write_config(live_config), "--json")

    assert done.exit_code == 1
    found = {item["check"]: item["level"] for item in json.loads(done.stdout)["findings"]}
    assert found["wechat_pay.private_key_path"] == "problem"
    assert found["online"] == "note"


def test_a_running_daemon_is_examined_through_its_door(ask):
    """Beside a daemon in mode sandbox its simulator is used, and the daemon itself is found ready."""
    found = {item["check"]: item for item in ask("doctor", "--json")["findings"]}

    assert found["daemon"]["level"] == found["round trip"]["level"] == "ok"
