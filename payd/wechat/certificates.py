"""Downloaded platform certificates: opening the answer, keeping them on disk, when to download again.

The set in use is replaced as a whole and only by a set that was decrypted with the APIv3 key, verified and checked; a
failed download leaves the old one. Never used in pure public-key mode.
Source: WeChat Pay v3, "download platform certificates" and "verify with platform certificates".
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from payd.errors import VerificationError
from payd.limits import CERT_REFRESH_BUDGET_SECONDS, CERT_REFRESH_SPACING_SECONDS
from payd.logs import get_logger
from payd.ports import Clock
from payd.wechat.http_answer import HttpAnswer
from payd.wechat.key_files import KeyFileProblem, is_valid_at, parse_certificate, read_file
from payd.wechat.keyring import PUBLIC_KEY_PREFIX, MerchantKey, PlatformKey, TrustStore, platform_certificate_issue
from payd.wechat.members import Malformed, optional_object, parse_object, text
from payd.wechat.resource_cipher import RESOURCE_ALGORITHM, ResourceCipher
from payd.wechat.verification import check_signature, check_timestamp, read_signature_headers

CERTIFICATES_MAX = 16

NO_CERTIFICATES_CURE = (
    "this merchant has no platform certificates, as all new merchants; download pub_key.pem in the merchant console "
    "and set wechat_pay.public_key_id and wechat_pay.public_key_path"
)


class DownloadFailed(Exception):
    """No new set; the one in use stays. ``permanent``: asking again soon is no use."""

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        super().__init__(why)
        self.permanent = permanent


def open_certificates(
    answer: HttpAnswer, *, cipher: ResourceCipher, trust: TrustStore, merchant: MerchantKey, clock: Clock
) -> list[x509.Certificate]:
    """Decrypt, verify and check the answer to GET /v3/certificates; certificates that have expired are left out.

    On first use the key that signed the answer is inside it: decrypting proves that the sender knows the APIv3 key,
    then the signature must verify with a certificate of the answer or of the trusted set. Raises DownloadFailed.
    """
    now = clock.now()
    try:
        certificates = [_open_entry(entry, cipher) for entry in _entries(answer.body)]
        fresh = {key.serial: key for key in map(PlatformKey.of_certificate, certificates)}
        headers = read_signature_headers(answer.headers)
        check_timestamp(headers, now=now.timestamp())
        key = trust.lookup(headers.serial) or fresh.get(headers.serial.upper())
        if key is None:
            raise DownloadFailed("the answer is signed by a key that is neither known nor inside it")
        check_signature(headers, answer.body, key)
    except (Malformed, VerificationError, KeyFileProblem) as exc:
        raise DownloadFailed(f"the list of platform certificates cannot be trusted: {exc}") from exc
    for certificate in certificates:
        issue = platform_certificate_issue(certificate, merchant.mchid, merchant.private_key)
        if issue is not None:
            raise DownloadFailed(f"a downloaded certificate {issue}")
    valid = [certificate for certificate in certificates if now <= certificate.not_valid_after_utc]
    if not valid:
        raise DownloadFailed("every platform certificate has expired")
    return valid


def _entries(body: bytes) -> list[dict[str, Any]]:
    entries = parse_object(body).get("data")
    if not isinstance(entries, list) or not 0 < len(entries) <= CERTIFICATES_MAX:
        raise Malformed("data is no list of certificates")
    if not all(isinstance(entry, dict) for entry in entries):
        raise Malformed("data holds something else than certificates")
    return entries


def _open_entry(entry: dict[str, Any], cipher: ResourceCipher) -> x509.Certificate:
    sealed = optional_object(entry, "encrypt_certificate")
    if sealed.get("algorithm") != RESOURCE_ALGORITHM:
        raise Malformed("a certificate is sealed with an unknown algorithm")
    associated_data = sealed.get("associated_data")
    pem = cipher.open(
        ciphertext=_ciphertext(sealed),
        nonce=text(sealed, "nonce"),
        associated_data=associated_data if isinstance(associated_data, str) else "",
    )
    certificate = parse_certificate(pem, "a downloaded certificate")
    serial = text(entry, "serial_no").upper().lstrip("0")
    if serial != f"{certificate.serial_number:X}":
        raise Malformed("serial_no is not that of the certificate inside")
    return certificate


def _ciphertext(sealed: Any) -> str:
    value = sealed.get("ciphertext")
    if not isinstance(value, str):
        raise Malformed("ciphertext is no text")
    return value


class CertificateCache:
    """The last downloaded set, in one PEM file, replaced atomically. ``name`` tells merchants and hosts apart."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.pem"

    def load(self, *, clock: Clock) -> list[x509.Certificate]:
        """Read the set; empty when there is none or it cannot be used. Expired ones are left out."""
        if not self._path.exists():
            return []
        try:
            certificates = x509.load_pem_x509_certificates(read_file(self._path))
        except (KeyFileProblem, ValueError):
            return []
        return [certificate for certificate in certificates if is_valid_at(certificate, clock.now())]

    def save(self, certificates: Sequence[x509.Certificate]) -> None:
        """Write the whole set beside the file and put it in its place. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


class CertificateRefresher:
    """When to download: on schedule, and once for an unknown serial (not more often than every 30 s).

    ``download`` returns a checked set or raises DownloadFailed. Concurrent wishes share one download.
    """

    def __init__(
        self,
        trust: TrustStore,
        *,
        enabled: bool,
        interval_seconds: int,
        download: Callable[[], Awaitable[Sequence[x509.Certificate]]],
        cache: CertificateCache | None,
        clock: Clock,
    ) -> None:
        self._trust = trust
        self._enabled = enabled
        self._interval_seconds = interval_seconds
        self._download = download
        self._cache = cache
        self._clock = clock
        self._log = get_logger("payd.wechat")
        self._due_at = float("-inf")
        self._unknown_allowed_at = float("-inf")
        self._running: asyncio.Task[None] | None = None
        if enabled and cache is not None:
            trust.replace_downloaded(map(PlatformKey.of_certificate, cache.load(clock=clock)))

    async def refresh_if_due(self) -> None:
        """Download when the schedule says so; a failed download is tried again after half a minute. Never raises."""
        self._trust.forget_expired(self._clock.now())
        if self._enabled and self._clock.monotonic() >= self._due_at:
            await asyncio.shield(self._start())

    async def refresh_for_unknown(self, serial: str) -> None:
        """Give an unknown serial one chance: wait at most 2 s for a download, if one may be made. Never raises."""
        if not self._enabled or serial.startswith(PUBLIC_KEY_PREFIX):
            return
        if self._running is None:
            now = self._clock.monotonic()
            if now < self._unknown_allowed_at:
                return
            self._unknown_allowed_at = now + CERT_REFRESH_SPACING_SECONDS
        await asyncio.wait({self._start()}, timeout=CERT_REFRESH_BUDGET_SECONDS)

    async def close(self) -> None:
        """Stop a download under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def _start(self) -> asyncio.Task[None]:
        if self._running is None:
            self._running = asyncio.ensure_future(self._refresh())
            self._running.add_done_callback(self._finished)
        return self._running

    def _finished(self, _task: asyncio.Task[None]) -> None:
        self._running = None

    async def _refresh(self) -> None:
        wait: float = CERT_REFRESH_SPACING_SECONDS
        try:
            certificates = await self._download()
        except DownloadFailed as exc:
            wait = self._interval_seconds if exc.permanent else wait
            serials = self._trust.status().serials
            if exc.permanent and serials:
                self._log.info("no_platform_certificates", serials=serials)
            else:
                self._log.warning("platform_certificates_not_refreshed", why=str(exc), serials=serials)
        else:
            wait = self._interval_seconds
            self._trust.replace_downloaded(map(PlatformKey.of_certificate, certificates))
            self._log.info("platform_certificates_refreshed", serials=self._trust.status().serials)
            await self._save(certificates)
        self._due_at = self._clock.monotonic() + wait

    async def _save(self, certificates: Sequence[x509.Certificate]) -> None:
        if self._cache is None:
            return
        try:
            await asyncio.to_thread(self._cache.save, certificates)
        except OSError as exc:
            self._log.warning("platform_certificates_not_saved", why=exc.strerror)
