"""PayAuthFilter: who may come in, what each refusal is called and counted as, and that nobody is shut out (1.8)."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from payd import limits
from payd.config import SCOPES, PayConfig
from payd.errors import RequestError
from payd.web.api_keys import is_damaged, new_key
from payd.web.pay_auth_filter import REASONS, PayAuthFilter
from payd.web.routes import ANY_KEY, PUBLIC
from payd.web.throttles import FailureWindows, address_block

HERE = "127.0.0.1"
START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    seconds: float = 1000.0

    def now(self):
        return START + timedelta(seconds=self.seconds - 1000.0)

    def monotonic(self):
        return self.seconds


@dataclass
class CountingEntropy:
    """Draws 1, 2, 3, ... so that every draw is another."""

    draws: itertools.count = field(default_factory=lambda: itertools.count(1))

    def token_hex(self, byte_count):
        return f"{next(self.draws):0{2 * byte_count}x}"

    def uniform(self, low, high):
        return low


def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def pay(*keys, scopes=None, default=SCOPES):
    return PayConfig.model_validate(
        {"api_keys": list(keys), "api_key_scopes": scopes or {}, "api_key_default_scopes": list(default)}, strict=False
    )


class Door:
    """A filter with everything it told outside."""

    def __init__(self, *keys, failures_per_minute=300, requests_per_second=500, **more):
        self.clock = HandClock()
        self.refusals = []
        self.filter = PayAuthFilter(
            pay(*keys, **more),
            clock=self.clock,
            on_refusal=self.refusals.append,
            failures_per_minute=failures_per_minute,
            requests_per_second=requests_per_second,
        )

    def enter(self, headers=None, scope="order_query", address=HERE):
        return self.filter.check(HTTPHeaders(headers or {}), address, scope)

    def refusal(self, headers=None, scope="order_query", address=HERE):
        """Knock, be refused, and hold the counters to the callback."""
        with pytest.raises(RequestError) as caught:
            self.enter(headers, scope, address)
        counted = {reason: self.refusals.count(reason) for reason in REASONS}
        assert counted == self.filter.counters
        return caught.value


def key_header(key):
    return {"X-Api-Key": key}


# -- who comes in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": "k1"},
        {"x-api-key": "k1"},
        {"X-Api-Key": " k1 "},
        {"Authorization": "Bearer k1"},
        {"authorization": "bearer k1"},
        {"Authorization": "BEARER   k1"},
        {"X-Api-Key": "k1", "Authorization": "Bearer k1"},
        {"X-Api-Key": "k1", "Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
@pytest.mark.parametrize("entry", ["k1", hashed("k1")])
def test_a_key_comes_in_by_either_header(headers, entry):
    """X-Api-Key or Bearer, the entry plain or hashed; the caller is named by the hash's first eight digits."""
    door = Door("other", entry)

    caller = door.enter(headers)

    assert caller.key_id == hashed("k1")[7:15]
    assert caller.scopes == set(SCOPES)
    assert door.refusals == []


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": ""}, {"X-Api-Key": "  "}, {"Authorization": "Basic a1"},
                                     {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": ""},
                                     {"Authorization": "k1"}, {"X-Api-Keys": "k1"}])  # fmt: skip
def test_no_key_is_missing(headers):
    """Nothing that could be a key was sent: 401 missing_api_key."""
    door = Door("k1")

    assert door.refusal(headers).code == "missing_api_key"
    assert door.refusals == ["missing_key"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": "k2"},
        {"X-Api-Key": "k"},
        {"X-Api-Key": "k11"},
        {"X-Api-Key": "K1"},
        {"X-Api-Key": "k1,k1"},
        {"X-Api-Key": hashed("k1")},
        {"X-Api-Key": hashed("k1")[7:]},
        {"Authorization": "Bearer k2"},
        {"Authorization": "Bearer k1 k1"},
        {"X-Api-Key": "k1", "Authorization": "Bearer k2"},
        {"X-Api-Key": "k2", "Authorization": "Bearer k1"},
        {"X-Api-Key": "\u00ff\u00e9"},
        {"X-Api-Key": "x" * 10_000},
    ],
)
@pytest.mark.parametrize("entry", ["k1", hashed("k1")])
def test_a_foreign_key_is_invalid(headers, entry):
    """A hash is no key, two keys that differ are none, and case counts: 401 invalid_api_key."""
    door = Door(entry)

    assert door.refusal(headers).code == "invalid_api_key"
    assert door.refusals == ["invalid_key"]
    assert door.filter.last_used() == {hashed("k1")[7:15]: None}


def test_two_key_lines_are_one_invalid_key():
    """Which of two header lines counts is nobody's guess."""
    door = Door("k1")
    headers = HTTPHeaders()
    headers.add("X-Api-Key", "k1")
    headers.add("X-Api-Key", "k1")

    with pytest.raises(RequestError) as caught:
        door.filter.check(headers, HERE, "refund")

    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "k1"}])
def test_without_any_configured_key_nobody_comes_in(headers):
    """503 comes before every other refusal, also beyond the bound on failures."""
    door = Door(failures_per_minute=1)

    assert [door.refusal(headers).code for _ in range(3)] == ["api_key_not_configured"] * 3
    assert door.refusals == ["not_configured"] * 3


def test_a_mapping_alone_is_no_key():
    """Scopes are given to keys of api_keys; a key that stands only in the mapping opens nothing."""
    assert Door(scopes={"k1": ["refund"]}).refusal(key_header("k1")).code == "api_key_not_configured"
    assert Door("k2", scopes={"k1": ["refund"]}).refusal(key_header("k1")).code == "invalid_api_key"


# -- scopes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["k1", hashed("k1")])
@pytest.mark.parametrize("mapped", ["k1", hashed("k1")])
def test_scopes_are_found_however_key_and_mapping_are_written(entry, mapped):
    """Plain or hashed on either side: the mapping belongs to the key."""
    door = Door(entry, "k2", scopes={mapped: ["refund", "refund_query"]})

    assert door.enter(key_header("k1"), "refund").scopes == {"refund", "refund_query"}
    assert door.enter(key_header("k2"), "order_create").scopes == set(SCOPES)
    refusal = door.refusal(key_header("k1"), "order_query")
    assert refusal.code == "scope_denied"
    assert refusal.params == {"key_id": hashed("k1")[7:15], "scope": "order_query"}
    assert door.refusals == ["scope_denied"]


def test_default_scopes_are_for_keys_without_a_mapping():
    """An empty mapping gives nothing, no mapping gives the default."""
    door = Door("k1", "k2", scopes={"k1": []}, default=["order_query"])

    assert door.enter(key_header("k2")).scopes == {"order_query"}
    assert door.refusal(key_header("k1")).code == "scope_denied"
    assert door.refusal(key_header("k2"), "refund").code == "scope_denied"


def test_any_key_opens_what_needs_no_scope():
    """The auth metrics take every valid key, even one without a scope, and no other."""
    door = Door("k1", scopes={"k1": []})

    assert door.enter(key_header("k1"), ANY_KEY).scopes == set()
    assert door.refusal({}, ANY_KEY).code == "missing_api_key"


@pytest.mark.parametrize("scope", ["order_qurey", "", PUBLIC])
def test_a_scope_the_table_does_not_know_is_a_mistake(scope):
    """A public route never asks; a misspelt scope opens nothing."""
    with pytest.raises(AssertionError):
        Door("k1").enter(key_header("k1"), scope)


# -- bounds -------------------------------------------------------------------------------------------------------


def test_a_key_has_so_many_requests_a_second():
    """A full second's worth at once, then 429 with Retry-After; tokens come back with time; keys do not share."""
    door = Door("k1", "k2", requests_per_second=5)

    for _ in range(5):
        door.enter(key_header("k1"))
    refusal = door.refusal(key_header("k1"))

    assert (refusal.code, refusal.retry_after, refusal.params) == ("rate_limited", 1, {"seconds": 1})
    assert door.refusals == []
    assert door.enter(key_header("k2"))
    door.clock.seconds += 0.2
    assert door.enter(key_header("k1"))
    assert door.refusal(key_header("k1")).code == "rate_limited"
    door.clock.seconds += 3600
    for _ in range(5):
        door.enter(key_header("k1"))
    assert door.refusal(key_header("k1")).code == "rate_limited"


def test_the_contracts_bounds_are_the_default():
    """500 requests of a key in one second pass, the next does not; 300 failures are named, the next is held off."""
    clock = HandClock()
    filter_ = PayAuthFilter(pay("k1"), clock=clock)

    for _ in range(500):
        filter_.check(HTTPHeaders(key_header("k1")), HERE, "refund")
    with pytest.raises(RequestError) as caught:
        filter_.check(HTTPHeaders(key_header("k1")), HERE, "refund")
    assert caught.value.code == "rate_limited"
    codes = []
    for _ in range(301):
        with pytest.raises(RequestError) as caught:
            filter_.check(HTTPHeaders(), HERE, "refund")
        codes.append(caught.value.code)
    assert codes == ["missing_api_key"] * 300 + ["rate_limited"]


def test_failures_of_an_address_are_bounded_a_minute():
    """Missing and invalid keys count together; beyond the bound 429 until the minute is over, still counted."""
    door = Door("k1", failures_per_minute=3)
    answers = [door.refusal(headers).code for headers in ({}, key_header("x"), {}, key_header("y"), {})]

    assert answers == ["missing_api_key", "invalid_api_key", "missing_api_key", "rate_limited", "rate_limited"]
    assert door.filter.counters == {"missing_key": 3, "invalid_key": 2, "scope_denied": 0, "not_configured": 0}
    door.clock.seconds += 59.5
    assert door.refusal({}).retry_after == 1
    door.clock.seconds += 0.5
    assert door.refusal({}).code == "missing_api_key"


def test_a_valid_key_passes_while_its_address_is_flooded():
    """Behind a proxy all callers share an address: a stranger's guesses do not lock the merchant out."""
    door = Door("k1", failures_per_minute=2)
    for _ in range(50):
        door.refusal(key_header("guess"))

    assert door.enter(key_header("k1"))
    assert door.refusal(key_header("guess")).code == "rate_limited"
    assert door.refusal(key_header("guess"), address="10.0.0.9").code == "invalid_api_key"


def test_denied_scopes_are_no_failed_authentication():
    """A valid key without the scope is told so, however often it asks."""
    door = Door("k1", scopes={"k1": []}, failures_per_minute=1)

    assert {door.refusal(key_header("k1")).code for _ in range(5)} == {"scope_denied"}


def test_a_flood_of_addresses_is_forgotten():
    """Memory is bounded: the oldest address goes when there are too many, all go when their minute is over."""
    clock = HandClock()
    windows = FailureWindows(clock, per_minute=1, addresses_max=3)
    windows.fail("10.0.0.1")

    assert windows.fail("10.0.0.1") == 60
    for last in range(2, 200):
        assert windows.fail(f"10.0.0.{last}") is None
        assert len(windows) <= 3
    assert windows.fail("10.0.0.1") is None
    clock.seconds += 61
    windows.fail("10.1.1.1")
    assert len(windows) == 1


@pytest.mark.parametrize(
    "address, block",
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_an_ipv6_subscriber_is_one_address(address, block):
    """Whoever owns a /64 does not get 2^64 times as many tries."""
    assert address_block(address) == block


# -- a new configuration ------------------------------------------------------------------------------------------


def test_a_new_configuration_replaces_the_keys():
    """Old keys stop at once, new ones work at once; counters, bounds and last uses of what stays are kept."""
    door = Door("old", "stays", requests_per_second=2)
    door.refusal({})
    door.enter(key_header("stays"))
    door.enter(key_header("stays"))

    door.filter.reload(pay("new", hashed("stays")))

    assert door.refusal(key_header("old")).code == "invalid_api_key"
    assert door.enter(key_header("new"))
    assert door.refusal(key_header("stays")).code == "rate_limited"
    assert door.filter.counters["missing_key"] == 1
    assert door.filter.last_used() == {hashed("new")[7:15]: START, hashed("stays")[7:15]: START}
    door.filter.reload(pay())
    assert door.refusal(key_header("new")).code == "api_key_not_configured"


def test_the_last_use_is_the_last_right_key():
    """Last use moves with the wall clock, by key id; a refused scope is a use, a limited request is none."""
    door = Door("k1", scopes={"k1": ["refund"]}, requests_per_second=2)
    key_id = hashed("k1")[7:15]
    assert door.filter.last_used() == {key_id: None}

    door.enter(key_header("k1"), "refund")
    door.clock.seconds += 0.1
    door.refusal(key_header("k1"), "order_query")
    used = door.filter.last_used()
    door.clock.seconds += 0.1
    assert door.refusal(key_header("k1"), "refund").code == "rate_limited"

    assert used == door.filter.last_used() == {key_id: START + timedelta(seconds=0.1)}


# -- fresh keys ---------------------------------------------------------------------------------------------------


def test_a_new_key_opens_what_its_entry_configures():
    """The printed entry and the printed key belong together, and two keys never are the same."""
    entropy = CountingEntropy()
    first, second = new_key(["refund"], entropy=entropy), new_key(entropy=entropy)

    door = Door(first.hash_entry, scopes={first.hash_entry: list(first.scopes)})

    assert door.enter(key_header(first.key), "refund").scopes == {"refund"}
    assert door.refusal(key_header(second.key), "refund").code == "invalid_api_key"
    assert first.key != second.key
    assert (second.scopes, second.hash_entry) == ((), hashed(second.key))
    assert first.key not in repr(first)
    with pytest.raises(ValueError, match="refunds"):
        new_key(["refunds"], entropy=entropy)


@given(st.data())
def test_a_mistyped_key_is_told_from_a_foreign_one(data):
    """Changing, cutting or lengthening a key of payd is seen by its checksum; other keys are never called damaged."""
    key = new_key(entropy=CountingEntropy(itertools.count(data.draw(st.integers(0, 2**31))))).key
    place = data.draw(st.integers(len("payd_"), len(key) - 1))
    letter = data.draw(st.sampled_from("0123456789abcdefgZ_"))
    mistyped = key[:place] + letter + key[place + 1 :]

    assert not is_damaged(key)
    assert is_damaged(mistyped) or mistyped == key
    assert is_damaged(key[:place])
    assert is_damaged(key + letter)
    assert not is_damaged("sk_" + key)


def test_a_damaged_key_is_called_that():
    """The merchant who cut a key while copying hears it; a foreign key hears nothing more than invalid."""
    key = new_key(entropy=CountingEntropy()).key
    door = Door(key)

    [complaint] = door.refusal(key_header(key[:-1])).complaints

    assert complaint.field == "X-Api-Key"
    assert "checksum" in complaint.issue
    assert door.refusal(key_header("secret-1")).complaints == ()


def test_the_bounds_are_the_contracts():
    """500 a second, 300 a minute."""
    assert (limits.REQUESTS_PER_SECOND_PER_KEY, limits.FAILED_AUTH_PER_MINUTE_PER_ADDRESS) == (500, 300)
