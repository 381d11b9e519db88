"""payd serve as a process: when it is ready, and the exit codes when it cannot start."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest

from tests.journeys.house import DEADLINE_SECONDS, Process, free_port, until


def _serve(config):
    return subprocess.run(
        [sys.executable, "-m", "payd", "serve", "--config", config],
        capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
    )  # fmt: skip


@pytest.fixture
def start(tmp_path):
    """Start daemons that end with the test, whatever becomes of it."""
    running = []

    def serving(config, **environ):
        running.append(Process(["serve", "--config", str(config)], tmp_path / "log", environ))
        return running[-1]

    yield serving
    for process in running:
        process.end()


@pytest.fixture
def taken_port():
    """A loopback port on which somebody else listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_systemd_is_told_when_payd_listens(start, sandbox_config, tmp_path):
    """READY=1 comes with the line on standard output, not before; SIGTERM ends with 0."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(address))
        sock.settimeout(DEADLINE_SECONDS)
        daemon = start(sandbox_config, NOTIFY_SOCKET=str(address))
        told = sock.recv(100)

    assert told == b"READY=1"
    assert daemon.line.startswith("payd ")
    assert daemon.end(signal.SIGTERM) == 0


def test_a_second_daemon_on_the_same_books_is_temporary(start, sandbox_config, tmp_path):
    """Exactly one process per database: the second exits 75 and names the first; the first does not notice."""
    first = start(sandbox_config)
    content = json.loads(sandbox_config.read_text())
    content |= {"server": {"port": 0}, "sandbox": {"port": 0, "dir": "sandbox2"}}
    second_config = tmp_path / "second.json"
    second_config.write_text(json.dumps(content))

    second = _serve(second_config)

    assert second.returncode == 75
    assert f"process {first.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert first.end(signal.SIGTERM) == 0


def test_a_taken_port_is_a_configuration_error(sandbox_config, write_config, taken_port):
    """server.port in use: exit 78 and the key's path; no database is made."""
    content = json.loads(sandbox_config.read_text())
    content["server"]["port"] = taken_port

    done = _serve(write_config(content))

    assert done.returncode == 78
    assert done.stderr.startswith("payd: server.port: ")
    for words in ("another payd", f"ss -ltnp 'sport = :{taken_port}'", "set server.port", "PAYD_SERVER__PORT"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (sandbox_config.parent / "payd.db").exists()


def test_a_taken_simulator_port_is_temporary(sandbox_config, write_config, taken_port):
    """sandbox.port in use: exit 75, one line."""
    content = json.loads(sandbox_config.read_text())
    content["sandbox"]["port"] = taken_port

    done = _serve(write_config(content))

    assert done.returncode == 75
    assert str(taken_port) in done.stderr
    assert "set sandbox.port (or PAYD_SANDBOX__PORT)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_of_another_machine_blames_the_host(sandbox_config, write_config):
    """server.host that is not here: another port would not help."""
    content = json.loads(sandbox_config.read_text())
    content["server"]["host"] = "192.0.2.1"

    done = _serve(write_config(content))

    assert done.returncode == 78
    assert done.stderr.startswith("payd: server.host: cannot listen on 192.0.2.1:")
    assert "this machine" in done.stderr


def test_a_second_payd_in_the_same_folder_is_told_who_runs(start, sandbox_config, write_config):
    """Not "database is locked" of the simulator's book: the process that holds the books, and the cure."""
    content = json.loads(sandbox_config.read_text())
    first = start(sandbox_config)
    content["server"]["port"] = 0
    other_port = _serve(write_config(content, "second.json"))
    same_port = _serve(sandbox_config)

    assert (other_port.returncode, same_port.returncode) == (75, 78)
    for done in (other_port, same_port):
        assert f"payd.db is in use by another payd (process {first.pid})" in done.stderr
        assert "end that one first" in done.stderr
        assert "database is locked" not in done.stderr
        assert "Traceback" not in done.stderr
    assert "sport = :" in same_port.stderr
    assert first.end(signal.SIGTERM) == 0


def test_sighup_says_in_the_log_what_the_readme_says(start, sandbox_config, write_config, pytestconfig):
    """api_keys_reloaded with their number; after a mistake api_keys_kept with the file and the key to blame."""
    content = json.loads(sandbox_config.read_text())
    daemon = start(sandbox_config)

    def told(event):
        lines = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    content["pay"]["api_keys"].append("another-key-of-the-shop")
    write_config(content)
    daemon.send(signal.SIGHUP)
    (good,) = until(lambda: told("api_keys_reloaded"), "the reload")
    write_config(content | {"sever": {}})
    daemon.send(signal.SIGHUP)
    (bad,) = until(lambda: told("api_keys_kept"), "the refusal")

    assert good["keys"] == 2
    assert (bad["level"], str(sandbox_config) in bad["error"]) == ("error", True)
    assert "sever: unknown key, did you mean 'server'?" in bad["error"]
    page = (pytestconfig.rootpath / "README.md").read_text()
    assert "`api_keys_reloaded`" in page
    assert "`api_keys_kept`" in page


def test_the_other_modes_books_are_refused(start, live_config, write_config, tmp_path):
    """Sandbox money never gets into live books: exit 78 and nothing is written."""
    sandbox = write_config({"mode": "sandbox", "server": {"port": 0}, "sandbox": {"port": 0}}, "sandbox.json")
    start(sandbox).end(signal.SIGTERM)
    before = (tmp_path / "payd.db").read_bytes()
    live_config["server"]["port"] = free_port()

    done = _serve(write_config(live_config))

    assert done.returncode == 78
    assert "storage.path" in done.stderr
    assert (tmp_path / "payd.db").read_bytes() == before


def test_missing_key_files_are_said_in_one_go(live_config, write_config, tmp_path):
    """Keys that cannot be used are exit 78 with every complaint, never a traceback."""
    (tmp_path / "apiclient_key.pem").unlink()
    (tmp_path / "pub_key.pem").unlink()
    live_config["server"]["port"] = free_port()

    done = _serve(write_config(live_config))

    assert done.returncode == 78
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "wechat_pay.private_key_path", "wechat_pay.public_key_path",
    ]  # fmt: skip
