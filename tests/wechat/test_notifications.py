"""Callbacks: six numbered checks, each with its verdict; nothing but VerificationError ever comes out."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from payd.errors import VerificationError
from payd.models.evidence import Source
from payd.models.states import PaymentEvent, RefundEvent
from payd.wechat.notifications import STEPS

NUMBER = "P20261124000000abc"


@pytest.fixture
def refuse(io_loop, client):
    """Opens a callback that must fail; returns step, status, reason and the verdicts."""

    def run(headers, body):
        steps = []

        async def attempt():
            with pytest.raises(VerificationError) as caught:
                await client.open_notification(headers, body, steps)
            return caught.value

        error = io_loop.run_sync(attempt)
        passed = STEPS[: STEPS.index(error.step)]
        assert [*[(name, "ok") for name in passed], (error.step, error.reason)] == [
            (step.step, step.verdict) for step in steps
        ]
        return error

    return run


async def test_a_payment_callback_opens_and_is_evidence(client, platform, paid):
    """All six checks say ok; the resource reads like a query answer."""
    headers, body = platform.callback(paid())
    headers["Request-ID"] = "08F-0"
    steps = []

    opened = await client.open_notification(headers, body, steps)
    evidence = client.payment_evidence(opened)

    assert [(name, "ok") for name in STEPS] == [(step.step, step.verdict) for step in steps]
    assert (
        opened.event_type,
        opened.original_type,
        opened.request_id,
    ) == ("TRANSACTION.SUCCESS", "transaction", "08F-0")
    assert opened.wechat_id == "0d1f2a3b-4c5d-5e6f-8a9b-0c1d2e3f4a5b"
    assert (
        evidence.source,
        evidence.event,
        evidence.out_trade_no,
        evidence.total_fen,
        evidence.payer_total_fen,
    ) == (Source.NOTIFICATION, PaymentEvent.PAID, NUMBER, 100, 90)
    assert (evidence.mchid, evidence.appid, evidence.currency) == ("1900000109", "wxd678efh567hg6787", "CNY")


REFUNDS = [
    ("REFUND.SUCCESS", "SUCCESS", RefundEvent.SUCCEEDED, None),
    ("REFUND.CLOSED", "CLOSED", RefundEvent.REFUSED, None),
    ("REFUND.ABNORMAL", "ABNORMAL", RefundEvent.STILL_OPEN, "abnormal"),
]


@pytest.mark.parametrize(("event_type", "word", "event", "attention"), REFUNDS)
async def test_a_refund_callback_uses_refund_status(event_type, word, event, attention, client, platform, refunded):
    """The member has another name than in the API; there is no appid and no currency."""
    members = refunded(status=..., refund_status=word, mchid="1900000109", channel=...)
    members["amount"] = {"total": 100, "refund": 40, "payer_total": 100, "payer_refund": 40}

    opened = await client.open_notification(
        *platform.callback(members, event_type=event_type, original_type="refund"), []
    )
    evidence = client.refund_evidence(opened)

    assert (event, attention, 40, 100, "1900000109", None) == (
        evidence.event,
        evidence.attention,
        evidence.refund_fen,
        evidence.total_fen,
        evidence.mchid,
        evidence.currency,
    )


async def test_a_foreign_resource_opens_but_is_no_payment(client, platform):
    """Profit sharing comes under TRANSACTION.SUCCESS too: the caller looks at original_type."""
    opened = await client.open_notification(*platform.callback({"x": 1}, original_type="profitsharing"), [])

    assert opened.original_type == "profitsharing"
    with pytest.raises(VerificationError) as caught:
        client.payment_evidence(opened)
    with pytest.raises(VerificationError):
        client.refund_evidence(opened)
    assert (caught.value.step, caught.value.status) == ("resource", 400)


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, lambda name: name])
async def test_header_names_have_no_case(spell, client, platform, paid):
    """Frameworks and proxies spell them as they like; plain mappings too."""
    headers, body = platform.callback(paid())

    opened = await client.open_notification({spell(name): value for name, value in headers.items()}, body, [])

    assert opened.original_type == "transaction"


async def test_the_signature_type_may_be_absent(client, platform, paid):
    """Absence means RSA with SHA-256."""
    headers, body = platform.callback(paid())
    del headers["Wechatpay-Signature-Type"]

    assert await client.open_notification(headers, body, [])


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial"])
@pytest.mark.parametrize("value", [None, "", "\u00e9", "a\x7fb"])
def test_each_of_the_four_headers_must_be_there_and_printable(name, value, refuse, platform, paid):
    """(1) headers."""
    headers, body = platform.callback(paid())
    plain = dict(headers.items())
    plain.pop(f"Wechatpay-{name}")
    if value is not None:
        plain[f"Wechatpay-{name}"] = value

    error = refuse(plain, body)

    assert (error.step, error.status) == ("headers", 401)


def test_another_signature_type_is_refused(refuse, platform, paid):
    """(1) headers: SM2 is another world."""
    headers, body = platform.callback(paid())
    headers["Wechatpay-Signature-Type"] = "WECHATPAY2-SM2-WITH-SM3"

    assert refuse(headers, body).step == "headers"


@pytest.mark.parametrize("age", [301, -301, 10**9, -(10**9)])
def test_the_window_is_five_minutes_on_both_sides(age, refuse, platform, paid):
    """(2) timestamp: from the past or from the future."""
    error = refuse(*platform.callback(paid(), age=age))

    assert (error.step, error.status) == ("timestamp", 401)


@pytest.mark.parametrize("age", [300, -300, 0])
async def test_inside_the_window_the_age_does_not_matter(age, client, platform, paid):
    """(2) timestamp: 300 s belong to the window."""
    assert await client.open_notification(*platform.callback(paid(), age=age), [])


@pytest.mark.parametrize("text", ["1.5", "-1", "+1795492800", "1795492800 ", "９", "1" * 13, "x", "1e9"])
def test_a_timestamp_is_digits(text, refuse, platform, paid):
    """(2) timestamp, or already (1) when it is no ASCII."""
    headers, body = platform.callback(paid())

    error = refuse(dict(headers.items()) | {"Wechatpay-Timestamp": text}, body)

    assert error.step in ("timestamp", "headers")


def test_an_unknown_serial_is_refused(refuse, platform, paid):
    """(3) serial."""
    error = refuse(*platform.callback(paid(), serial="PUB_KEY_ID_9"))

    assert (error.step, error.status) == ("serial", 401)


def test_a_forged_signature_is_refused(refuse, platform, paid, keys):
    """(4) signature: somebody else's key under a trusted serial."""
    error = refuse(*platform.callback(paid(), key=keys.stranger))

    assert (error.step, error.status, error.reason) == ("signature", 401, "the signature does not verify")


@pytest.mark.parametrize("change", ["body", "nonce", "timestamp"])
def test_whatever_is_signed_cannot_be_changed(change, refuse, platform, paid):
    """(4) signature: one byte in any of the three lines."""
    headers, body = platform.callback(paid())
    if change == "body":
        body += b" "
    elif change == "nonce":
        headers["Wechatpay-Nonce"] += "0"
    else:
        headers["Wechatpay-Timestamp"] = str(int(headers["Wechatpay-Timestamp"]) + 1)

    assert refuse(headers, body).step == "signature"


@pytest.mark.parametrize(
    "signature",
    ["WECHATPAY/SIGNTEST/", "WECHATPAY/SIGNTEST/" + "A" * 325, "WECHATPAY/SIGNTEST/!!!", "WECHATPAY/SIGNTEST/QUJD=="],
)
def test_a_probe_fails_like_a_forgery_and_is_counted_apart(signature, refuse, platform, paid):
    """(4) signature: no special path, only its own name."""
    error = refuse(*platform.callback(paid(), signature=signature))

    assert (error.step, error.reason, error.status) == ("signature", "probe", 401)


@pytest.mark.parametrize("signature", ["A", "QUJD", "****", "QUJD\u00a0", "=" * 344, "A" * 100_000])
def test_a_signature_that_is_no_signature_is_refused(signature, refuse, platform, paid):
    """(4) signature: decoding errors are failures, not crashes."""
    assert refuse(*platform.callback(paid(), signature=signature)).step in ("signature", "headers")


ENVELOPES = [
    {"id": 5},
    {"id": ""},
    {"event_type": None},
    {"resource": None},
    {"resource": []},
    {"resource": {}},
    {"resource": {"original_type": "transaction", "algorithm": "AEAD_AES_256_GCM", "ciphertext": 5, "nonce": "a" * 12}},
    {"resource": {"original_type": 1, "algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": "a" * 12}},
    {"resource": {"original_type": "t", "algorithm": "AEAD_SM4_GCM", "ciphertext": "AAAA", "nonce": "a" * 12}},
    {
        "resource": {
            "original_type": "t",
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": "AAAA",
            "nonce": "a" * 12,
            "associated_data": 5,
        }
    },
]


@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
def test_a_signed_body_that_is_no_notification_is_a_bad_request(envelope, refuse, platform, paid):
    """(5) envelope: 400, WeChat sends again."""
    error = refuse(*platform.callback(paid(), envelope=envelope))

    assert (error.step, error.status) == ("envelope", 400)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"5", b"null", b'"text"', b"\xff\xfe", b"[" * 5000])
def test_a_signed_body_that_is_no_object_is_a_bad_request(body, refuse, platform):
    """(5) envelope."""
    error = refuse(HTTPHeaders(platform.headers(body)), body)

    assert (error.step, error.status) == ("envelope", 400)


def test_another_api_v3_key_does_not_open(refuse, platform, paid):
    """(6) decrypt: the key was changed in the console."""
    error = refuse(*platform.callback(paid(), api_v3_key=b"x" * 32))

    assert (error.step, error.status) == ("decrypt", 400)
    assert "APIv3 key" in error.reason


@pytest.mark.parametrize(
    "resource",
    [
        {"ciphertext": "!!!"},
        {"ciphertext": "AAAA"},
        {"ciphertext": "茶"},
        {"nonce": "short"},
        {"nonce": "x" * 17},
        {"associated_data": "other"},
    ],
    ids=str,
)
def test_a_resource_that_does_not_open_is_a_bad_request(resource, refuse, platform, paid):
    """(6) decrypt: every part of the seal."""
    sealed = platform.seal(json.dumps(paid()).encode(), "transaction")
    envelope = {"resource": {"original_type": "transaction", **sealed, **resource}}

    error = refuse(*platform.callback(paid(), envelope=envelope))

    assert (error.step, error.status) == ("decrypt", 400)


@pytest.mark.parametrize("plain", [b"", b"x", b"[]", b"null", b"\xff"])
def test_a_resource_that_is_no_object_is_a_bad_request(plain, refuse, platform):
    """(6) decrypt: opened, but not JSON or no object."""
    error = refuse(*platform.callback(plain))

    assert (error.step, error.status) == ("decrypt", 400)


async def test_empty_associated_data_is_legal(client, platform, paid):
    """Absent, null and empty mean the same: no bytes."""
    sealed = platform.seal(json.dumps(paid()).encode(), "")
    for associated_data in ({}, {"associated_data": None}, {"associated_data": ""}):
        resource = {"original_type": "transaction", **sealed}
        del resource["associated_data"]
        headers, body = platform.callback(paid(), envelope={"resource": resource | associated_data})

        assert await client.open_notification(headers, body, [])


header_values = st.text(max_size=40) | st.sampled_from(["1795492800", "PUB_KEY_ID_0119000001092026112400000000000001"])
header_names = st.sampled_from(
    ["Wechatpay-Timestamp", "wechatpay-nonce", "Wechatpay-Signature", "Wechatpay-Serial", "Wechatpay-Signature-Type"]
) | st.text(max_size=20)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(headers=st.dictionaries(header_names, header_values, max_size=7), body=st.binary(max_size=200))
def test_no_headers_and_no_body_raise_anything_else(headers, body, io_loop, client):
    """Random headers and bytes: VerificationError and nothing else."""

    async def attempt():
        with pytest.raises(VerificationError):
            await client.open_notification(headers, body, [])

    io_loop.run_sync(attempt)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = ["mchid", "out_trade_no", "transaction_id", "trade_state", "amount", "payer", "success_time"]
MEMBERS += ["out_refund_no", "refund_id", "refund_status"]
members = st.dictionaries(st.sampled_from(MEMBERS), json_values)


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(envelope=st.dictionaries(st.sampled_from(["id", "event_type", "resource", "x"]), json_values, max_size=4),
       resource=members | json_values)  # fmt: skip
def test_signed_nonsense_raises_nothing_else_either(envelope, resource, io_loop, client, platform):
    """Bodies that WeChat itself signed but that hold anything: opened, or VerificationError."""
    headers, body = platform.callback(json.dumps(resource).encode(), envelope=envelope)

    async def attempt():
        try:
            opened = await client.open_notification(headers, body, [])
            client.payment_evidence(opened)
            client.refund_evidence(opened)
        except VerificationError as error:
            return error.step
        return None

    assert io_loop.run_sync(attempt) in (*STEPS, "resource", None)
