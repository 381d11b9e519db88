"""The merchant's directory: made once, never overwritten, and never a real merchant's."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from payd.sandbox import Merchant, Sandbox, prepare_directory
from payd.sandbox.errors import DirectoryRefused, ListenRefused


@pytest.fixture
def directory(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "sandbox")


def _contents(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_merchant_tells_everything_an_sdk_needs(prepared):
    """Shapes of every identifier, and files that are really there."""
    facts = prepare_directory(prepared)

    assert isinstance(facts, Merchant)
    assert re.fullmatch(r"\d{10}", facts.mchid)
    assert re.fullmatch(r"wx[0-9a-f]{16}", facts.appid)
    assert re.fullmatch(r"[0-9A-F]{40}", facts.merchant_serial_no)
    assert re.fullmatch(r"[0-9A-F]{40}", facts.platform_serial_no)
    assert re.fullmatch(r"PUB_KEY_ID_\d{26,34}", facts.public_key_id)
    assert re.fullmatch(r"[0-9A-Za-z]{32}", facts.api_v3_key)
    assert b"BEGIN PRIVATE KEY" in facts.private_key_path.read_bytes()
    assert b"BEGIN PUBLIC KEY" in facts.public_key_path.read_bytes()
    certificate = x509.load_pem_x509_certificate(facts.merchant_cert_path.read_bytes())
    assert f"CN={facts.mchid}" in certificate.subject.rfc4514_string()
    assert f"{certificate.serial_number:X}" == facts.merchant_serial_no
    key = serialization.load_pem_private_key(facts.private_key_path.read_bytes(), None)
    assert key.public_key() == certificate.public_key()


def test_openssl_agrees_with_what_was_made(prepared):
    """The chain verifies and the serial is printed as WeChat writes it."""
    facts = prepare_directory(prepared)

    chain = subprocess.run(
        ["openssl", "verify", "-CAfile", "root_ca.pem", "apiclient_cert.pem", "platform_cert.pem"],
        cwd=prepared, capture_output=True, text=True)  # fmt: skip
    serial = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", "platform_cert.pem"],
        cwd=prepared, capture_output=True, text=True)  # fmt: skip

    assert chain.stdout.split() == ["apiclient_cert.pem:", "OK", "platform_cert.pem:", "OK"]
    assert serial.stdout.strip() == f"serial={facts.platform_serial_no}"


def test_files_can_be_read_by_their_owner_only(prepared):
    """0600 on every file, 0700 on the folders made."""
    modes = {stat.S_IMODE(path.stat().st_mode) for path in _contents(prepared)}

    assert modes == {0o600}
    assert stat.S_IMODE((prepared / "wechat").stat().st_mode) == 0o700


def test_configuration_is_ready_for_payd(prepared):
    """mode live, everything pointed at the simulator, relative paths, a fresh key."""
    facts, config = prepare_directory(prepared), json.loads((prepared / "config.json").read_bytes())
    pay = config["wechat_pay"]

    assert (config["mode"], config["server"]["port"], config["storage"]) == ("live", 8080, {"path": "payd.db"})
    assert (pay["app_id"], pay["mch_id"], pay["merchant_serial_no"]) == (
        facts.appid, facts.mchid, facts.merchant_serial_no)  # fmt: skip
    assert (pay["api_base"], pay["api_base_backup"]) == ("http://127.0.0.1:8081", None)
    assert pay["notify_url"] == "http://127.0.0.1:8080/pay/notify/wechat"
    assert (pay["public_key_id"], prepared / pay["public_key_path"]) == (facts.public_key_id, facts.public_key_path)
    assert (prepared / pay["private_key_path"]) == facts.private_key_path
    assert (prepared / pay["api_v3_key_path"]).read_text() == facts.api_v3_key
    assert len(config["pay"]["api_keys"]) == 1


def test_a_second_start_uses_it_again_and_changes_nothing(directory):
    """Byte for byte, even with another port."""
    before = _contents(directory)

    first = prepare_directory(directory)
    second = prepare_directory(directory, port=9999)

    assert (_contents(directory), first) == (before, second)


def test_an_existing_configuration_is_never_overwritten(tmp_path):
    """A folder with other files in it gets keys, and its own config.json stays."""
    (tmp_path / "config.json").write_text('{"mode": "sandbox"}')

    prepare_directory(tmp_path)

    assert (tmp_path / "config.json").read_text() == '{"mode": "sandbox"}'
    assert (tmp_path / "merchant.json").exists()


@pytest.mark.parametrize("name", ["apiclient_key.pem", "apiclient_cert.p12", "pub_key.pem", "server.key", "x.CRT"])
def test_a_directory_with_somebodys_keys_is_refused(tmp_path, name):
    """Without our marker they may be a real merchant's; nothing is written beside them."""
    (tmp_path / name).write_text("secret")

    with pytest.raises(DirectoryRefused, match=r"may be a real merchant's"):
        prepare_directory(tmp_path)

    assert os.listdir(tmp_path) == [name]


def _real_certificate(directory):
    """A certificate that openssl issued and not our root."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=1900000001",
         "-keyout", "apiclient_key.pem", "-out", "apiclient_cert.pem"],
        cwd=directory, check=True, capture_output=True)  # fmt: skip


@pytest.mark.parametrize("damage, words", [
    (_real_certificate, "throw-away root"),
    (lambda folder: (folder / "pub_key.pem").write_text("x") and (folder / "wechat/root_ca_key.pem").unlink(),
     "incomplete"),
    (lambda folder: (folder / "apiclient_key.pem").write_bytes((folder / "wechat/platform_key.pem").read_bytes()),
     "does not belong"),
    (lambda folder: (folder / "platform_cert.pem").write_text("nonsense"), "cannot be read"),
    (lambda folder: (folder / "merchant.json").write_text("{}"), "not written by the sandbox"),
])  # fmt: skip
def test_a_damaged_or_mixed_directory_is_refused(directory, damage, words):
    """Foreign certificates, missing files, keys that do not belong together, a marker that is not ours."""
    damage(directory)
    before = _contents(directory)

    with pytest.raises(DirectoryRefused, match=words):
        prepare_directory(directory)

    assert _contents(directory) == before


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", ""])
def test_only_loopback_hosts_are_served(prepared, host):
    """The simulator must not be reachable from another machine."""
    with pytest.raises(ListenRefused, match="loopback"):
        Sandbox(prepared, host=host, persist=False)


async def test_a_taken_port_is_a_clear_error(prepared, simulator):
    """And the simulator that has it goes on."""
    second = Sandbox(prepared, port=simulator.port, persist=False)

    with pytest.raises(ListenRefused, match=f"{simulator.port}"):
        await second.start()
