"""Third-party proof: the PyPI client ``wechatpayv3`` talks to the simulator as to WeChat, in both key modes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from functools import partial
from typing import Any

import pytest
from wechatpayv3 import WeChatPay, WeChatPayType

from payd.sandbox import Sandbox

#: The SDK itself uses an old property of certificates; that is its business.
pytestmark = pytest.mark.filterwarnings("ignore:Properties that return a na")


class Sdk:
    """The blocking SDK, called in a thread while the simulator serves on the loop."""

    def __init__(self, simulator: Sandbox, client: WeChatPay) -> None:
        self.base_url = simulator.base_url
        self.client = client

    async def __call__(self, name: str, **arguments: Any) -> tuple[int, Any]:
        work = partial(getattr(self.client, name), **arguments)
        status, text = await asyncio.get_running_loop().run_in_executor(None, work)
        if isinstance(text, str) and text:
            return status, json.loads(text)
        return status, text


def _client(simulator: Sandbox, mode: str) -> WeChatPay:
    """The SDK as a merchant configures it, its gateway pointed at the simulator."""
    facts = simulator.merchant
    public = {"public_key": facts.public_key_path.read_text(), "public_key_id": facts.public_key_id}
    # In certificate mode the SDK's constructor downloads certificates, hence from the real gateway; it is made
    # in public-key mode and then told to know certificates only.
    client = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=facts.mchid,
        private_key=facts.private_key_path.read_text(),
        cert_serial_no=facts.merchant_serial_no,
        apiv3_key=facts.api_v3_key,
        appid=facts.appid,
        notify_url="http://127.0.0.1:9/notify",
        timeout=(10, 20),
        **public,
    )
    client._core._gate_way = simulator.base_url
    if mode == "certificate":
        client._core._public_key = client._core._public_key_id = None
        client._core._init_certificates()
    return client


@pytest.fixture
def simulator(io_loop, prepared):
    """On the real clock, since the SDK cannot be given another."""
    running = Sandbox(prepared, seed=7, persist=False)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture(params=["public_key", "certificate"])
def sdk(request, io_loop, simulator, control):
    """The SDK and the simulator in the same key mode."""

    async def make():
        await control("POST", "keys", {"mode": request.param})
        return await asyncio.get_running_loop().run_in_executor(None, _client, simulator, request.param)

    return Sdk(simulator, io_loop.run_sync(make))


@pytest.fixture
def wall():
    """The real clock, also for the raw client of the other fixtures."""
    import time

    return time.time


async def test_sdk_pays_queries_and_closes(sdk, control):
    """All four products, a payment, both queries and a close."""
    scene = {"payer_client_ip": "1.2.3.4", "h5_info": {"type": "Wap"}}
    native = await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100})
    jsapi = await sdk(
        "pay",
        description="茶",
        out_trade_no="sdk-jsapi1",
        amount={"total": 1},
        payer={"openid": "oUser"},
        pay_type=WeChatPayType.JSAPI,
    )
    app = await sdk("pay", description="茶", out_trade_no="sdk-app001", amount={"total": 1}, pay_type=WeChatPayType.APP)
    h5 = await sdk(
        "pay",
        description="茶",
        out_trade_no="sdk-h50001",
        amount={"total": 1},
        scene_info=scene,
        pay_type=WeChatPayType.H5,
    )
    paid = await control.pay("sdk-native")
    by_number = await sdk("query", out_trade_no="sdk-native")
    by_id = await sdk("query", transaction_id=paid["transaction_id"])
    closed = await sdk("close", out_trade_no="sdk-jsapi1")

    assert [status for status, _ in (native, jsapi, app, h5)] == [200] * 4
    members = [member for _, answer in (native, jsapi, app, h5) for member in answer]
    assert members == ["code_url", "prepay_id", "prepay_id", "h5_url"]
    assert by_number == by_id
    assert by_id[1]["trade_state"] == "SUCCESS"
    assert closed[0] == 204


async def test_sdk_refunds_and_queries_the_refund(sdk, control):
    """A refund, its query, and an abnormal refund with fields the SDK encrypted."""
    await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100})
    await control.pay("sdk-native")
    amount = {"refund": 40, "total": 100, "currency": "CNY"}
    status, accepted = await sdk("refund", out_trade_no="sdk-native", out_refund_no="sdk-r1", amount=amount)
    await control("POST", "refunds/sdk-r1", {"status": "ABNORMAL"})

    abnormal = await sdk(
        "abnormal_refund",
        refund_id=accepted["refund_id"],
        out_refund_no="sdk-r1",
        type="USER_BANK_CARD",
        bank_type="ICBC_DEBIT",
        bank_account="6222020000001234",
        real_name="张三",
    )
    await control.advance(1)
    queried = await sdk("query_refund", out_refund_no="sdk-r1")

    assert (status, accepted["status"]) == (200, "PROCESSING")
    assert (abnormal[0], abnormal[1]["user_received_account"]) == (200, "ICBC_DEBIT借记卡1234")
    assert queried[1]["status"] == "SUCCESS"


@pytest.mark.parametrize("tar_type", ["GZIP", ""])
async def test_sdk_fetches_both_bills(sdk, control, tar_type):
    """Apply and download, plain and zipped; the hash is that of the plain text."""
    await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100})
    paid = await control.pay("sdk-native")
    day = paid["success_time"][:10]
    await control.advance(2 * 86400)

    for name in ("trade_bill", "fundflow_bill"):
        # the SDK's own default is GZIP; for a plain file the parameter is cut off again
        path = sdk.client._core.request
        if not tar_type:
            kind = "tradebill" if name == "trade_bill" else "fundflowbill"
            work = partial(path, f"/v3/bill/{kind}?bill_date={day}")
            status, text = await asyncio.get_running_loop().run_in_executor(None, work)
            applied = json.loads(text)
        else:
            status, applied = await sdk(name, bill_date=day)
        fetched, content = await sdk("download_bill", url=applied["download_url"])
        plain = gzip.decompress(content) if tar_type else content

        assert (status, fetched, applied["hash_type"]) == (200, 200, "SHA1")
        assert hashlib.sha1(plain).hexdigest() == applied["hash_value"]
        assert paid["transaction_id"].encode() in plain


async def test_sdk_verifies_and_opens_callbacks(sdk, control, receiver):
    """The SDK's own callback function accepts what is sent and refuses a forgery."""
    await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100}, notify_url=receiver.url)
    await control.pay("sdk-native")
    notice = (await control.book())["notifications"][0]
    await control("POST", f"notifications/{notice['id']}/resend", {"wrong_signature": True})
    opened = []
    for callback in receiver.received:
        work = partial(sdk.client.callback, dict(callback.headers), callback.body)
        opened.append(await asyncio.get_running_loop().run_in_executor(None, work))

    true, forged = opened
    assert true["resource"]["out_trade_no"] == "sdk-native"
    assert forged is None


async def test_sdk_follows_a_certificate_rotation(sdk, control):
    """A new certificate signs: in certificate mode the SDK fetches it and goes on."""
    await control("POST", "keys", {"rotate": True})

    status, answer = await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100})

    assert (status, list(answer)) == (200, ["code_url"])


@pytest.mark.parametrize("kind", ["wrong_signature", "probe", "wrong_serial", "corrupt_body"])
async def test_sdk_refuses_spoilt_answers(sdk, control, kind):
    """What the simulator forges is not accepted by a client that really verifies."""
    await control.fault("prepay", kind)

    with pytest.raises(Exception, match=r"signature|padding|base64|Incorrect|Expecting|'NoneType'|invalid"):
        await sdk("pay", description="茶", out_trade_no="sdk-native", amount={"total": 100})


async def test_echo_for_the_sdk(sdk, control):
    """The self-test endpoint, with the SDK's encryption and decryption."""
    from wechatpayv3.type import RequestType

    core = sdk.client._core
    sealed = core.encrypt("ping")
    work = partial(
        core.request,
        "/v3/security/echo",
        method=RequestType.POST,
        data={"echo_message": "hello", "encrypted_echo_message": sealed},
        cipher_data=True,
    )

    status, text = await asyncio.get_running_loop().run_in_executor(None, work)

    answer = json.loads(text)
    assert (status, answer["echo_message"]) == (200, "hello")
    assert core.decrypt(answer["encrypted_echo_message"]) == "ping"
