"""POST /v3/security/echo: the self-test that needs no money (section 1.7)."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


def _sealed(merchant, text):
    key = serialization.load_pem_public_key(merchant.facts.public_key_path.read_bytes())
    return base64.b64encode(key.encrypt(text.encode(), OAEP)).decode()


def _opened(merchant, text):
    return merchant.key.decrypt(base64.b64decode(text), OAEP).decode()


async def _echo(merchant, serial=None, **body):
    headers = {"Wechatpay-Serial": serial or merchant.facts.public_key_id}
    return await merchant.post("/v3/security/echo", body, headers=headers)


async def test_echo_says_back_both_messages_and_calls_back(merchant, control, receiver):
    """The encrypted one comes back encrypted to the merchant; the callback spells its name differently."""
    answer = await _echo(
        merchant, echo_message="hello", encrypted_echo_message=_sealed(merchant, "秘密"), notify_url=receiver.url
    )
    await control.advance()

    assert (answer.status, answer.json["echo_message"]) == (200, "hello")
    assert _opened(merchant, answer.json["encrypted_echo_message"]) == "秘密"
    (callback,) = receiver.received
    plain = json.loads(merchant.unseal(callback.json["resource"]))
    assert merchant.verifies(callback.headers, callback.body)
    assert (callback.json["event_type"], callback.json["resource"]["original_type"]) == (
        "SECURITY_ECHO.SUCCESS", "security")  # fmt: skip
    assert (sorted(plain), _opened(merchant, plain["encrypt_echo_message"])) == (
        ["echo_message", "encrypt_echo_message"], "秘密")  # fmt: skip


async def test_echo_callbacks_have_their_own_table(merchant, control, receiver):
    """Ten sends at most."""
    receiver.answers = [500] * 20
    await _echo(merchant, echo_message="x", notify_url=receiver.url)
    await control.advance(86400)

    assert len(receiver.received) == 10


@pytest.mark.parametrize("what", ["no serial", "plain text", "unknown member", "too long"])
async def test_echo_refuses_what_it_cannot_read(merchant, receiver, control, what):
    """400 and no callback."""
    body = {"notify_url": receiver.url, "echo_message": "x"}
    headers = {"Wechatpay-Serial": None if what == "no serial" else merchant.facts.public_key_id}
    body |= {
        "no serial": {}, "plain text": {"encrypted_echo_message": "aGVsbG8="}, "unknown member": {"echo": "x"},
        "too long": {"echo_message": "x" * 1025},
    }[what]  # fmt: skip

    answer = await merchant.post("/v3/security/echo", body, headers=headers)
    await control.advance()

    assert (answer.status, answer.json["code"], receiver.received) == (400, "PARAM_ERROR", [])
