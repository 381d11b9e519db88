"""Verifies merchants' requests and signs WeChat's answers, strictly by sections 1 and 2.

This module is the second witness to the protocol: it shares no code with any client, so a client that passes
here agrees with PROTOCOL.md and not merely with itself. It never repairs anything: what is not exactly
as documented is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from payd.sandbox.errors import Refusal
from payd.sandbox.platform_keys import PlatformKey
from payd.sandbox.refusals import refusal

SCHEME = "WECHATPAY2-SHA256-RSA2048"
WINDOW_SECONDS = 300  # section 1.5
_REMEMBERED_NONCES = 100_000
_FIELDS = frozenset(("mchid", "nonce_str", "signature", "timestamp", "serial_no"))
_PAIR = re.compile(r'([a-z_]+)="([^"]*)"')
_HEADER = re.compile(r'[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*"){4}')
_NONCE = re.compile(r"[\x21-\x7e]{1,32}")
_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class SignedText:
    """The five things a request's signature covers (section 1.2), exactly as they were on the wire."""

    method: str
    target: str
    body: bytes


class RequestWitness:
    """Decides whether a request was signed by the one merchant we know."""

    def __init__(self, *, mchid: str, serial_no: str, public_key: rsa.RSAPublicKey, wall: Callable[[], float]) -> None:
        self._mchid = mchid
        self._serial_no = serial_no
        self._public_key = public_key
        self._wall = wall
        self.refuse_replays = False
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def verify(self, authorization: str | None, text: SignedText, *, skew_seconds: float = 0) -> None:
        """Raise the 401 that WeChat would answer, or return when the request is authentic.

        The order of checks is that of sections 1.6 and 14: header there, syntax, window, serial, signature.
        ``skew_seconds`` is how far WeChat's clock is ahead of the wall clock.
        """
        pay = text.target.startswith("/v3/pay/transactions/")
        if authorization is None:
            raise refusal("pay_unauthorized" if pay else "authorization_missing")
        fields = _parse(authorization)
        now = self._wall() + skew_seconds
        if abs(now - int(fields["timestamp"])) > WINDOW_SECONDS:
            raise refusal("timestamp_window")
        if fields["mchid"] != self._mchid or fields["serial_no"] != self._serial_no:
            raise refusal("merchant_serial")
        head = f"{text.method}\n{text.target}\n{fields['timestamp']}\n{fields['nonce_str']}\n"
        signed = head.encode() + text.body + b"\n"
        try:
            signature = base64.b64decode(fields["signature"], validate=True)
            self._public_key.verify(signature, signed, _PADDING, _SHA256)
        except (binascii.Error, InvalidSignature):
            raise _signature_refusal(text, signed) from None
        self._remember(fields["nonce_str"])

    def verify_text(self, lines: tuple[str, ...], signature: str) -> bool:
        """True when the merchant signed ``lines``, each ended by LF (client pay parameters, section 5.5)."""
        signed = "".join(f"{line}\n" for line in lines).encode()
        try:
            self._public_key.verify(base64.b64decode(signature, validate=True), signed, _PADDING, _SHA256)
        except (binascii.Error, InvalidSignature):
            return False
        return True

    def _remember(self, nonce: str) -> None:
        """Refuse a nonce that was used before, when that switch is on (unverified, section 15 no. 1)."""
        if not self.refuse_replays:
            return
        if nonce in self._nonces:
            raise refusal("nonce_used")
        self._nonces[nonce] = None
        if len(self._nonces) > _REMEMBERED_NONCES:
            self._nonces.popitem(last=False)


def _parse(authorization: str) -> dict[str, str]:
    """The five values of the header; anything but the documented syntax is refused (section 1.1)."""
    scheme, space, rest = authorization.partition(" ")
    if scheme != SCHEME or not space or not _HEADER.fullmatch(rest):
        raise refusal("authorization_format")
    fields = dict(_PAIR.findall(rest))
    timestamp = fields.get("timestamp", "")
    plain = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if fields.keys() != _FIELDS or not plain or not _NONCE.fullmatch(fields["nonce_str"]):
        raise refusal("authorization_format")
    return fields


def _signature_refusal(text: SignedText, signed: bytes) -> Refusal:
    """The 401 of a wrong signature, with what WeChat tells about the text it signed (section 1.6)."""
    return refusal(
        "signature_wrong",
        detail={
            "field": "signature",
            "location": "authorization",
            "detail": {"issue": "sign not match"},
            "sign_information": {
                "method": text.method,
                "url": text.target,
                "truncated_sign_message": signed[:256].decode("utf-8", "replace"),
                "sign_message_length": len(signed),
            },
        },
    )


def sign(key: rsa.RSAPrivateKey, text: bytes) -> str:
    """RSASSA-PKCS1-v1_5 with SHA-256, Base64 (section 2.1); about 0.3 ms."""
    return base64.b64encode(key.sign(text, _PADDING, _SHA256)).decode()


def signature_headers(key: PlatformKey, body: bytes, *, timestamp: int, nonce: str) -> Mapping[str, str]:
    """The five ``Wechatpay-*`` headers over ``body``, which may be empty (section 2.2)."""
    text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    return {
        "Wechatpay-Timestamp": str(timestamp),
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": sign(key.private_key, text),
        "Wechatpay-Serial": key.serial,
        "Wechatpay-Signature-Type": SCHEME,
    }


def probe_signature() -> str:
    """A signature probe (section 2.4): the known prefix, then 344 characters that verify nothing.

    With the prefix the length is no multiple of four, so a strict Base64 decoder fails on it.
    """
    return "WECHATPAY/SIGNTEST/" + foreign_signature()


def foreign_signature() -> str:
    """Well-formed Base64 of 256 random bytes: the right shape, nobody's signature."""
    return base64.b64encode(secrets.token_bytes(256)).decode()
