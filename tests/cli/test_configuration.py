"""What a wrong configuration is told: the file, the key, what was given, what is allowed, what was probably meant."""

from __future__ import annotations

import json
import re

import pytest

from payd.config import NAME_CHARS_MAX, Config, ServerConfig, SettingsError, load_config


def _complaints(content, write_config, environ=None):
    """field -> issue of everything that is wrong with a configuration."""
    path = content if not isinstance(content, dict) else write_config({"mode": "sandbox"} | content)
    with pytest.raises(SettingsError) as refused:
        load_config(path, environ or {})
    assert refused.value.path == path
    fields = [complaint.field for complaint in refused.value.complaints]
    assert len(set(fields)) == len(fields)
    return {complaint.field: complaint.issue for complaint in refused.value.complaints}


@pytest.mark.parametrize("content, field, issue", [
    ({"server": {"prot": 1}}, "server.prot", "unknown key, did you mean 'server.port'?"),
    ({"Server": {"port": 1}}, "Server", "unknown key, did you mean 'server'?"),
    ({"pay": {"api-keys": []}}, "pay.api-keys", "unknown key, did you mean 'pay.api_keys'?"),
    ({"port": 1}, "port", "unknown key, did you mean 'server.port'?"),
    ({"server.port": 1}, "server.port", 'unknown key; write it as {"server": {"port": ...}}'),
    ({"log": {"zzz": 1}}, "log.zzz", "unknown key; known here: level, format"),
    ({"mode": "sandbx"}, "mode", "must be 'sandbox' or 'live', \"sandbx\" was given, did you mean 'sandbox'?"),
    ({"mode": None}, "mode", "must be 'sandbox' or 'live', null was given"),
    ({"server": {"port": "8080"}}, "server.port",
     'must be a whole number from 0 to 65535, "8080" was given: write it without the quotes'),
    ({"server": {"port": 70000}}, "server.port", "must be a whole number from 0 to 65535, 70000 was given"),
    ({"server": {"port": 80.5}}, "server.port", "must be a whole number from 0 to 65535, 80.5 was given"),
    ({"reconcile_interval_seconds": True}, "reconcile_interval_seconds",
     "must be a whole number from 1 to 3600, true was given"),
    ({"reconcile_enabled": "yes"}, "reconcile_enabled", 'must be true or false, "yes" was given'),
    ({"server": {"host": 5}}, "server.host", "must be a text in double quotes, 5 was given"),
    ({"storage": {"path": 5}}, "storage.path", "must be a path in double quotes, 5 was given"),
    ({"storage": "x.db"}, "storage", "must be an object {...}, a text was given"),
    ({"webhooks": {}}, "webhooks", "must be a list [...], an object was given"),
    ({"wechat_pay": {"mch_id": "12"}}, "wechat_pay.mch_id", 'must be 6 to 32 digits, "12" was given'),
    ({"wechat_pay": {"app_id": ""}}, "wechat_pay.app_id", 'must be 1 to 32 characters, "" was given'),
    ({"bills": {"fetch_at": "25:00"}}, "bills.fetch_at", 'must be a time of day such as 10:30, "25:00" was given'),
    ({"server": {"tls_cert_path": "a.pem"}}, "server.tls_key_path",
     "is required: tls_cert_path and tls_key_path go together"),
])  # fmt: skip
def test_a_complaint_says_what_is_allowed_what_was_given_and_what_was_meant(write_config, content, field, issue):
    """One mistake, one complaint, in words of a person and not of a library."""
    assert _complaints(content, write_config) == {field: issue}


def test_serve_names_the_file_and_everything_that_is_wrong(payd, write_config):
    """First the file, then one line a mistake; exit 78, and nothing is made in the folder."""
    config = write_config({"mode": "sandbx", "server": {"prot": 1, "port": "x"}, "log": {"level": "warn"}})

    done = payd("serve", "--config", config)

    assert done.exit_code == 78
    first, *rest = done.stderr.splitlines()
    assert first == f"payd: {config} cannot be used:"
    assert {line.split(": ")[1] for line in rest} == {"mode", "server.prot", "server.port", "log.level"}
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_what_no_single_key_shows_is_said_with_the_rest(write_config):
    """A misspelt key does not hide a short key, half a pair or a private address; and nothing is said twice."""
    hook = {"url": "http://10.0.0.1/", "secrets": ["short"], "events": ["order.payd"]}
    content = {
        "mode": "live", "servr": {}, "pay": {"api_keys": 5}, "server": {"host": "0.0.0.0"},
        "wechat_pay": {"api_v3_key": "short", "public_key_id": "PUB_KEY_ID_1", "private_key_path": 5},
        "webhooks": [hook],
    }  # fmt: skip

    assert set(_complaints(content, write_config)) == {
        "servr", "pay.api_keys", "wechat_pay.api_v3_key", "wechat_pay.public_key_path", "wechat_pay.private_key_path",
        "wechat_pay.app_id", "wechat_pay.mch_id", "wechat_pay.merchant_serial_no", "wechat_pay.notify_url",
        "webhooks.0.url", "webhooks.0.secrets.0", "webhooks.0.events.0",
    }  # fmt: skip


SECRET = "Zq7secretZq7secret"


@pytest.mark.parametrize("content", [
    {"wechat_pay": {"api_v3_key": SECRET}},
    {"wechat_pay": {"api_v3_key": [SECRET]}},
    {"wechat_pay": {"private_key_passphrase": {"is": SECRET}}},
    {"wechat_pay": {"private_key_path": f"-----BEGIN PRIVATE KEY-----\n{SECRET}"}},
    {"wechat_pay": {"api_v3_kye": SECRET}},
    {"wechat_pay": {"mch_id": (SECRET * 2)[:32]}},
    {"wechat_pay": {"api_base": f"https://me:{SECRET}@wechat.example"}},
    {"wechat_pay": SECRET},
    {"pay": {"api_keys": SECRET}},
    {"pay": {"api_keys": [f"{SECRET} with blanks"]}},
    {"pay": {"api_keys": [{"key": SECRET}]}},
    {"pay": {"api_key_scopes": {SECRET: ["order_qurey"]}}},
    {"pay": {"api_key_scopes": {SECRET: 5}}},
    {"pay": {"api_key_scopes": {"order_query": SECRET}}},
    {"pay": {"api_key_scopes": {"order_query": [SECRET]}}},
    {"pay": {"api_key_default_scopes": [SECRET]}},
    {"pay": {(SECRET * 2)[:NAME_CHARS_MAX]: ["order_query"]}},
    {"redis": f"redis://:{SECRET}@localhost"},
    {"redis": {"url": [SECRET]}},
    {"webhooks": [{"url": "https://a.example/", "secrets": [SECRET]}]},
    {"webhooks": [{"url": "https://a.example/", "secrets": SECRET}]},
    {"webhooks": [{"url": f"whsec_{SECRET}", "secrets": []}]},
    {"webhooks": [{"url": f"https://me:{SECRET}@a.example/", "secrets": []}]},
    {"webhooks": [{"url": f"http://a.example/?token={SECRET}", "secrets": []}]},
    {"webhooks": [{"url": f"ftp://a.example/?token={SECRET}", "secrets": []}]},
    {"webhooks": [SECRET]},
    {"webhooks": SECRET},
], ids=json.dumps)  # fmt: skip
def test_no_complaint_repeats_a_secret(payd, write_config, content):
    """Wherever a secret was put by mistake: its key is named, it is not."""
    config = write_config({"mode": "sandbox"} | content)

    said = [payd(command, "--config", config) for command in ("serve", "check")]

    for done in said:
        assert done.exit_code == 78
        assert SECRET not in done.output
        assert "Traceback" not in done.output


def test_what_is_given_is_cut_and_cannot_play_tricks(payd, write_config):
    """A long value is cut, control characters become blanks."""
    done = payd("serve", "--config", write_config({"mode": "\x1b[31m\x9b\u202e" + "no" * 500, "\x1b[2Jx": 1}))

    assert done.exit_code == 78
    assert re.search("[\x00-\x09\x0b-\x1f\x80-\x9f\u202e]", done.stderr) is None
    assert max(map(len, done.stderr.splitlines())) < 300


def test_a_value_from_the_environment_names_its_variable(write_config):
    """Who looks for it in the file would not find it there; secrets are not repeated here either."""
    environ = {
        "PAYD_SERVER__PORT": "abc", "PAYD_LOG": "x", "PAYD_WECHAT_PAY__API_V3_KEY": SECRET,
        "PAY_API_KEYS": f"{SECRET} x", "PAYD_SERVER__PROT": "1",
    }  # fmt: skip

    found = _complaints({"pay": {"api_keys": ["good-enough"]}, "bills": {"fetch_at": "x"}}, write_config, environ)

    sources = {field: re.findall(r"\(from (\w+)\)", issue) for field, issue in found.items()}
    assert sources == {
        "PAYD_SERVER__PROT": [], "server.port": ["PAYD_SERVER__PORT"], "log": ["PAYD_LOG"],
        "wechat_pay.api_v3_key": ["PAYD_WECHAT_PAY__API_V3_KEY"], "pay.api_keys.1": ["PAY_API_KEYS"],
        "bills.fetch_at": [],
    }  # fmt: skip
    assert "did you mean PAYD_SERVER__PORT?" in found["PAYD_SERVER__PROT"]
    assert SECRET not in str(found)


HASHED = f"sha256:{'a' * 64}"
TWICE = "is set more than once in one object; keep one of them"


@pytest.mark.parametrize("text, fields", [
    ('{"mode": "sandbox", "mode": "live"}', {"mode"}),
    ('{"mode": "sandbox", "m\\u006fde": "sandbox", "mode": "sandbox"}', {"mode"}),
    ('{"mode": "sandbox", "server": {"port": 1, "port": 2, "host": "::1"}}', {"server.port"}),
    ('{"mode": "sandbox", "server": {"port": 1}, "log": {}, "server": {"port": 2}}', {"server"}),
    ('{"mode": "sandbox", "server": {"port": 1, "port": 1}, "server": {"port": 1, "port": 1}}',
     {"server", "server.port"}),
    ('{"mode": "sandbox", "webhooks": [{"url": "https://a.example/", "url": "https://b.example/", "secrets": '
     '["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]}]}', {"webhooks.0.url"}),
    (f'{{"mode": "sandbox", "pay": {{"api_key_scopes": {{"{HASHED}": [], "{HASHED}": ["refund"]}}}}}}',
     {f"pay.api_key_scopes.{HASHED}"}),
    ('{"mode": "sandbox", "pay": {"api_key_scopes": {"a key": [], "a key": ["refund"]}}}',
     {"pay.api_key_scopes.********"}),
])  # fmt: skip
def test_a_key_that_is_set_twice_is_named(tmp_path, text, fields):
    """Readers of JSON disagree on which of the two counts, so neither does; a name that is a secret is masked."""
    path = tmp_path / "config.json"
    path.write_text(text)

    found = _complaints(path, None)

    twice = {field for field, issue in found.items() if issue == TWICE}
    assert twice == fields
    assert all(field.startswith("wechat_pay.") for field in found.keys() - fields)  # what mode live needs


def test_a_key_that_is_set_twice_does_not_hide_what_else_is_wrong(payd, tmp_path):
    """Everything at once, exit 78, and nothing is made in the folder."""
    config = tmp_path / "config.json"
    config.write_text('{"mode": "sandbox", "mode": "sandbox", "servr": 1, "log": {"level": "info", "level": "loud"}}')

    said = [payd(command, "--config", config) for command in ("serve", "check")]

    for done in said:
        assert done.exit_code == 78
        assert all(word in done.output for word in ("mode", "servr", "log.level", "keep one of them", "loud"))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_variable_that_sets_a_key_twice_is_named(write_config):
    """A whole section may come from the environment; its repeats are repeats too. The file's are not blamed on it."""
    environ = {"PAYD_SERVER": '{"port": 1, "port": 2}', "PAYD_BILLS__ENABLED": "false"}
    path = write_config({})
    path.write_text('{"mode": "sandbox", "bills": {"enabled": true, "enabled": false}}')

    found = _complaints(path, write_config, environ)

    cause, cure = TWICE.split("; ")
    assert found == {"server.port": f"{cause} (from PAYD_SERVER); {cure}", "bills.enabled": TWICE}


@pytest.mark.parametrize("text", ['{"mode": "sandbox", "zz": %s}', '{"mode": "sandbox", "server": {"port": %s}}'])
def test_a_text_too_deep_to_look_for_repeats_is_still_only_wrong(tmp_path, text):
    """A thousand levels are no configuration: a complaint, not a traceback."""
    path = tmp_path / "config.json"
    path.write_text(text % ('{"a":' * 1_000 + "1" + "}" * 1_000))

    assert len(_complaints(path, None)) == 1


@pytest.mark.parametrize("mode", ["sandbox", "live"])
def test_the_apiv3_key_has_one_home(live_config, write_config, mode):
    """With both set one of them would silently not count: one must go, and which is the merchant's to say."""
    live_config["mode"] = mode
    live_config["wechat_pay"]["api_v3_key"] = "k" * 32

    found = _complaints(live_config, write_config)

    assert found == {"wechat_pay.api_v3_key_path": "must not be set together with api_v3_key; keep one of them"}


def test_of_two_homes_the_one_in_the_environment_is_named(live_config, write_config):
    """Who looks into the file would not find it; null in the environment takes the file's away."""
    environ = {"PAYD_WECHAT_PAY__API_V3_KEY": "k" * 32}
    path = write_config(live_config)

    found = _complaints(path, None, environ)
    mended = load_config(path, environ | {"PAYD_WECHAT_PAY__API_V3_KEY_PATH": "null"})

    issue = "must not be set together with api_v3_key_path (from PAYD_WECHAT_PAY__API_V3_KEY); keep one of them"
    assert found == {"wechat_pay.api_v3_key": issue}
    assert mended.wechat_pay.api_v3_key_path is None


def test_the_environment_does_not_hide_a_section_that_is_no_object(write_config):
    """The file's mistake is said, not silently replaced."""
    found = _complaints({"server": "0.0.0.0:80"}, write_config, {"PAYD_SERVER__PORT": "9000"})

    assert set(found) == {"server"}


@pytest.mark.parametrize("text", ["", "{", "{'mode': 1}", '{"mode": "sandbox",}', "[]"])
def test_a_file_that_is_no_configuration_says_how_to_write_one(payd, tmp_path, text):
    """The file, the place in it, and what people trip over; exit 78."""
    config = tmp_path / "config.json"
    config.write_text(text)

    done = payd("serve", "--config", config)

    assert done.exit_code == 78
    (line,) = done.stderr.splitlines()
    assert str(config) in line
    assert "one JSON object" in line if text == "[]" else "double quotes" in line


def test_a_missing_file_says_how_to_name_one(payd, tmp_path):
    """Nobody guesses --config."""
    done = payd("serve", "--config", tmp_path / "nowhere.json")

    assert done.exit_code == 78
    assert "nowhere.json: No such file or directory; name the file with --config" in done.stderr


def test_no_setting_is_so_long_that_it_would_be_masked():
    """A name of that length is taken for a key in a wrong place."""
    names = [
        name
        for field, info in Config.model_fields.items()
        for name in (field, *getattr(info.annotation, "model_fields", ()))
    ]

    assert max(map(len, names)) < NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("host", "shown", "own"),
    [
        ("127.0.0.1", "http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("::", "http://[::]:80", "http://[::1]:80"),
        ("::1", "http://[::1]:80", "http://[::1]:80"),
        ("pay.example", "http://pay.example:80", "http://pay.example:80"),
    ],
)
def test_payds_own_address_is_one_that_this_machine_reaches(host, shown, own):
    """Where it listens is told as it is configured, IPv6 in brackets; callbacks of a simulator come to the other."""
    server = ServerConfig(host=host, port=80)

    assert (server.url_at(host), server.own_url()) == (shown, own)
    assert server.own_url(81) == own.removesuffix("80") + "81"
