"""The merchant's key and the platform keys: loaded, checked against each other, looked up by serial.

Five different things are mixed up in the field (merchant serial, platform serial, public key id, and the files of
each); every mix-up that can be seen at start is a complaint that says the cure. Nothing here talks to the network.

What is checked of a platform certificate: RSA-2048, dates, that it is not the merchant's own. The Tenpay root is not
built in: a downloaded certificate is trusted because only WeChat knows the APIv3 key that its AEAD seal needs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from payd.errors import Complaint, KeyMaterialError, VerificationError
from payd.models.wechat import KeyStatus
from payd.wechat.key_files import (
    KeyFileProblem,
    is_valid_at,
    load_certificate,
    load_private_key,
    load_public_key,
    normal_serial,
    rsa_key_of,
    serial_of,
    subject_names,
)
from payd.wechat.settings import API_V3_KEY_BYTES, ClientSettings

PUBLIC_KEY_PREFIX: Final = "PUB_KEY_ID_"

_HEX_SERIAL: Final = re.compile(r"[0-9A-F]{8,40}", re.ASCII)
_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class MerchantKey:
    """Who signs: ``serial`` is the MERCHANT certificate's, upper-case hex."""

    mchid: str
    serial: str
    private_key: RSAPrivateKey

    def sign(self, text: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256 (WeChat section 1.1); about 230 us, without the GIL."""
        return self.private_key.sign(text, _PADDING, _HASH)


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key of WeChat's. ``serial`` is a certificate serial or a ``PUB_KEY_ID_``; dates are None for the latter."""

    serial: str
    public_key: RSAPublicKey
    not_before: datetime | None = None
    not_after: datetime | None = None

    @staticmethod
    def of_certificate(certificate: x509.Certificate) -> PlatformKey:
        """Make the entry of a certificate that was checked before."""
        return PlatformKey(
            serial=serial_of(certificate),
            public_key=rsa_key_of(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )

    def verify(self, signature: bytes, text: bytes) -> None:
        """Check RSASSA-PKCS1-v1_5 with SHA-256 over ``text`` (RFC 8017, 8.2.2). Raises VerificationError.

        OpenSSL checks the padding and which digest it is, and gives the digest. ``verify`` of the library does the same
        and lets the interpreter go meanwhile: for 20 us of work the loop would queue behind the writer's thread.
        """
        try:
            digest = self.public_key.recover_data_from_signature(signature, _PADDING, _HASH)
        except InvalidSignature as exc:
            raise VerificationError("signature", "signature does not verify") from exc
        if not hmac.compare_digest(digest, hashlib.sha256(text).digest()):
            raise VerificationError("signature", "signature does not verify")


class TrustStore:
    """Serial -> platform key: the static ones of the configuration and the downloaded set.

    Changes only by `replace_downloaded` and `forget_expired`: a lookup sees the old set or the new one.
    """

    def __init__(self, static: Iterable[PlatformKey], *, configured_serial: str | None) -> None:
        self._static = tuple(static)
        self._downloaded: tuple[PlatformKey, ...] = ()
        self._configured_serial = configured_serial
        self._by_serial = self._index()

    def lookup(self, serial: str) -> PlatformKey | None:
        """Find the key of a ``Wechatpay-Serial``. Certificate serials compare as numbers do, key ids exactly."""
        return self._by_serial.get(serial) or self._by_serial.get(_canonical(serial))

    def replace_downloaded(self, keys: Iterable[PlatformKey]) -> None:
        """Put a whole downloaded set in the place of the one before."""
        self._downloaded = tuple(keys)
        self._by_serial = self._index()

    def forget_expired(self, now: datetime) -> None:
        """Stop trusting certificates whose time is over; the public key has no end."""
        if any(key.not_after is not None and key.not_after < now for key in (*self._static, *self._downloaded)):
            self._static = _unexpired(self._static, now)
            self._downloaded = _unexpired(self._downloaded, now)
            self._by_serial = self._index()

    def preferred(self, now: datetime) -> PlatformKey | None:
        """Choose the key to name and to encrypt with: the public key, else the newest certificate in force."""
        keys = (*self._static, *self._downloaded)
        for key in keys:
            if key.not_after is None:
                return key
        in_force = [
            (key.not_before, key.serial, key)
            for key in keys
            if key.not_before is not None and key.not_after is not None and key.not_before <= now <= key.not_after
        ]
        return max(in_force, key=lambda entry: entry[:2])[2] if in_force else None

    def request_serial(self, now: datetime) -> str | None:
        """Choose the ``Wechatpay-Serial`` of a request; before the first download it is the configured serial."""
        key = self.preferred(now)
        return key.serial if key is not None else self._configured_serial

    def status(self) -> KeyStatus:
        """Say which keys are there; ``not_after`` is the last end among the certificates."""
        keys = {key.serial: key for key in (*self._static, *self._downloaded)}
        ends = [key.not_after for key in keys.values() if key.not_after is not None]
        return KeyStatus(loaded=bool(keys), serials=tuple(keys), not_after=max(ends) if ends else None)

    def _index(self) -> dict[str, PlatformKey]:
        keys = (*self._downloaded, *self._static)
        return {form: key for key in keys for form in (key.serial, _canonical(key.serial))}


@dataclass(frozen=True, slots=True)
class Keyring:
    """Everything that was loaded and found to fit together."""

    merchant: MerchantKey
    trust: TrustStore


def load_keyring(settings: ClientSettings, *, now: datetime) -> Keyring:
    """Load and cross-check all key material. Raises KeyMaterialError with every complaint, one a line."""
    keyring, complaints = inspect_keys(settings, now=now)
    if keyring is None or complaints:
        raise KeyMaterialError("\n".join(f"{c.field}: {c.issue}" for c in complaints))
    return keyring


def inspect_keys(settings: ClientSettings, *, now: datetime) -> tuple[Keyring | None, list[Complaint]]:
    """Load and cross-check all key material; the complaints say what is wrong and how to cure it."""
    inspection = _Inspection(settings, now)
    inspection.check_api_v3_key()
    private_key = inspection.load_private_key()
    platform = inspection.load_platform_certificate(private_key)
    serial = inspection.merchant_serial(private_key, platform)
    public = inspection.load_public_key(private_key)
    if inspection.complaints or private_key is None or serial is None:
        return None, inspection.complaints
    configured = None if settings.platform_serial_no is None else normal_serial(settings.platform_serial_no)
    trust = TrustStore([key for key in (public, platform) if key is not None], configured_serial=configured)
    # A file of years ago is no reason not to start: the list is downloaded, and `key_status` shows what is trusted.
    trust.forget_expired(now)
    return Keyring(merchant=MerchantKey(settings.mchid, serial, private_key), trust=trust), []


class _Inspection:
    """One pass over the settings that collects complaints instead of stopping at the first."""

    def __init__(self, settings: ClientSettings, now: datetime) -> None:
        self.settings = settings
        self.now = now
        self.complaints: list[Complaint] = []

    def complain(self, key: str, issue: str) -> None:
        self.complaints.append(Complaint(f"wechat_pay.{key}", issue))

    def attempt(self, key: str, load: Callable[[], _T]) -> _T | None:
        try:
            return load()
        except KeyFileProblem as problem:
            self.complain(key, str(problem))
            return None

    def check_api_v3_key(self) -> None:
        length = len(self.settings.api_v3_key)
        if length != API_V3_KEY_BYTES:
            self.complain("api_v3_key", f"must be exactly {API_V3_KEY_BYTES} bytes, this is {length}")

    def load_private_key(self) -> RSAPrivateKey | None:
        settings = self.settings
        return self.attempt(
            "private_key_path", lambda: load_private_key(settings.private_key_path, settings.private_key_passphrase)
        )

    def load_platform_certificate(self, private_key: RSAPrivateKey | None) -> PlatformKey | None:
        settings = self.settings
        serial = settings.platform_serial_no
        if serial is not None and serial.strip().startswith(PUBLIC_KEY_PREFIX):
            self.complain("serial_no", "is a WeChat Pay public key id; it belongs in wechat_pay.public_key_id")
        path = settings.platform_cert_path
        if path is None:
            return None
        certificate = self.attempt(
            "platform_cert_path", lambda: load_certificate(path, "WeChat's platform certificate (wechatpay_....pem)")
        )
        if certificate is None:
            return None
        issue = platform_certificate_issue(certificate, settings.mchid, private_key)
        if issue is not None:
            self.complain("platform_cert_path", issue)
            return None
        key = PlatformKey.of_certificate(certificate)
        if serial is not None and _canonical(normal_serial(serial)) != _canonical(key.serial):
            self.complain("serial_no", f"is not the serial of {path}, which is {key.serial}")
        return key

    def merchant_serial(self, private_key: RSAPrivateKey | None, platform: PlatformKey | None) -> str | None:
        settings = self.settings
        from_certificate = self._serial_of_merchant_certificate(private_key)
        if settings.merchant_serial_no is None:
            if from_certificate is None and settings.merchant_cert_path is None:
                self.complain("merchant_serial_no", "is required (or merchant_cert_path)")
            return from_certificate
        serial = normal_serial(settings.merchant_serial_no)
        issue = self._merchant_serial_issue(serial, from_certificate, platform)
        if issue is not None:
            self.complain("merchant_serial_no", issue)
            return None
        return serial

    def _merchant_serial_issue(
        self, serial: str, from_certificate: str | None, platform: PlatformKey | None
    ) -> str | None:
        cure = "here belongs the serial of YOUR certificate (openssl x509 -in apiclient_cert.pem -noout -serial)"
        if serial.startswith(PUBLIC_KEY_PREFIX):
            return f"is a WeChat Pay public key id; {cure}"
        if not _HEX_SERIAL.fullmatch(serial):
            return f"must be hex digits, not decimal; {cure}"
        configured = self.settings.platform_serial_no
        platform_serials = [platform.serial] if platform is not None else []
        platform_serials += [normal_serial(configured)] if configured is not None else []
        if _canonical(serial) in [_canonical(other) for other in platform_serials]:
            return f"is the serial of WeChat's platform certificate; {cure}"
        if from_certificate is not None and _canonical(serial) != _canonical(from_certificate):
            return f"is not the serial of merchant_cert_path, which is {from_certificate}"
        return None

    def _serial_of_merchant_certificate(self, private_key: RSAPrivateKey | None) -> str | None:
        path = self.settings.merchant_cert_path
        if path is None:
            return None
        certificate = self.attempt(
            "merchant_cert_path", lambda: load_certificate(path, "the merchant's apiclient_cert.pem")
        )
        if certificate is None:
            return None
        common_name, subject = subject_names(certificate)
        if "tenpay" in subject.lower() and common_name != self.settings.mchid:
            issue: str | None = (
                f"{path} is WeChat's platform certificate; here belongs the merchant's apiclient_cert.pem"
            )
        elif common_name != self.settings.mchid:
            issue = f"{path} was issued to {common_name or 'nobody'}, not to merchant {self.settings.mchid}"
        elif private_key is not None and rsa_key_of(certificate) != private_key.public_key():
            issue = f"{path} does not belong to private_key_path; take both files from the same download"
        elif not is_valid_at(certificate, self.now):
            issue = f"{path} is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc} only"
        else:
            issue = None
        if issue is not None:
            self.complain("merchant_cert_path", issue)
            return None
        return serial_of(certificate)

    def load_public_key(self, private_key: RSAPrivateKey | None) -> PlatformKey | None:
        key_id, path = self.settings.public_key_id, self.settings.public_key_path
        if key_id is None and path is None:
            return None
        if key_id is None or path is None:
            self.complain("public_key_id", "public_key_id and public_key_path go together")
            return None
        if not key_id.startswith(PUBLIC_KEY_PREFIX):
            self.complain("public_key_id", f"must begin with {PUBLIC_KEY_PREFIX}, as the merchant console shows it")
        public_key = self.attempt("public_key_path", lambda: load_public_key(path))
        if public_key is None:
            return None
        if private_key is not None and public_key == private_key.public_key():
            self.complain(
                "public_key_path", f"{path} is your own public key; here belongs the pub_key.pem of WeChat Pay"
            )
            return None
        return PlatformKey(serial=key_id, public_key=public_key)


def platform_certificate_issue(
    certificate: x509.Certificate, mchid: str, private_key: RSAPrivateKey | None
) -> str | None:
    """Say why a certificate cannot be WeChat's, None when nothing speaks against it. Dates are not looked at."""
    common_name, _ = subject_names(certificate)
    own = private_key is not None and rsa_key_of(certificate) == private_key.public_key()
    if own or common_name == mchid:
        return "is your own merchant certificate (apiclient_cert.pem); here belongs WeChat's platform certificate"
    return None


def _unexpired(keys: Iterable[PlatformKey], now: datetime) -> tuple[PlatformKey, ...]:
    return tuple(key for key in keys if key.not_after is None or now <= key.not_after)


def _canonical(serial: str) -> str:
    """Write a certificate serial as a number is written; a key id, however spelled, stays as it is."""
    digits = serial.upper()
    return serial if digits.startswith(PUBLIC_KEY_PREFIX) else digits.lstrip("0")
