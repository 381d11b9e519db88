"""Callbacks: really signed, really encrypted, sent again by the table, and tampered with on request (section 8)."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from cryptography.exceptions import InvalidTag

RETRIES = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]


async def _paid(merchant, control, receiver, out_trade_no="order-000001", **more):
    await merchant.prepay(out_trade_no, notify_url=receiver.url)
    return await control.pay(out_trade_no, **more)


async def _notices(control):
    return (await control.book())["notifications"]


async def test_payment_callback_is_the_documented_envelope(merchant, control, receiver):
    """Members, headers, signature, ciphertext and plaintext of TRANSACTION.SUCCESS."""
    await _paid(merchant, control, receiver, openid="oUser")

    (callback,) = receiver.received
    envelope = callback.json
    assert merchant.verifies(callback.headers, callback.body)
    assert (callback.headers["Content-Type"], callback.headers["User-Agent"]) == ("application/json", "Mozilla/4.0")
    assert merchant.facts.public_key_id == callback.headers["Wechatpay-Serial"]
    assert re.fullmatch(r"[0-9A-Za-z]{32}", callback.headers["Wechatpay-Nonce"])
    assert list(envelope) == ["id", "create_time", "resource_type", "event_type", "summary", "resource"]
    assert (envelope["resource_type"], envelope["event_type"], envelope["summary"]) == (
        "encrypt-resource",
        "TRANSACTION.SUCCESS",
        "支付成功",
    )
    assert re.fullmatch(r"[0-9a-f-]{36}", envelope["id"])
    resource = envelope["resource"]
    assert (resource["original_type"], resource["algorithm"], resource["associated_data"], len(resource["nonce"])) == (
        "transaction",
        "AEAD_AES_256_GCM",
        "transaction",
        12,
    )


async def test_payment_plaintext_has_the_order_of_real_traffic(merchant, control, receiver):
    """The twelve members of captures; attach is an empty string when none was given."""
    paid = await _paid(merchant, control, receiver, openid="oUser")

    plain = json.loads(merchant.unseal(receiver.received[0].json["resource"]))

    assert list(plain) == [
        "mchid",
        "appid",
        "out_trade_no",
        "transaction_id",
        "trade_type",
        "trade_state",
        "trade_state_desc",
        "bank_type",
        "attach",
        "success_time",
        "payer",
        "amount",
    ]
    assert ("SUCCESS", "", {"openid": "oUser"}, paid["transaction_id"]) == (
        plain["trade_state"],
        plain["attach"],
        plain["payer"],
        plain["transaction_id"],
    )
    assert plain["amount"] == {"total": 100, "payer_total": 100, "currency": "CNY", "payer_currency": "CNY"}


@pytest.mark.parametrize(
    "status, event", [("SUCCESS", "REFUND.SUCCESS"), ("CLOSED", "REFUND.CLOSED"), ("ABNORMAL", "REFUND.ABNORMAL")]
)
async def test_refund_callback_uses_its_own_words(merchant, control, receiver, status, event):
    """refund_status and no appid, currency or channel; success_time only on SUCCESS."""
    await _paid(merchant, control, receiver)
    receiver.received.clear()
    await merchant.refund(notify_url=receiver.url)
    await control("POST", "refunds/refund-1", {"status": status, "wait": True})

    (callback,) = receiver.received
    plain = json.loads(merchant.unseal(callback.json["resource"]))

    assert merchant.verifies(callback.headers, callback.body)
    assert (event, "refund", "refund") == (
        callback.json["event_type"],
        callback.json["resource"]["original_type"],
        callback.json["resource"]["associated_data"],
    )
    assert (status, status == "SUCCESS") == (plain["refund_status"], "success_time" in plain)
    assert not {"status", "appid", "channel"} & plain.keys()
    assert plain["amount"] == {"total": 100, "refund": 40, "payer_total": 100, "payer_refund": 40}


async def test_a_refund_without_notify_url_is_not_announced(merchant, control, receiver):
    """WeChat would fall back to a v2 XML notification, which is not simulated."""
    await _paid(merchant, control, receiver)
    await merchant.refund(notify_url=None)
    await control.advance(5)

    assert 1 == len(receiver.received) == len(await _notices(control))


async def test_retry_table_is_followed_to_the_end(merchant, control, receiver):
    """A first send and fifteen more at the documented distances, then it is given up."""
    receiver.answers = [500] * 16
    await _paid(merchant, control, receiver)

    await control.advance(sum(RETRIES) - 1)
    almost = len(receiver.received)
    await control.advance(1)
    await control.advance(10 * 86400)

    (notice,) = await _notices(control)
    assert (almost, len(receiver.received), notice["state"]) == (15, 16, "given_up")
    times = [datetime.fromisoformat(attempt["at"]).timestamp() for attempt in notice["attempts"]]
    assert [round(later - earlier) for earlier, later in zip(times, times[1:], strict=False)] == RETRIES


async def test_each_send_is_signed_anew_under_the_same_id(merchant, control, receiver):
    """New timestamp header, nonce and signature; the id stays."""
    receiver.answers = [500, 503]
    await _paid(merchant, control, receiver)
    await control.advance(30)

    assert [merchant.verifies(item.headers, item.body) for item in receiver.received] == [True] * 3
    assert len({item.json["id"] for item in receiver.received}) == 1
    assert len({item.headers["Wechatpay-Nonce"] for item in receiver.received}) == 3
    assert len({item.headers["Wechatpay-Signature"] for item in receiver.received}) == 3
    assert (await _notices(control))[0]["state"] == "delivered"


@pytest.mark.parametrize("status, delivered", [(200, True), (204, True), (202, False), (302, False), (400, False)])
async def test_only_200_and_204_end_the_retries(merchant, control, receiver, status, delivered):
    """Everything else is tried again; redirects are not followed."""
    receiver.answers = [status]
    await _paid(merchant, control, receiver)
    await control.advance(15)

    assert (1 if delivered else 2) == len(receiver.received)


async def test_nobody_listening_is_recorded_with_its_reason(merchant, control):
    """The attempt has no status but an error, and the next one is planned."""
    await merchant.prepay(notify_url="http://127.0.0.1:9/notify")
    await control.pay()

    (notice,) = await _notices(control)
    assert (notice["state"], notice["attempts"][0]["status"]) == ("waiting", None)
    assert "refused" in notice["attempts"][0]["error"]
    assert notice["next_at"] == "2026-11-23T12:00:15+08:00"


@pytest.mark.parametrize(
    "url",
    [
        "https://pay.example.com/notify",
        "http://10.0.0.1/notify",
        "http://127.0.0.1.example.com/notify",
        "http://[2001:db8::1]/notify",
        "http://0x7f000001/notify",
    ],
)
async def test_addresses_outside_of_this_machine_are_never_called(merchant, control, url):
    """The prepay takes them, the send is refused by the guard and says so."""
    prepay = await merchant.prepay(notify_url=url)
    await control.pay()
    await control.advance(86400)

    (notice,) = await _notices(control)
    assert (prepay.status, notice["state"], notice["attempts"]) == (200, "refused_by_guard", [])


async def test_paying_without_notification_is_possible(merchant, control, receiver):
    """The lost notification that a merchant must find by asking."""
    await _paid(merchant, control, receiver, notify=False)
    await control.advance(86400)

    assert (receiver.received, await _notices(control), (await merchant.query()).json["trade_state"]) == (
        [],
        [],
        "SUCCESS",
    )


async def _first_id(control):
    return (await _notices(control))[0]["id"]


async def _resend(control, **switches):
    answer = await control("POST", f"notifications/{await _first_id(control)}/resend", switches)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize(
    "switches", [{"probe": True}, {"wrong_signature": True}, {"wrong_serial": True}, {"corrupt_body": True}]
)
async def test_forged_sends_do_not_verify(merchant, control, receiver, switches):
    """Each of them has all headers and a fresh timestamp, and is still wrong."""
    await _paid(merchant, control, receiver)

    await _resend(control, **switches)

    forged = receiver.received[-1]
    assert not merchant.verifies(forged.headers, forged.body)
    assert str(int(merchant.wall())) == forged.headers["Wechatpay-Timestamp"]
    if "probe" in switches:
        assert forged.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")


async def test_stale_sends_are_truly_signed_long_ago(merchant, control, receiver):
    """Only the window can refuse them."""
    await _paid(merchant, control, receiver)

    await _resend(control, stale_seconds=600)

    stale = receiver.received[-1]
    assert merchant.verifies(stale.headers, stale.body)
    assert int(merchant.wall()) - 600 == int(stale.headers["Wechatpay-Timestamp"])


async def test_headers_can_be_dropped_one_by_one_or_all(merchant, control, receiver):
    """For the check that every header is there."""
    await _paid(merchant, control, receiver)

    await _resend(control, drop_headers=["Wechatpay-Nonce"])
    await _resend(control, unsigned=True)

    one, all_gone = receiver.received[-2:]
    assert "Wechatpay-Nonce" not in one.headers
    assert "Wechatpay-Serial" in one.headers
    assert not [name for name in all_gone.headers if name.lower().startswith("wechatpay-")]


async def test_tampered_plaintext_is_truly_signed_and_encrypted(merchant, control, receiver):
    """A verified callback that contradicts the merchant's books."""
    await _paid(merchant, control, receiver)

    await _resend(control, tamper={"amount.total": 1, "mchid": "1900000001", "attach": None})

    changed = receiver.received[-1]
    plain = json.loads(merchant.unseal(changed.json["resource"]))
    assert merchant.verifies(changed.headers, changed.body)
    assert (plain["amount"]["total"], plain["amount"]["payer_total"], plain["mchid"], "attach" in plain) == (
        1,
        100,
        "1900000001",
        False,
    )


async def test_event_words_and_key_can_be_changed(merchant, control, receiver):
    """event_type, original_type, associated_data and the APIv3 key, one at a time."""
    await _paid(merchant, control, receiver)

    await _resend(control, event_type="X.Y", original_type="profitsharing", associated_data="")
    await _resend(control, wrong_api_v3_key=True)

    foreign, other_key = receiver.received[-2:]
    assert (
        foreign.json["event_type"],
        foreign.json["resource"]["original_type"],
        foreign.json["resource"]["associated_data"],
    ) == ("X.Y", "profitsharing", "")
    assert merchant.unseal(foreign.json["resource"])
    assert merchant.verifies(other_key.headers, other_key.body)
    with pytest.raises(InvalidTag):
        merchant.unseal(other_key.json["resource"])


async def test_duplicates_are_sent_at_once_and_told_about(merchant, control, receiver):
    """The control call answers with what each copy was answered."""
    await _paid(merchant, control, receiver)
    receiver.answers = [204, 500, 204]

    told = await _resend(control, duplicate=3)

    assert len(receiver.received) == 4
    assert sorted(item["status"] for item in told["answers"]) == [204, 204, 500]


async def test_arbitrary_callbacks_can_be_crafted(merchant, control, receiver):
    """Any plaintext, event and body, properly signed; it is sent once and never again."""
    crafted = await control(
        "POST",
        "notifications",
        {"url": receiver.url, "event_type": "TRANSACTION.SUCCESS", "plaintext": {"out_trade_no": "made-up-1"}},
    )
    raw = await control("POST", "notifications", {"url": receiver.url, "raw_body": "not json"})
    await control.advance(86400)

    assert (crafted.status, raw.status, len(receiver.received)) == (200, 200, 2)
    first, second = receiver.received
    assert json.loads(merchant.unseal(first.json["resource"])) == {"out_trade_no": "made-up-1"}
    assert second.body == b"not json"
    assert merchant.verifies(second.headers, second.body)


async def test_crafting_for_a_foreign_address_is_guarded_too(control):
    """Nothing is sent, and the answer says why."""
    answer = await control("POST", "notifications", {"url": "https://pay.example.com/notify"})

    assert [item["error"] for item in answer.json["answers"]] == ["not sent: refused_by_guard"]


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"duplicate": 0}, {"probe": "yes"}, {"tamper": []}])
async def test_unknown_or_bad_switches_are_refused(merchant, control, receiver, body):
    """400 and nothing is sent."""
    await _paid(merchant, control, receiver)

    answer = await control("POST", f"notifications/{await _first_id(control)}/resend", body)

    assert (answer.status, answer.json["code"], len(receiver.received)) == (400, "PARAM_ERROR", 1)


async def test_callbacks_are_signed_by_the_mode_and_by_both_during_the_switch(merchant, control, receiver):
    """Certificate mode uses the certificate; during the switch both kinds occur."""
    await _paid(merchant, control, receiver)
    await control("POST", "keys", {"mode": "certificate"})
    await _resend(control)
    await control("POST", "keys", {"mode": "both"})
    await _resend(control)
    await _resend(control)

    serials = [item.headers["Wechatpay-Serial"] for item in receiver.received]
    facts = merchant.facts
    assert [facts.public_key_id, facts.platform_serial_no] == serials[:2]
    assert {facts.public_key_id, facts.platform_serial_no} == set(serials[2:])
    assert all(merchant.verifies(item.headers, item.body) for item in receiver.received)
