"""payd check: everything that is wrong, at once, without the network, and nothing is changed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest

from payd.checkup import key_weakness, secret_weakness
from payd.storage import open_storage
from payd.system import SystemClock, SystemEntropy
from payd.web.api_keys import new_key

FAR = "https://api.mch.weixin.qq.com"


def _findings(done, level="problem"):
    return {item["check"]: item for item in json.loads(done.stdout)["findings"] if item["level"] == level}


def _make_books(path, mode):
    async def make():
        await open_storage(path, mode=mode, clock=SystemClock()).close()

    asyncio.run(make())


def test_the_repositorys_configuration_is_good(payd, write_config, pytestconfig):
    """config.json of the repository is checked clean, without a simulated merchant being made."""
    config = write_config(json.loads((pytestconfig.rootpath / "config.json").read_text()))

    done = payd("check", "--config", config)

    assert done.exit_code == 0
    assert "problem" not in done.output
    assert "note" not in done.output
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_a_live_configuration_is_good_and_shows_no_secret(payd, live_config, write_config):
    """A whole live configuration passes; its effective values show settings and mask every secret."""
    live_config["wechat_pay"] |= {"api_v3_key": "0123456789abcdef0123456789ABCDEF", "api_v3_key_path": None}
    secrets = ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    live_config["webhooks"] = [{"url": "https://shop.example/hook", "secrets": secrets}]
    config = write_config(live_config)

    done = payd("check", "--config", config)

    assert done.exit_code == 0, done.output
    assert live_config["wechat_pay"]["mch_id"] in done.stdout
    for secret in ("0123456789abcdef", live_config["pay"]["api_keys"][0], "C2FVsBQIhrscChlQIMV"):
        assert secret not in done.output
    assert done.stderr == ""


def test_everything_wrong_is_said_at_once(payd, live_config, write_config, tmp_path):
    """Misspelt keys, bad values, open files, mixed-up key files: one run names them all, exit 78."""
    (tmp_path / "apiclient_key.pem").chmod(0o644)
    (tmp_path / "pub_key.pem").write_bytes((tmp_path / "apiclient_cert.pem").read_bytes())
    live_config["server"]["prot"] = 1
    live_config["wechat_pay"] |= {"api_v3_key": "short", "notify_url": "ftp://x", "api_base": FAR}
    del live_config["wechat_pay"]["api_v3_key_path"]
    live_config["pay"]["api_keys"] = ["guess"]
    zeros = "whsec_" + base64.b64encode(bytes(32)).decode()
    live_config["webhooks"] = [{"url": "https://a.example/h", "secrets": [zeros]}]

    done = payd("check", "--config", write_config(live_config), "--json")

    assert done.exit_code == 78
    found = _findings(done)
    assert set(found) == {
        "server.prot", "wechat_pay.notify_url", "wechat_pay.api_v3_key", "wechat_pay.private_key_path",
        "wechat_pay.public_key_path", "pay.api_keys.0", "webhooks.0.secrets.0",
    }  # fmt: skip
    assert "chmod 600" in found["wechat_pay.private_key_path"]["cure"]


def test_problems_go_to_standard_error_for_people(payd, live_config, write_config):
    """Without --json problems stand on standard error with the path of each key, the rest on standard output."""
    live_config["wechat_pay"]["private_key_path"] = "nowhere.pem"

    done = payd("check", "--config", write_config(live_config))

    assert done.exit_code == 78
    assert "wechat_pay.private_key_path" in done.stderr
    assert "nowhere.pem" in done.stderr
    assert "ok  " in done.stdout


def test_what_needs_a_person_stands_last_right_above_the_prompt(payd, live_config, write_config):
    """Settings, then what is well, then notes, then problems, then the count; with nothing wrong it says so."""
    live_config["webhooks"] = [{"url": "https://a.example/h", "secrets": ["whsec_" + "A" * 32]}]
    notes = payd("check", "--config", write_config(live_config))
    live_config["wechat_pay"]["private_key_path"] = "nowhere.pem"
    config = write_config(live_config)
    problems = payd("check", "--config", config)

    findings = notes.stdout.split("\n\n")[1].splitlines()
    marks = [line.split()[0] for line in findings if not line.startswith(" ")]
    assert marks == sorted(marks, key=["ok", "note", "problem"].index)
    assert {"ok", "note"} <= set(marks)
    assert notes.stdout.startswith("SETTING")
    assert notes.stdout.splitlines()[-1] == f"{config}: nothing is wrong, 1 note"
    *_, before, blank, last = problems.output.splitlines()
    assert (before.split()[0] in ("problem", "cure:"), blank) == (True, "")
    assert last == f"{config}: 1 problem, 1 note; payd should not be started like this"


def test_a_merchant_key_of_another_certificate_is_found(payd, live_config, write_config, tmp_path):
    """The private key and the merchant certificate must belong together."""
    (tmp_path / "apiclient_key.pem").write_bytes((tmp_path / "wechat" / "platform_key.pem").read_bytes())
    del live_config["wechat_pay"]["merchant_serial_no"]
    live_config["wechat_pay"]["merchant_cert_path"] = "apiclient_cert.pem"

    done = payd("check", "--config", write_config(live_config), "--json")

    assert done.exit_code == 78
    assert "does not belong to private_key_path" in _findings(done)["wechat_pay.merchant_cert_path"]["cause"]


def test_weak_keys_are_a_problem_only_with_real_money(payd, live_config, write_config):
    """A guessable API key is a note beside a simulator and a problem with WeChat itself."""
    live_config["pay"]["api_keys"] = ["guess", "payd_sandbox_demo_key_not_a_secret"]
    near = payd("check", "--config", write_config(live_config), "--json")
    live_config["wechat_pay"] |= {"api_base": FAR, "notify_url": "https://pay.example/pay/notify/wechat"}
    far = payd("check", "--config", write_config(live_config), "--json")

    assert (near.exit_code, far.exit_code) == (0, 78)
    assert set(_findings(near, "note")) >= {"pay.api_keys.0", "pay.api_keys.1"}
    assert set(_findings(far)) == {"pay.api_keys.0", "pay.api_keys.1"}


def test_scopes_of_a_key_that_is_not_there_are_named(payd, live_config, write_config):
    """A misspelt key leaves the one that was meant with the default scopes; its id and its scopes show which it is."""
    key, misspelt = "7dK2mQ9xVb4TzR8wLpN3", "7dK2mQ9xVb4TzR8wLpN"
    live_config["pay"] |= {"api_keys": [key], "api_key_scopes": {misspelt: ["order_query"]}}
    near = payd("check", "--config", write_config(live_config), "--json")
    live_config["wechat_pay"] |= {"api_base": FAR, "notify_url": "https://pay.example/pay/notify/wechat"}
    far = payd("check", "--config", write_config(live_config), "--json")

    found = _findings(far)["pay.api_key_scopes"]
    assert (near.exit_code, far.exit_code) == (0, 78)
    assert hashlib.sha256(misspelt.encode()).hexdigest()[:8] + " (order_query)" in found["cause"]
    assert hashlib.sha256(key.encode()).hexdigest()[:8] in found["cure"]
    assert misspelt not in far.output


def test_a_callback_address_on_this_machine_is_a_problem_with_real_money(payd, live_config, write_config):
    """WeChat cannot call a loopback address."""
    live_config["wechat_pay"]["api_base"] = FAR

    done = payd("check", "--config", write_config(live_config), "--json")

    assert set(_findings(done)) == {"wechat_pay.notify_url"}


def test_the_database_must_be_closed_to_others_and_of_our_mode(payd, sandbox_config, tmp_path):
    """A database that others can open, or that holds the other mode's money, is exit 78; nothing in it is touched."""
    books = tmp_path / "payd.db"
    _make_books(books, "live")
    before = books.read_bytes()
    other_mode = payd("check", "--config", sandbox_config, "--json")
    books.chmod(0o644)
    both = payd("check", "--config", sandbox_config, "--json")

    assert (other_mode.exit_code, both.exit_code) == (78, 78)
    assert "holds live money" in _findings(other_mode)["storage.path"]["cause"]
    causes = [item["cause"] for item in json.loads(both.stdout)["findings"] if item["level"] == "problem"]
    assert [("mode 0644" in cause, "holds live money" in cause) for cause in causes] == [(True, False), (False, True)]
    assert books.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_database(payd, sandbox_config, tmp_path, content):
    """An empty file will be made a database; anything else in its place is a problem."""
    (tmp_path / "payd.db").touch(0o600)
    (tmp_path / "payd.db").write_bytes(content)

    done = payd("check", "--config", sandbox_config)

    assert done.exit_code == (78 if content else 0)
    assert ("not a payd database" in done.stderr) == bool(content)


def test_good_books_and_a_missing_folder(payd, sandbox_config, write_config, tmp_path):
    """Books of the right mode pass; a folder that is not there is named."""
    _make_books(tmp_path / "payd.db", "sandbox")
    good = payd("check", "--config", sandbox_config)
    content = json.loads(sandbox_config.read_text()) | {"storage": {"path": "nowhere/payd.db"}}
    missing = payd("check", "--config", write_config(content))

    assert (good.exit_code, missing.exit_code) == (0, 78)
    assert "nowhere does not exist" in missing.stderr


def test_a_folder_with_a_real_merchants_keys_is_no_sandbox(payd, sandbox_config, tmp_path):
    """A simulated merchant's folder with somebody else's certificate is refused."""
    cert = tmp_path / "sandbox" / "apiclient_cert.pem"
    cert.write_bytes((tmp_path / "sandbox" / "platform_cert.pem").read_bytes())

    done = payd("check", "--config", sandbox_config, "--json")

    assert done.exit_code == 78
    assert set(_findings(done)) == {"sandbox.dir"}


def test_tls_files_are_loaded(payd, sandbox_config, write_config, tmp_path):
    """The server's certificate and key must be there and belong together."""
    content = json.loads(sandbox_config.read_text())
    folder = tmp_path / "sandbox"
    content["server"]["tls_cert_path"] = str(folder / "apiclient_cert.pem")
    content["server"]["tls_key_path"] = str(folder / "pub_key.pem")
    bad = payd("check", "--config", write_config(content), "--json")
    content["server"]["tls_key_path"] = str(folder / "apiclient_key.pem")
    good = payd("check", "--config", write_config(content), "--json")

    assert (bad.exit_code, good.exit_code) == (78, 0)
    assert set(_findings(bad)) == {"server.tls_cert_path"}


@pytest.mark.parametrize("entry, weak", [
    ("x" * 40, True), ("short-key-1", True), ("payd_sandbox_demo_key_not_a_secret", True),
    ("7dK2mQ9xVb4TzR8wLpN3", False), ("sha256:" + "0123456789abcdef" * 4, False),
    (new_key(entropy=SystemEntropy()).key, False), (new_key(entropy=SystemEntropy()).key[:-1], True),
], ids=["one letter", "short", "published", "long", "hash", "payd's own", "cut off"])  # fmt: skip
def test_what_a_weak_key_is(entry, weak):
    """Short, repetitive, published or damaged keys are weak; random ones and hashes are not."""
    assert (key_weakness(entry) is not None) == weak


@pytest.mark.parametrize("raw, weak", [(bytes(range(24)), False), (bytes(32), True), (bytes(range(23)), True)])
def test_what_a_weak_webhook_secret_is(raw, weak):
    """Fewer than 24 bytes, or the same few over and over, are weak."""
    assert (secret_weakness("whsec_" + base64.b64encode(raw).decode()) is not None) == weak


def test_the_environment_is_checked_too(payd, sandbox_config):
    """PAYD_ variables override the file and are checked with it."""
    good = payd("check", "--config", sandbox_config, "--json", env={"PAYD_SERVER__PORT": "9999", "PAYD_DEBUG": "0"})
    bad = payd("check", "--config", sandbox_config, "--json", env={"PAYD_SERVER__PROT": "9999"})

    assert (good.exit_code, bad.exit_code) == (0, 78)
    assert json.loads(good.stdout)["effective"]["server"]["port"] == 9999
    assert set(_findings(bad)) == {"PAYD_SERVER__PROT"}
