"""What each call sends, and how a good answer is read."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from payd.models.bill import BillKind
from payd.models.evidence import Source
from payd.models.refund import AbnormalRefundCommand, Refund
from payd.models.states import PaymentEvent, RefundEvent, RefundState
from payd.models.wechat import Closed, PrepayParameters, Refused, Unclear

NUMBER = "P20261124000000abc"
NOW = datetime(2026, 11, 24, 4, 0, 0, tzinfo=UTC)


def signature_holds(request, keys):
    """Verify a request by the documentation's five lines, with the merchant's public key."""
    import base64

    pairs = request.authorization
    text = f"{request.method}\n{request.target}\n{pairs['timestamp']}\n{pairs['nonce_str']}\n".encode()
    signature = base64.b64decode(pairs["signature"])
    keys.merchant.public_key().verify(signature, text + request.body + b"\n", padding.PKCS1v15(), hashes.SHA256())
    return pairs["serial_no"] == keys.merchant_serial and pairs["mchid"] == "1900000109"


PRODUCTS = [
    ("NATIVE", "native", {"code_url": "weixin://wxpay/bizpayurl?pr=p4lpSuKzz"}, {}),
    ("JSAPI", "jsapi", {"prepay_id": "wx21000000000000a1b2c3d4e5f60718290000"}, {"openid": "oUpF8uMuAJO"}),
    ("APP", "app", {"prepay_id": "wx21000000000000a1b2c3d4e5f60718290000"}, {}),
    (
        "H5",
        "h5",
        {"h5_url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx21&package=1"},
        {"scene_info": {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}},
    ),
]


@pytest.mark.parametrize(("trade_type", "path", "answer", "members"), PRODUCTS, ids=[p[0] for p in PRODUCTS])
async def test_prepay_sends_the_exact_signed_body(
    trade_type, path, answer, members, client, gateway, reply, command, keys, calls
):
    """Each product has its path, the bytes on the wire are those that were signed, every header is there."""
    gateway.script(reply(body=answer))
    body = client.prepay_body(command(trade_type=trade_type, **members), out_trade_no=NUMBER, expires_at=NOW)

    heard = await client.prepay(trade_type, body)

    (request,) = gateway.requests
    assert ("POST", f"/v3/pay/transactions/{path}") == (request.method, request.target)
    assert body == request.body
    assert signature_holds(request, keys)
    assert "application/json" == request.headers["Accept"] == request.headers["Content-Type"]
    assert request.headers["User-Agent"].startswith("payd/")
    assert request.headers["Wechatpay-Serial"].startswith("PUB_KEY_ID_")
    assert heard == PrepayParameters(**answer, request_id=heard.request_id)
    assert heard.request_id.endswith("-0")
    assert calls == [("prepay", "ok")]


def test_prepay_body_is_compact_utf8_with_beijing_time_and_no_null(client, command):
    """What is absent is left out; Chinese text goes as it is; time_expire has Beijing's offset."""
    full = command(
        attach="a",
        goods_tag="t",
        support_fapiao=True,
        settle_info={"profit_sharing": False},
        detail={"goods_detail": [{"merchant_goods_id": "1", "quantity": 1, "unit_price": 5}]},
    )

    plain = client.prepay_body(command(), out_trade_no=NUMBER, expires_at=NOW)
    rich = json.loads(client.prepay_body(full, out_trade_no=NUMBER, expires_at=NOW))

    assert plain.decode() == (
        '{"appid":"wxd678efh567hg6787","mchid":"1900000109","description":"一杯茶","out_trade_no":"P20261124000000abc",'
        '"time_expire":"2026-11-24T12:00:00+08:00","notify_url":"https://pay.example.com/pay/notify/wechat",'
        '"amount":{"total":100,"currency":"CNY"}}'
    )
    assert (rich["attach"], rich["goods_tag"], rich["support_fapiao"]) == ("a", "t", True)
    assert rich["settle_info"] == {"profit_sharing": False}
    assert rich["detail"]["goods_detail"][0]["quantity"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "茶🍵"},
        {"description": "x" * 128},
        {"attach": "茶" * 43},
        {"detail": {"goods_detail": [{"unit_price": 1.5}]}},
        {"scene_info": {"device_id": None}},
        {"total_fen": 0},
    ],
)
def test_what_wechat_never_takes_is_a_programmers_mistake(changes, client, command):
    """Four-byte characters, null, floats and lengths were refused long before; here they are asserted."""
    with pytest.raises(AssertionError):
        client.prepay_body(command(**changes), out_trade_no=NUMBER, expires_at=NOW)


async def test_query_of_a_paid_order_is_evidence(client, gateway, reply, paid, keys):
    """All that WeChat says of a paid order arrives typed, with UTC time."""
    gateway.script(reply(body=paid(trade_type="MWEB", unheard_of={"new": [1]})))

    heard = await client.query_payment(NUMBER)

    (request,) = gateway.requests
    assert f"/v3/pay/transactions/out-trade-no/{NUMBER}?mchid=1900000109" == request.target
    assert request.method == "GET"
    assert request.body == b""
    assert "Content-Type" not in request.headers
    assert signature_holds(request, keys)
    assert (heard.source, heard.event, heard.exists) == (Source.QUERY, PaymentEvent.PAID, True)
    assert (heard.total_fen, heard.payer_total_fen, heard.currency, heard.trade_type) == (100, 90, "CNY", "H5")
    assert heard.success_at == NOW


WORDS = [
    ("SUCCESS", PaymentEvent.PAID),
    ("REFUND", PaymentEvent.PAID),
    ("NOTPAY", PaymentEvent.STILL_OPEN),
    ("USERPAYING", PaymentEvent.STILL_OPEN),
    ("CLOSED", PaymentEvent.EXPIRED),
    ("REVOKED", PaymentEvent.EXPIRED),
    ("PAYERROR", PaymentEvent.REJECTED),
    ("SOMETHING_NEW", None),
]


@pytest.mark.parametrize(("word", "event"), WORDS)
async def test_each_trade_state_means_one_event_and_unknown_ones_none(word, event, client, gateway, reply, paid):
    """A word that is not documented is never guessed."""
    gateway.script(reply(body=paid(trade_state=word)))

    heard = await client.query_payment(NUMBER)

    assert (event, word) == (heard.event, heard.trade_state)


async def test_query_of_an_unpaid_order_has_the_short_shape(client, gateway, reply):
    """The captured shape of an unpaid order: no transaction, no trade type, no currency."""
    gateway.script(
        reply(
            body={
                "amount": {"payer_currency": "CNY", "total": 100},
                "appid": "wxd678efh567hg6787",
                "mchid": "1900000109",
                "out_trade_no": NUMBER,
                "promotion_detail": [],
                "scene_info": {"device_id": ""},
                "trade_state": "NOTPAY",
                "trade_state_desc": "订单未支付",
            }
        )
    )

    heard = await client.query_payment(NUMBER)

    assert (
        heard.event,
        heard.total_fen,
        heard.currency,
        heard.transaction_id,
    ) == (PaymentEvent.STILL_OPEN, 100, None, None)


async def test_signed_order_not_exist_is_evidence_of_absence(client, gateway, reply, calls):
    """Only the signed word ends a number; it is an answer, not a refusal."""
    gateway.script(reply(status=404, body={"code": "ORDERNOTEXIST", "message": "订单不存在"}))

    heard = await client.query_payment(NUMBER)

    assert (heard.exists, heard.event, heard.trade_state) == (False, None, "ORDER_NOT_EXIST")
    assert calls == [("query", "ok")]


async def test_close_sends_only_mchid_and_takes_only_204(client, gateway, reply, keys):
    """A 204 is signed over the empty body; a 200 is not what was asked for."""
    gateway.script(reply(status=204), reply(status=200, body={"code": "SUCCESS"}))

    closed = await client.close(NUMBER)
    odd = await client.close(NUMBER)

    assert isinstance(closed, Closed)
    assert (odd.reason, odd.status) == ("malformed", 200)
    assert gateway.requests[0].body == b'{"mchid":"1900000109"}'
    assert signature_holds(gateway.requests[0], keys)


async def test_refund_names_transaction_total_currency_and_notify_url(client, gateway, reply, order, refunded):
    """The original total, currency (required here) and always a notify_url; 200 means accepted."""
    gateway.script(reply(body=refunded()))
    body = client.refund_body(
        order(),
        out_refund_no="R1",
        refund_fen=40,
        reason="退货",
        content={"funds_account": "AVAILABLE", "goods_detail": None, "other": 1},
    )

    heard = await client.refund(body, out_refund_no="R1")

    assert json.loads(gateway.requests[0].body) == {
        "transaction_id": "4200002400202611240000000001",
        "out_refund_no": "R1",
        "reason": "退货",
        "notify_url": "https://pay.example.com/pay/notify/wechat",
        "funds_account": "AVAILABLE",
        "amount": {"refund": 40, "total": 100, "currency": "CNY"},
    }
    assert body == gateway.requests[0].body
    assert (
        heard.source,
        heard.event,
        heard.refund_fen,
        heard.total_fen,
    ) == (Source.API, RefundEvent.STILL_OPEN, 40, 100)


def test_refund_body_without_transaction_names_the_order(client, order):
    """One of the two order ids, never both."""
    body = client.refund_body(order(transaction_id=None), out_refund_no="R1", refund_fen=1, reason=None, content={})

    members = json.loads(body)
    assert members["out_trade_no"] == NUMBER
    assert "transaction_id" not in members
    assert "reason" not in members


REFUND_WORDS = [
    ("PROCESSING", RefundEvent.STILL_OPEN, None),
    ("SUCCESS", RefundEvent.SUCCEEDED, None),
    ("CLOSED", RefundEvent.REFUSED, None),
    ("ABNORMAL", RefundEvent.STILL_OPEN, "abnormal"),
    ("CLOSE", None, None),
]


@pytest.mark.parametrize(("word", "event", "attention"), REFUND_WORDS)
async def test_each_refund_status_means_one_event(word, event, attention, client, gateway, reply, refunded):
    """ABNORMAL is not final: the money is still owed; an undocumented spelling is never guessed."""
    gateway.script(reply(body=refunded(status=word)))

    heard = await client.query_refund("R1")

    assert gateway.requests[0].target == "/v3/refund/domestic/refunds/R1"
    assert (Source.QUERY, event, attention) == (heard.source, heard.event, heard.attention)


async def test_signed_resource_not_exists_is_evidence_of_absence(client, gateway, reply):
    """A signed 404 to a refund query: WeChat has never heard of the number."""
    gateway.script(reply(status=404, body={"code": "RESOURCE_NOT_EXISTS", "message": "退款单不存在"}))

    heard = await client.query_refund("R1")

    assert (heard.exists, heard.event, heard.out_refund_no) == (False, None, "R1")


@pytest.fixture
def abnormal():
    """A refund that the payer's account cannot take."""
    return Refund(
        out_refund_no="R1",
        version=2,
        out_trade_no=NUMBER,
        transaction_id="4200002400202611240000000001",
        status=RefundState.REFUNDING,
        refund_fen=40,
        total_fen=100,
        currency="CNY",
        reason=None,
        content={},
        metadata=None,
        wire_request=b"{}",
        created_at=NOW,
        updated_at=NOW,
        refund_id="50000000012026112400000000001",
        attention="abnormal",
    )


async def test_abnormal_refund_encrypts_card_and_name_to_wechat(client, gateway, reply, refunded, abnormal, keys):
    """Card number and name cross the wire only under the key that Wechatpay-Serial names."""
    import base64

    gateway.script(reply(body=refunded(status="PROCESSING")))
    wish = AbnormalRefundCommand(
        out_refund_no="R1",
        account_type="USER_BANK_CARD",
        bank_type="ICBC_DEBIT",
        bank_account="6222020200001234567",
        real_name="张三",
    )

    heard = await client.abnormal_refund(abnormal, wish)

    (request,) = gateway.requests
    members = json.loads(request.body)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    opened = [keys.public.decrypt(base64.b64decode(members[name]), oaep) for name in ("bank_account", "real_name")]
    assert request.target == "/v3/refund/domestic/refunds/50000000012026112400000000001/apply-abnormal-refund"
    assert [b"6222020200001234567", "张三".encode()] == opened
    assert (members["out_refund_no"], members["type"], members["bank_type"]) == ("R1", "USER_BANK_CARD", "ICBC_DEBIT")
    assert request.headers["Wechatpay-Serial"].startswith("PUB_KEY_ID_")
    assert RefundEvent.STILL_OPEN is heard.event


async def test_bill_application_asks_for_the_packed_file(client, gateway, reply):
    """Both kinds, whole, as GZIP; the offer is trusted because the answer is signed."""
    offer = {
        "hash_type": "SHA1",
        "hash_value": "AB" * 20,
        "download_url": f"{gateway.base}/v3/billdownload/file?token=x",
    }
    gateway.script(reply(body=offer))

    trade = await client.apply_bill(NOW.date(), BillKind.TRADE)
    fund = await client.apply_bill(NOW.date(), BillKind.FUND_FLOW)

    assert [request.target for request in gateway.requests] == [
        "/v3/bill/tradebill?bill_date=2026-11-24&bill_type=ALL&tar_type=GZIP",
        "/v3/bill/fundflowbill?bill_date=2026-11-24&account_type=BASIC&tar_type=GZIP",
    ]
    assert (trade.hash_value, trade.hash_type) == ("ab" * 20, "SHA1")
    assert offer["download_url"] == fund.download_url


@pytest.mark.parametrize("code", ["NO_STATEMENT_EXIST", "STATEMENT_CREATING"])
async def test_a_bill_that_is_not_there_is_a_refusal_with_its_code(code, client, gateway, reply):
    """The caller tells 'nothing happened' from 'later' by the code."""
    gateway.script(reply(status=400, body={"code": code, "message": "x"}))

    heard = await client.apply_bill(NOW.date(), BillKind.TRADE)

    assert (Refused, code, 400) == (type(heard), heard.code, heard.status)


async def test_echo_proves_both_directions_of_encryption(open_client, gateway, keys, platform, reply):
    """The plain message comes back, and so does the encrypted one, opened with the merchant's key."""
    import base64

    client = open_client()
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    original = gateway._answer

    async def echo(_reply, writer):
        members = json.loads(gateway.requests[-1].body)
        plain = keys.public.decrypt(base64.b64decode(members["encrypted_echo_message"]), oaep)
        sealed = base64.b64encode(keys.merchant.public_key().encrypt(plain, oaep)).decode()
        body = {"echo_message": members["echo_message"], "encrypted_echo_message": sealed}
        return await original(reply(body=body), writer)

    gateway._answer = echo

    report = await client.echo()

    assert report.ok, report.detail
    assert report.clock_skew_seconds == 0


async def test_echo_that_does_not_come_back_is_not_ok(client, gateway, reply):
    """Another message, or none, proves nothing."""
    gateway.script(reply(body={"echo_message": "other", "encrypted_echo_message": "AAAA"}))

    report = await client.echo()

    assert not report.ok
    assert "echo_message" in report.detail


async def test_client_parameters_are_only_for_jsapi_and_app(client):
    """Native and H5 need no signature."""
    assert client.client_parameters("NATIVE", "wx21") is None
    assert client.client_parameters("H5", "wx21") is None
    assert {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"} == set(
        client.client_parameters("JSAPI", "wx21")
    )
    assert {"appId", "partnerId", "prepayId", "packageValue", "nonceStr", "timeStamp", "sign"} == set(
        client.client_parameters("APP", "wx21")
    )


async def test_connections_are_kept_and_every_request_is_signed_anew(client, gateway, reply):
    """One connection for calls in a row; nonce and signature are never used twice."""
    gateway.script(reply(status=204))

    for _ in range(3):
        await client.close(NUMBER)

    assert gateway.connections == 1
    assert len({request.authorization["nonce_str"] for request in gateway.requests}) == 3
    assert len({request.authorization["signature"] for request in gateway.requests}) == 3


async def test_path_parameters_are_encoded_and_signed_as_sent(client, gateway, reply, keys):
    """A number from WeChat's wider alphabet goes percent-encoded, and the signature is over that form."""
    gateway.script(reply(status=404, body={"code": "RESOURCE_NOT_EXISTS", "message": ""}))

    await client.query_refund("R|1*@/..")

    assert gateway.requests[0].target == "/v3/refund/domestic/refunds/R%7C1%2A%40%2F.."
    assert signature_holds(gateway.requests[0], keys)


async def test_clock_skew_is_read_from_the_date_header(client, gateway, reply):
    """Known after the first answer, whatever it was."""
    assert client.clock_skew_seconds() is None
    date = "Tue, 24 Nov 2026 04:02:00 GMT"
    gateway.script(reply(status=401, body={"code": "SIGN_ERROR", "message": "x"}, signed=False, headers={"Date": date}))

    heard = await client.query_payment(NUMBER)

    assert isinstance(heard, Unclear)
    assert timedelta(minutes=2).total_seconds() == client.clock_skew_seconds()


async def test_a_merchant_without_platform_key_cannot_encrypt(certificate_client, abnormal, gateway):
    """Nothing is sent when there is no key to encrypt with."""
    client = certificate_client()

    heard = await client.abnormal_refund(
        replace(abnormal), AbnormalRefundCommand(out_refund_no="R1", account_type="MERCHANT_BANK_CARD")
    )

    assert (heard.reason, gateway.requests) == ("key_refresh", [])
