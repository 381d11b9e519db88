"""Keys at start: every mix-up that the field knows is found, all at once, with its cure."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from payd.config import load_config
from payd.errors import ConfigError, KeyMaterialError
from payd.wechat import ClientSettings, inspect_keys
from payd.wechat.keyring import PlatformKey, TrustStore, load_keyring

NOW = datetime(2026, 11, 24, 4, 0, 0, tzinfo=UTC)


def complaints_of(settings):
    """The complaints as {field: issue}; there is no keyring beside a complaint."""
    keyring, complaints = inspect_keys(settings, now=NOW)
    assert (keyring is None) == bool(complaints)
    return {complaint.field.removeprefix("wechat_pay."): complaint.issue for complaint in complaints}


def test_good_files_make_a_keyring(public_key_settings, keys):
    """The merchant's serial comes from its certificate; the public key stands under its id."""
    keyring = load_keyring(public_key_settings, now=NOW)

    assert keys.merchant_serial == keyring.merchant.serial
    assert public_key_settings.public_key_id == keyring.trust.request_serial(NOW)
    assert not public_key_settings.certificate_mode


@pytest.mark.parametrize("spelled", ["{}", "serial={}", " {} "])
def test_a_configured_serial_is_normalised(spelled, public_key_settings, keys):
    """Lower case, colons and openssl's prefix are accepted; upper-case hex is sent."""
    serial = ":".join(f"{keys.merchant_serial.lower()[n : n + 2]}" for n in range(0, 40, 2))

    keyring = load_keyring(replace(public_key_settings, merchant_serial_no=spelled.format(serial)), now=NOW)

    assert keys.merchant_serial == keyring.merchant.serial


def test_a_key_file_that_others_can_open_is_refused(public_key_settings, key_dir):
    """The message says chmod 600."""
    (key_dir / "apiclient_key.pem").chmod(0o640)

    assert "chmod 600" in complaints_of(public_key_settings)["private_key_path"]


def test_missing_files_are_all_named_at_once(public_key_settings, tmp_path):
    """Nobody mends one path to be told of the next."""
    nowhere = tmp_path / "nowhere.pem"
    settings = replace(
        public_key_settings,
        private_key_path=nowhere,
        merchant_cert_path=nowhere,
        public_key_path=nowhere,
        api_v3_key=b"short",
    )

    found = complaints_of(settings)

    assert {"api_v3_key", "private_key_path", "merchant_cert_path", "public_key_path"} == set(found)
    with pytest.raises(
        KeyMaterialError, match=r"(?s)api_v3_key.*private_key_path.*merchant_cert_path.*public_key_path"
    ):
        load_keyring(settings, now=NOW)


MIXED = [
    ("private_key_path", "apiclient_cert.pem", "holds a certificate; here belongs the merchant's apiclient_key.pem"),
    ("private_key_path", "pub_key.pem", "holds a public key"),
    ("merchant_cert_path", "apiclient_key.pem", "holds a private key; here belongs the merchant's apiclient_cert.pem"),
    ("merchant_cert_path", "platform_cert.pem", "is WeChat's platform certificate"),
    ("public_key_path", "platform_cert.pem", "holds a certificate; here belongs the pub_key.pem of WeChat Pay"),
    ("public_key_path", "apiclient_key.pem", "holds a private key"),
    ("public_key_path", "own_public.pem", "is your own public key"),
    ("platform_cert_path", "apiclient_cert.pem", "is your own merchant certificate"),
    ("platform_cert_path", "pub_key.pem", "holds a public key"),
    ("platform_cert_path", "apiclient_key.pem", "holds a private key"),
    ("private_key_path", "nothing.pem", "holds no PEM text"),
]


@pytest.mark.parametrize(("member", "name", "says"), MIXED, ids=[f"{m}={n}" for m, n, _ in MIXED])
def test_a_file_in_the_wrong_place_is_named(member, name, says, public_key_settings, key_dir, keys, write_pem):
    """The message says what the file holds and what belongs there."""
    write_pem(key_dir / "own_public.pem", keys.merchant.public_key())
    (key_dir / "nothing.pem").write_text("not a key")
    for path in key_dir.iterdir():
        path.chmod(0o600)

    found = complaints_of(replace(public_key_settings, **{member: key_dir / name}))

    assert says in found[member]


def test_platform_serial_as_merchant_serial_is_the_commonest_mistake(public_key_settings, key_dir, keys):
    """Both forms of it are recognised and the cure is one command."""
    by_file = replace(
        public_key_settings,
        merchant_cert_path=None,
        merchant_serial_no=keys.platform_serial,
        platform_cert_path=key_dir / "platform_cert.pem",
    )
    by_setting = replace(by_file, platform_cert_path=None, platform_serial_no=keys.platform_serial.lower())
    by_id = replace(by_file, merchant_serial_no=public_key_settings.public_key_id)

    for settings in (by_file, by_setting, by_id):
        issue = complaints_of(settings)["merchant_serial_no"]
        assert "openssl x509 -in apiclient_cert.pem -noout -serial" in issue
        assert "platform" in issue or "public key id" in issue


@pytest.mark.parametrize("serial", ["1234", str(0x1A << 152), "not hex at all", ""])
def test_a_serial_that_is_no_hex_is_refused(serial, public_key_settings):
    """What many X.509 libraries print is decimal, and wrong here."""
    settings = replace(public_key_settings, merchant_cert_path=None, merchant_serial_no=serial)

    assert "hex" in complaints_of(settings)["merchant_serial_no"]


def test_settings_that_contradict_each_other_are_named(public_key_settings, key_dir, keys, make_cert, write_pem):
    """Serial against certificate, certificate against key, certificate against mchid, id against prefix."""
    other = rsa.generate_private_key(65537, 2048)
    foreign = write_pem(key_dir / "foreign.pem", make_cert(other, "1900000109", 0x4D << 152))
    stranger = write_pem(
        key_dir / "stranger.pem", make_cert(keys.merchant, "1900000999", 0x5E << 152, organization="X")
    )
    old = write_pem(
        key_dir / "old.pem", make_cert(keys.merchant, "1900000109", 0x6F << 152, start=NOW - timedelta(days=900))
    )

    def issue(member, **changes):
        return complaints_of(replace(public_key_settings, **changes))[member]

    assert "is not the serial of merchant_cert_path" in issue("merchant_serial_no", merchant_serial_no="AB" * 20)
    assert "does not belong to private_key_path" in issue("merchant_cert_path", merchant_cert_path=foreign)
    assert "issued to 1900000999" in issue("merchant_cert_path", merchant_cert_path=stranger)
    assert "is valid from" in issue("merchant_cert_path", merchant_cert_path=old)
    assert "PUB_KEY_ID_" in issue("public_key_id", public_key_id="0119000001")
    assert "go together" in issue("public_key_id", public_key_path=None)
    assert "belongs in wechat_pay.public_key_id" in issue("serial_no", platform_serial_no="PUB_KEY_ID_1")
    assert keys.platform_serial in issue(
        "serial_no", platform_serial_no="CD" * 20, platform_cert_path=key_dir / "platform_cert.pem"
    )
    assert "is required" in issue("merchant_serial_no", merchant_cert_path=None)


def test_only_rsa_2048_is_a_merchant_key(public_key_settings, key_dir, write_pem):
    """WeChat issues nothing else."""
    odd = key_dir / "odd.pem"
    curve = ec.generate_private_key(ec.SECP256R1())
    odd.write_bytes(
        curve.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    odd.chmod(0o600)

    assert "2048" in complaints_of(replace(public_key_settings, private_key_path=odd))["private_key_path"]
    write_pem(odd, rsa.generate_private_key(65537, 3072))
    assert "2048" in complaints_of(replace(public_key_settings, private_key_path=odd))["private_key_path"]


def test_a_passphrase_is_asked_for_and_checked(public_key_settings, key_dir, keys):
    """Protected keys work; without or with the wrong passphrase the message says so."""
    protected = key_dir / "protected.pem"
    protected.write_bytes(
        keys.merchant.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    protected.chmod(0o600)
    settings = replace(public_key_settings, private_key_path=protected)

    assert "private_key_passphrase" in complaints_of(settings)["private_key_path"]
    wrong = replace(settings, private_key_passphrase="wrong")
    assert "is the passphrase right" in complaints_of(wrong)["private_key_path"]
    assert complaints_of(replace(settings, private_key_passphrase="open sesame")) == {}


def test_settings_never_show_secrets(public_key_settings):
    """The APIv3 key and the passphrase are not in the repr."""
    shown = repr(replace(public_key_settings, private_key_passphrase="open sesame"))

    assert "open sesame" not in shown
    assert public_key_settings.api_v3_key.decode() not in shown


def test_trust_store_finds_keys_by_any_spelling_of_a_certificate_serial(keys):
    """Certificate serials compare as numbers, public key ids exactly."""
    key = PlatformKey("0A0B", keys.platform.public_key(), NOW, NOW)
    public = PlatformKey("PUB_KEY_ID_0A", keys.public.public_key())
    trust = TrustStore([key, public], configured_serial=None)

    assert [key] * 4 == [trust.lookup(serial) for serial in ("0A0B", "0a0b", "A0B", "00A0B")]
    assert public is trust.lookup("PUB_KEY_ID_0A")
    assert trust.lookup("pub_key_id_0a") is None
    assert trust.lookup("") is None


def test_the_public_key_is_preferred_then_the_newest_certificate_in_force(keys):
    """Not yet valid and expired certificates are trusted for looking up but never named."""
    day = timedelta(days=1)

    def certificate(name, start, end):
        return PlatformKey(name, keys.platform.public_key(), NOW + start * day, NOW + end * day)

    old, new = certificate("AA", -300, 60), certificate("BB", -10, 300)
    future, gone = certificate("CC", 1, 400), certificate("DD", -5, -1)
    public = PlatformKey("PUB_KEY_ID_1", keys.public.public_key())

    assert new is TrustStore([old, new, future, gone], configured_serial="EE").preferred(NOW)
    assert public is TrustStore([old, new, public], configured_serial=None).preferred(NOW)
    assert TrustStore([future, gone], configured_serial="EE").preferred(NOW) is None
    assert TrustStore([], configured_serial="EE").request_serial(NOW) == "EE"
    assert (NOW + 400 * day) == TrustStore([old, new, future], configured_serial=None).status().not_after
    assert not TrustStore([], configured_serial=None).status().loaded


def config_of(tmp_path, **wechat_pay):
    """A live configuration file, loaded."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mode": "live", "pay": {"api_keys": ["k"]}, "wechat_pay": wechat_pay}))
    return load_config(path, {})


def test_settings_come_from_the_configuration(tmp_path):
    """Every key finds its place; serial_no is the PLATFORM serial; the APIv3 key's file loses its line feed."""
    (tmp_path / "v3.txt").write_bytes(b"0123456789abcdefghijklmnopqrstuv\n")
    (tmp_path / "v3.txt").chmod(0o600)
    config = config_of(
        tmp_path,
        app_id="wx1",
        mch_id="1900000109",
        merchant_serial_no="AB" * 20,
        private_key_path="key.pem",
        private_key_passphrase="p",
        api_v3_key_path="v3.txt",
        serial_no="CD" * 20,
        platform_cert_path="platform.pem",
        public_key_id="PUB_KEY_ID_1",
        public_key_path="pub.pem",
        notify_url="https://example.com/n",
        api_base_backup=None,
        timeout_ms=1234,
        cert_refresh_interval_seconds=77,
    )

    settings = ClientSettings.from_config(config)

    assert (
        ClientSettings(
            mchid="1900000109",
            appid="wx1",
            private_key_path=tmp_path / "key.pem",
            api_v3_key=b"0123456789abcdefghijklmnopqrstuv",
            notify_url="https://example.com/n",
            merchant_serial_no="AB" * 20,
            private_key_passphrase="p",
            platform_serial_no="CD" * 20,
            platform_cert_path=tmp_path / "platform.pem",
            public_key_id="PUB_KEY_ID_1",
            public_key_path=tmp_path / "pub.pem",
            cert_refresh_interval_seconds=77,
            api_base_backup=None,
            timeout_ms=1234,
            key_cache_dir=tmp_path / "platform-certificates",
        )
        == settings
    )


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [(b"short", 0o600, "exactly 32 bytes"), (b"0" * 32, 0o644, "chmod 600"), (None, 0, "cannot read")],
)
def test_a_bad_api_v3_key_file_is_a_configuration_error(content, mode, says, tmp_path):
    """Length, mode and absence are said with the path of the key."""
    path = Path(tmp_path / "v3.txt")
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    config = config_of(
        tmp_path,
        app_id="wx1",
        mch_id="1900000109",
        merchant_serial_no="AB" * 20,
        private_key_path="key.pem",
        api_v3_key_path="v3.txt",
        notify_url="https://example.com/n",
    )

    with pytest.raises(ConfigError) as caught:
        ClientSettings.from_config(config)

    (complaint,) = caught.value.complaints
    assert complaint.field == "wechat_pay.api_v3_key_path"
    assert says in complaint.issue
    assert "short" not in complaint.issue
