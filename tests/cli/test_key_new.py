"""payd key new: fresh keys, and the entries they need."""

from __future__ import annotations

import hashlib
import json

import pytest

from payd.checkup import secret_weakness
from payd.config import PayConfig, Secret
from payd.system import SystemClock
from payd.web.pay_auth_filter import PayAuthFilter


def test_a_fresh_key_opens_what_its_entry_says(payd):
    """The printed entry, put into the configuration, lets the printed key in, with its scopes and no others."""
    done = payd("key", "new", "--scopes", "order_query,refund", "--json")
    made = json.loads(done.stdout)

    pay = made["pay"]
    config = PayConfig(
        api_keys=[Secret(entry) for entry in pay["api_keys"]],
        api_key_scopes={name: tuple(scopes) for name, scopes in pay["api_key_scopes"].items()},
    )
    caller = PayAuthFilter(config, clock=SystemClock()).check({"X-Api-Key": made["key"]}, "127.0.0.1", "refund")
    assert caller.scopes == {"order_query", "refund"}
    assert made["hash_entry"] == f"sha256:{hashlib.sha256(made['key'].encode()).hexdigest()}"


@pytest.mark.parametrize("arguments", [
    ("--scopes", "order_query,refund"), ("--scopes", "order_query", "--scopes", "refund"),
    ("--scopes", "order_query", "refund"), ("--scopes", "order_query refund"),
], ids=" ".join)  # fmt: skip
def test_scopes_may_be_written_in_any_usual_way(payd, arguments):
    """With commas, repeated, or one after the other."""
    made = json.loads(payd("key", "new", *arguments, "--json").stdout)

    assert made["scopes"] == ["order_query", "refund"]


def test_without_json_key_and_hash_are_lines(payd):
    """For people: the key and its entry, each on a line, and no two keys are the same."""
    first, second = payd("key", "new").stdout, payd("key", "new").stdout

    key = first.splitlines()[0].split()[-1]
    assert key.startswith("payd_")
    assert f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" in first.splitlines()[1]
    assert key not in second


def test_a_scope_that_does_not_exist_is_a_usage_error(payd):
    """No key is made for a misspelt scope."""
    done = payd("key", "new", "--scopes", "order_qurey")

    assert done.exit_code == 2
    assert "order_qurey" in done.stderr
    assert "payd_" not in done.output


def test_a_webhook_secret_is_strong(payd):
    """--webhook makes a secret that payd check has nothing against."""
    secret = payd("key", "new", "--webhook").stdout.strip()

    assert secret.startswith("whsec_")
    assert secret_weakness(secret) is None
