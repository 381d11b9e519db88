"""What WeChat signs and how it is checked: the same four headers and three lines for answers and callbacks.

Verification raises VerificationError; nothing here returns False. The raw body bytes are checked as they came.
Source: WeChat Pay v3, "verify the signature of responses and callbacks".
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from payd.errors import VerificationError
from payd.http_headers import Headers
from payd.limits import CALLBACK_WINDOW_SECONDS
from payd.wechat.keyring import PlatformKey

TIMESTAMP_HEADER: Final = "Wechatpay-Timestamp"
NONCE_HEADER: Final = "Wechatpay-Nonce"
SIGNATURE_HEADER: Final = "Wechatpay-Signature"
SERIAL_HEADER: Final = "Wechatpay-Serial"
TYPE_HEADER: Final = "Wechatpay-Signature-Type"
REQUEST_ID_HEADER: Final = "Request-ID"

SIGNATURE_TYPE: Final = "WECHATPAY2-SHA256-RSA2048"

#: WeChat sends wrong signatures on purpose, with this beginning, to see whether they are checked.
PROBE_PREFIX: Final = "WECHATPAY/SIGNTEST/"
PROBE: Final = "probe"

_REQUIRED: Final = (TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER, SERIAL_HEADER)
_REQUIRED_FIELDS: Final = tuple(name.lower() for name in _REQUIRED)
_TIMESTAMP_DIGITS_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class SignatureHeaders:
    """The four headers, present and printable ASCII; nothing else is known about them yet."""

    timestamp: str
    nonce: str
    signature: str
    serial: str

    def signed_text(self, body: bytes) -> bytes:
        """Lay out what WeChat signs: timestamp, nonce, body, each ended by one line feed."""
        return b"%b\n%b\n%b\n" % (self.timestamp.encode("ascii"), self.nonce.encode("ascii"), body)


def read_signature_headers(headers: Mapping[str, str]) -> SignatureHeaders:
    """Take the four headers, whatever their case. Raises VerificationError ``headers``."""
    fields = headers if isinstance(headers, Headers) else Headers.of(headers)
    timestamp, nonce, signature, serial = values = [fields.find(name) or "" for name in _REQUIRED_FIELDS]
    missing = [name for name, value in zip(_REQUIRED, values, strict=True) if not value]
    if missing:
        raise VerificationError("headers", f"missing {', '.join(missing)}")
    together = "".join(values)
    if not (together.isascii() and together.isprintable()):
        raise VerificationError("headers", "a signature header is not printable ASCII")
    if fields.get(TYPE_HEADER, SIGNATURE_TYPE) != SIGNATURE_TYPE:
        raise VerificationError("headers", "the signature type is not RSA with SHA-256")
    return SignatureHeaders(timestamp, nonce, signature, serial)


def check_timestamp(headers: SignatureHeaders, *, now: float) -> None:
    """Refuse what was signed over five minutes away, past or future. ``now`` in Unix seconds.

    Raises VerificationError ``timestamp``.
    """
    text = headers.timestamp
    if not text.isdigit() or len(text) > _TIMESTAMP_DIGITS_MAX:
        raise VerificationError("timestamp", "the timestamp is no number of seconds")
    if abs(int(now) - int(text)) > CALLBACK_WINDOW_SECONDS:  # both in whole seconds: the window is alike on both sides
        raise VerificationError("timestamp", f"signed {now - int(text):+.0f} s ago; is this machine's clock right?")


def check_signature(headers: SignatureHeaders, body: bytes, key: PlatformKey) -> None:
    """Verify RSA over the raw body. Raises VerificationError ``signature``, with reason `PROBE` for a probe."""
    try:
        signature = binascii.a2b_base64(headers.signature, strict_mode=True)
        key.verify(signature, headers.signed_text(body))
    except (binascii.Error, VerificationError) as exc:
        # A probe goes through the ordinary check and fails like any forgery; only its name differs.
        reason = PROBE if headers.signature.startswith(PROBE_PREFIX) else "the signature does not verify"
        raise VerificationError("signature", reason) from exc
