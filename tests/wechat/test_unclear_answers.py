"""Everything a network and a hostile gateway can do ends as Unclear: never an exception, never a conclusion."""

import asyncio
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payd.models.evidence import PaymentEvidence
from payd.models.wechat import Refused, Unclear
from payd.wechat.answers import Absent, Verified, judge
from payd.wechat.http_answer import HttpAnswer, read_header_lines
from payd.wechat.requests import Operation

NUMBER = "P20261124000000abc"
BIG = b"[" + b"1," * 2_200_000 + b"1]"


def hostile():
    """(name, reply members, the word that must come out)."""
    return [
        ("reset", {"act": "reset"}, "connection"),
        ("garbage", {"act": "garbage"}, "connection"),
        ("truncated", {"act": "truncate", "body": {"code_url": "weixin://wxpay/bizpayurl?pr=1"}}, "connection"),
        ("unsigned 200", {"signed": False, "body": {"code_url": "weixin://x"}}, "unsigned"),
        ("unsigned 204", {"status": 204, "signed": False}, "unsigned"),
        ("wrong signature", {"signed": "wrong", "body": {"code_url": "weixin://x"}}, "signature"),
        ("probe", {"signed": "probe", "body": {"code_url": "weixin://x"}}, "signature"),
        ("stale", {"signed": "stale", "body": {"code_url": "weixin://x"}}, "signature"),
        ("unknown key", {"signed": "stranger", "body": {"code_url": "weixin://x"}}, "key_refresh"),
        ("202", {"status": 202, "body": {"code": "USERPAYING", "message": ""}}, "status"),
        ("202 empty", {"status": 202}, "status"),
        ("redirect", {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, "status"),
        ("401", {"status": 401, "signed": False, "body": {"code": "SIGN_ERROR", "message": "签名错误"}}, "status"),
        ("404 path", {"status": 404, "signed": False}, "status"),
        ("405", {"status": 405, "signed": False}, "status"),
        ("429", {"status": 429, "body": {"code": "FREQUENCY_LIMITED", "message": ""}}, "rate_limited"),
        ("429 empty", {"status": 429, "signed": False}, "rate_limited"),
        ("500", {"status": 500, "body": {"code": "SYSTEM_ERROR", "message": ""}}, "status"),
        ("502 HTML", {"status": 502, "signed": False, "body": b"<html><h1>502 Bad Gateway</h1></html>"}, "status"),
        ("503 empty", {"status": 503, "signed": False}, "status"),
        ("not JSON", {"body": b"weixin://x"}, "malformed"),
        ("a list", {"body": b"[]"}, "malformed"),
        ("deep", {"body": b"[" * 5000}, "malformed"),
        ("empty 200", {"body": b""}, "malformed"),
        ("signed 204", {"status": 204}, "malformed"),
        ("nothing in it", {"body": {}}, "malformed"),
        ("too large", {"body": BIG}, "malformed"),
    ]


@pytest.mark.parametrize(("name", "members", "reason"), hostile(), ids=[name for name, _, _ in hostile()])
async def test_a_hostile_answer_to_prepay_is_unclear(name, members, reason, client, gateway, reply, calls):
    """Each way to answer wrongly has its word; the call does not raise and is counted as unknown."""
    gateway.script(reply(**members))

    heard = await client.prepay("NATIVE", b'{"a":1}')

    assert (Unclear, reason) == (type(heard), heard.reason)
    assert calls == [("prepay", "unknown")]


@pytest.mark.parametrize("act", ["hang", "drip"])
async def test_silence_ends_at_the_time_limit(act, open_client, gateway, reply):
    """No answer, or half of one, ends as a time-out."""
    client = open_client(timeout_ms=150)
    gateway.script(reply(act=act, body={"code_url": "weixin://wxpay/bizpayurl?pr=1"}))

    heard = await client.prepay("NATIVE", b'{"a":1}')

    assert (Unclear, "timeout") == (type(heard), heard.reason)


async def test_nobody_listens(open_client):
    """A refused connection is Unclear like any other."""
    client = open_client(api_base="http://127.0.0.1:1")

    heard = await client.query_payment(NUMBER)

    assert (Unclear, "connection") == (type(heard), heard.reason)


async def test_a_host_without_a_trusted_certificate_hears_nothing(open_client, keys, make_cert, write_pem, tmp_path):
    """TLS ends before the first byte: no request, no Authorization header for whoever listens there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = make_cert(keys.stranger, "localhost", 0x11 << 152)
    context.load_cert_chain(
        write_pem(tmp_path / "server.pem", certificate), write_pem(tmp_path / "server.key", keys.stranger)
    )
    heard_there = []

    async def listen(reader, writer):
        heard_there.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    client = open_client(api_base=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    heard = await client.prepay("NATIVE", b'{"a":1}')

    assert (Unclear, "connection") == (type(heard), heard.reason)
    assert [data for data in heard_there if data] == []
    server.close()
    await server.wait_closed()


async def test_an_answer_is_not_decompressed_behind_our_back(client, gateway, reply):
    """The signature is over the bytes on the wire: a coded body is verified coded, and is then no JSON."""
    import gzip

    packed = gzip.compress(b'{"code_url":"weixin://x"}')
    gateway.script(reply(body=packed, headers={"Content-Encoding": "gzip"}))

    heard = await client.prepay("NATIVE", b'{"a":1}')

    assert (Unclear, "malformed") == (type(heard), heard.reason)
    assert "Accept-Encoding" not in gateway.requests[0].headers


WRONG_MEMBERS = [
    {"out_trade_no": "P20261124000000abd"},
    {"mchid": "1900000110"},
    {"out_trade_no": 20261124},
    {"trade_state": None},
    {"amount": {"total": "100", "currency": "CNY"}},
    {"amount": {"total": 100.0, "currency": "CNY"}},
    {"amount": {"total": True, "currency": "CNY"}},
    {"amount": {"total": -1, "currency": "CNY"}},
    {"amount": []},
    {"amount": ...},
    {"transaction_id": ...},
    {"transaction_id": 4200002400202611240000000001},
    {"success_time": "yesterday"},
    {"success_time": "2026-11-24T12:00:00"},
    {"success_time": 1795500000},
    {"payer": "oUpF8uMuAJO"},
]


@pytest.mark.parametrize("changes", WRONG_MEMBERS, ids=str)
async def test_a_signed_answer_about_something_else_is_malformed(changes, client, gateway, reply, paid):
    """Numbers must echo what was asked, amounts are whole numbers, ids are texts."""
    gateway.script(reply(body=paid(**changes)))

    heard = await client.query_payment(NUMBER)

    assert (Unclear, "malformed") == (type(heard), heard.reason)


WRONG_REFUNDS = [
    {"out_refund_no": "R2"},
    {"status": ...},
    {"refund_id": 5},
    {"amount": {"total": 100, "refund": "40"}},
    {"amount": {"total": 100}},
    {"transaction_id": ...},
]


@pytest.mark.parametrize("changes", WRONG_REFUNDS, ids=str)
async def test_a_signed_refund_answer_about_something_else_is_malformed(changes, client, gateway, reply, refunded):
    """The same for refunds."""
    gateway.script(reply(body=refunded(**changes)))

    heard = await client.refund(b'{"a":1}', out_refund_no="R1")

    assert (Unclear, "malformed") == (type(heard), heard.reason)


async def test_a_post_is_put_on_the_wire_once_even_when_a_kept_connection_dies(client, gateway, reply, refunded):
    """curl would send again by itself, and the answer to that might be the echo of our own first try."""
    gateway.script(reply(body=refunded()), reply(act="reset"), reply(status=404, body={"code": "RESOURCE_NOT_EXISTS"}))

    first = await client.refund(b'{"a":1}', out_refund_no="R1")
    second = await client.refund(b'{"a":1}', out_refund_no="R1")

    assert first.out_refund_no == "R1"
    assert (Unclear, "connection") == (type(second), second.reason)
    assert len(gateway.requests) == 2


async def test_a_question_may_be_asked_twice_when_a_kept_connection_dies(client, gateway, reply, paid):
    """WeChat drops idle connections: a query survives that unnoticed."""
    gateway.script(reply(body=paid()), reply(act="reset"), reply(body=paid()))

    answers = [await client.query_payment(NUMBER) for _ in range(2)]

    assert [answer.out_trade_no for answer in answers] == [NUMBER, NUMBER]
    assert len(gateway.requests) == 3


async def test_many_calls_at_once_each_get_their_own_answer(client, gateway, paid):
    """Answers never cross: the number that was asked for is the one that is answered."""
    from urllib.parse import urlsplit

    original = gateway._answer

    async def answer(reply, writer):
        number = urlsplit(gateway.requests[-1].target).path.rsplit("/", 1)[1]
        return await original(type(reply)(body=paid(out_trade_no=number)), writer)

    gateway._answer = answer
    numbers = [f"P2026112400{number:05}" for number in range(40)]

    heard = await asyncio.gather(*(client.query_payment(number) for number in numbers))

    assert numbers == [evidence.out_trade_no for evidence in heard]
    assert all(isinstance(evidence, PaymentEvidence) for evidence in heard)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
codes = st.sampled_from(["ORDER_NOT_EXIST", "NOT_ENOUGH", "PARAM_ERROR", "SYSTEM_ERROR", "ORDER_PAID"]) | st.text()


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    operation=st.sampled_from(list(Operation)),
    status=st.integers(100, 599),
    body=st.binary(max_size=80)
    | st.builds(
        lambda code, rest: __import__("json").dumps({"code": code, "message": rest, "detail": rest}).encode(),
        codes,
        json_values,
    ),
    distrust=st.sampled_from([None, "unsigned", "signature", "key_refresh"]),
    request_id=st.text(max_size=200).filter(lambda text: "\n" not in text and "\r" not in text and "\0" not in text),
)
def test_any_answer_gets_one_conclusion(operation, status, body, distrust, request_id):
    """Whatever comes: one of the four kinds, and only what is verified settles something."""
    headers = {"Request-ID": request_id}
    heard = judge(operation, HttpAnswer(status=status, headers=headers, body=body), distrust=distrust)

    assert isinstance(heard, Verified | Absent | Refused | Unclear)
    if distrust is not None:
        assert isinstance(heard, Unclear)
    if isinstance(heard, Verified):
        assert status in (200, 204)
    if isinstance(heard, Refused):
        assert 400 <= status <= 500
        assert status not in (401, 405, 429)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"HTTP/1.1 200 OK", b"A: 1", b"a: 2"], {"a": "1,2"}),
        ([b"HTTP/1.1 100 Continue", b"Old: 1", b"HTTP/1.1 200 OK", b"A: 1"], {"a": "1"}),
        ([b"HTTP/2 200", b"a: 1"], {"a": "1"}),
        ([b"HTTP/1.1 200 OK", b"A: 1", b"HTTP/x: y", b"B: 2"], {"a": "1", "b": "2"}),
        ([b"HTTP/1.1 200 OK", b": empty", b"X y\x01: bad", b" folded: no", b"A: b:c "], {"a": "b:c"}),
    ],
    ids=["repeated", "behind a 100", "HTTP/2", "a name like a status line", "no names"],
)
def test_only_headers_of_the_answer_itself_are_read(lines, kept):
    """What is nobody's header says nothing, and takes nothing away from those that are."""
    assert dict(read_header_lines([line + b"\r\n" for line in lines])) == kept
