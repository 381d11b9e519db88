"""Opening a callback: checks 1 to 6 of the published list. After them it is WeChat's word, not yet compared.

Lean on purpose: this path carries the load. It never logs, never writes, and raises nothing but VerificationError.
Source: WeChat Pay v3, "verify callbacks", "decrypt callbacks", payment and refund notification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from payd.errors import VerificationError
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.notification import OpenedNotification, Step
from payd.ports import Clock
from payd.wechat import evidence
from payd.wechat.answers import request_id_of
from payd.wechat.certificates import CertificateRefresher
from payd.wechat.keyring import PlatformKey, TrustStore
from payd.wechat.members import Malformed
from payd.wechat.resource_cipher import RESOURCE_ALGORITHM, ResourceCipher
from payd.wechat.verification import check_signature, check_timestamp, read_signature_headers

#: The numbered checks made here, in this order; `VerificationError.step` is one of them (or ``resource``, later).
STEPS: Final = ("headers", "timestamp", "serial", "signature", "envelope", "decrypt")

_OK: Final = {name: Step(step=name, verdict="ok") for name in STEPS}
_BAD_REQUEST: Final = 400


class NotificationOpener:
    """Verifies and decrypts callbacks."""

    def __init__(self, *, trust: TrustStore, refresher: CertificateRefresher, cipher: ResourceCipher, clock: Clock):
        self._trust = trust
        self._refresher = refresher
        self._cipher = cipher
        self._clock = clock

    async def open(self, headers: Mapping[str, str], body: bytes, steps: list[Step]) -> OpenedNotification:
        """Run the checks on the raw bytes; each verdict is appended to ``steps``. Raises VerificationError.

        What must be shown, in this order, and nothing is read out of the body before (4) holds:

        (1) headers: the four Wechatpay headers are there, and the signature type, if named, is RSA with SHA-256;
        (2) timestamp: signed within five minutes of now, past or future;
        (3) serial: it names a key that is trusted; an unknown one gets one refresh, rate-limited;
        (4) signature: RSA over timestamp, nonce and the raw body verifies with that key;
        (5) envelope: the body is the JSON object of a notification, sealed with AEAD_AES_256_GCM;
        (6) decrypt: the resource opens with the APIv3 key and is a JSON object.

        The caller still owes: event and original type, mchid and appid, known order, amount and currency.
        """
        try:
            # (1)
            signed = read_signature_headers(headers)
            steps.append(_OK["headers"])
            # (2)
            check_timestamp(signed, now=self._clock.now().timestamp())
            steps.append(_OK["timestamp"])
            # (3)
            key = self._trust.lookup(signed.serial) or await self._find_key(signed.serial)
            steps.append(_OK["serial"])
            # (4)
            check_signature(signed, body, key)
            steps.append(_OK["signature"])
            # (5)
            envelope, sealed = _read_envelope(body)
            steps.append(_OK["envelope"])
            # (6)
            resource = self._open_resource(sealed)
            steps.append(_OK["decrypt"])
        except VerificationError as failure:
            steps.append(Step(step=failure.step, verdict=failure.reason))
            raise
        return OpenedNotification(
            wechat_id=envelope["id"],
            event_type=envelope["event_type"],
            original_type=sealed["original_type"],
            resource=resource,
            request_id=request_id_of(headers),
        )

    async def _find_key(self, serial: str) -> PlatformKey:
        await self._refresher.refresh_for_unknown(serial)
        key = self._trust.lookup(serial)
        if key is None:
            raise VerificationError("serial", "no trusted platform key has this serial")
        return key

    def _open_resource(self, sealed: Mapping[str, Any]) -> Mapping[str, Any]:
        plain = self._cipher.open(
            ciphertext=sealed["ciphertext"],
            nonce=sealed["nonce"],
            associated_data=sealed.get("associated_data") or "",
        )
        try:
            resource = orjson.loads(plain)
        except orjson.JSONDecodeError as exc:
            raise VerificationError("decrypt", "the resource is not JSON", status=_BAD_REQUEST) from exc
        if not isinstance(resource, dict):
            raise VerificationError("decrypt", "the resource is not a JSON object", status=_BAD_REQUEST)
        return resource


def _read_envelope(body: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Parse the envelope; the members that are used have their types. Raises VerificationError ``envelope``."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise VerificationError("envelope", "the body is not JSON", status=_BAD_REQUEST) from exc
    sealed = envelope.get("resource") if isinstance(envelope, dict) else None
    if not isinstance(sealed, dict):
        raise VerificationError("envelope", "the body is no notification", status=_BAD_REQUEST)
    texts = [envelope.get("id"), envelope.get("event_type")]
    texts += [sealed.get("original_type"), sealed.get("ciphertext"), sealed.get("nonce")]
    associated_data = sealed.get("associated_data")
    if "" in texts or {*map(type, texts)} != {str} or type(associated_data) not in (str, type(None)):
        raise VerificationError("envelope", "a member of the notification is missing", status=_BAD_REQUEST)
    if sealed.get("algorithm") != RESOURCE_ALGORITHM:
        raise VerificationError("envelope", "the resource is sealed with another algorithm", status=_BAD_REQUEST)
    return envelope, sealed


def read_payment(opened: OpenedNotification) -> PaymentEvidence:
    """Read a decrypted ``transaction`` resource. Raises VerificationError ``resource``."""
    try:
        return evidence.payment_evidence(opened.resource, source=Source.NOTIFICATION, request_id=opened.request_id)
    except Malformed as exc:
        raise VerificationError("resource", str(exc), status=_BAD_REQUEST) from exc


def read_refund(opened: OpenedNotification) -> RefundEvidence:
    """Read a decrypted ``refund`` resource; its status member is ``refund_status``. Raises VerificationError."""
    try:
        return evidence.refund_evidence(
            opened.resource, status_member="refund_status", source=Source.NOTIFICATION, request_id=opened.request_id
        )
    except Malformed as exc:
        raise VerificationError("resource", str(exc), status=_BAD_REQUEST) from exc
