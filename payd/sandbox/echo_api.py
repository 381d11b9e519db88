"""POST /v3/security/echo: the self-test of signing, encryption and callbacks (section 1.7)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from payd.sandbox.exchange import Answer, Call
from payd.sandbox.fields import Place
from payd.sandbox.notifier import Notifier
from payd.sandbox.payload_cipher import decrypt_field, encrypt_field
from payd.sandbox.refusals import refusal
from payd.sandbox.request_rules import ECHO
from payd.sandbox.world import World


class EchoApi:
    """Says back what it was told, encrypted to the merchant's certificate where it came encrypted."""

    def __init__(self, world: World, notifier: Notifier) -> None:
        self._world = world
        self._notifier = notifier

    def echo(self, call: Call) -> Answer:
        """Answer with the messages, and call back with them when there is a ``notify_url``."""
        body = dict(call.body)
        ECHO.check(body, Place("body"))
        if call.wechatpay_serial is None:
            raise refusal("platform_serial_missing")
        answer: dict[str, str] = {}
        event: dict[str, str] = {}
        if "echo_message" in body:
            answer["echo_message"] = event["echo_message"] = body["echo_message"]
        if "encrypted_echo_message" in body:
            again = self._encrypt_again(body["encrypted_echo_message"], call.wechatpay_serial)
            answer["encrypted_echo_message"] = again
            event["encrypt_echo_message"] = again  # the callback spells it differently
        if "notify_url" in body:
            self._notifier.announce(
                call.now,
                event_type="SECURITY_ECHO.SUCCESS",
                original_type="security",
                summary="安全回显",
                plaintext=event,
                url=body["notify_url"],
                schedule="echo",
            )
        return Answer.of(answer)

    def _encrypt_again(self, sealed: str, serial: str) -> str:
        """Open a field with the platform key that the header names; seal it to the merchant."""
        try:
            message = decrypt_field(sealed, self._world.keys.signer(serial).private_key)
        except ValueError as exc:
            raise refusal("sensitive_field") from exc
        merchant_key = self._world.vault.merchant_certificate.public_key()
        assert isinstance(merchant_key, rsa.RSAPublicKey)
        return encrypt_field(message, merchant_key)
