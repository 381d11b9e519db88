"""WeChat's side of the platform keys: which are valid, which one signs, and their rotation.

Three modes (section 3.3 of PROTOCOL.md): ``public_key`` (new merchants, the default), ``certificate``
(older merchants) and ``both`` (the switch between them).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from payd.sandbox import throwaway_keys
from payd.sandbox.errors import ControlRefused
from payd.sandbox.merchant import Vault
from payd.sandbox.refusals import refusal

MODES = ("public_key", "certificate", "both")
ROTATIONS = ("publish", "switch", "retire")


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """One key that WeChat signs with; ``certificate`` is None for the WeChat Pay public key."""

    serial: str
    private_key: rsa.RSAPrivateKey
    certificate: x509.Certificate | None

    @property
    def pem(self) -> bytes:
        """The certificate as PEM; only a certificate has one."""
        assert self.certificate is not None
        return self.certificate.public_bytes(serialization.Encoding.PEM)


class PlatformKeys:
    """The keys of one merchant, oldest certificate first; ``current`` is the one that signs."""

    def __init__(self, vault: Vault, public_key_id: str) -> None:
        self.mode = "public_key"
        self.public = PlatformKey(public_key_id, vault.public_key_key, None)
        first = PlatformKey(
            throwaway_keys.serial_text(vault.platform_certificate),
            vault.platform_key,
            vault.platform_certificate,
        )
        self.certificates = [first]
        self.current = first
        self._vault = vault

    def signer(self, wanted: str | None) -> PlatformKey:
        """The key that signs an answer to a request with ``Wechatpay-Serial: wanted``.

        Raises Refusal for a key the merchant does not have in this mode (unverified, section 15 no. 4).
        """
        if wanted is None:
            return self.default
        if wanted == self.public.serial and self.mode != "certificate":
            return self.public
        if self.mode != "public_key":
            for key in self.certificates:
                if key.serial == wanted:
                    return key
        raise refusal("platform_serial_wrong")

    @property
    def default(self) -> PlatformKey:
        """Signs when the request names no key: the certificate until the switch is confirmed."""
        return self.public if self.mode == "public_key" else self.current

    def callback_signer(self, number: int) -> PlatformKey:
        """Signs the ``number``-th send of a callback; during the switch both kinds take turns."""
        if self.mode == "both":
            return self.public if number % 2 else self.current
        return self.default

    def published(self) -> list[PlatformKey]:
        """What GET /v3/certificates returns; nothing in pure public-key mode."""
        return [] if self.mode == "public_key" else list(self.certificates)

    def make_successor(self) -> PlatformKey:
        """A fresh platform certificate. Slow: call it in a thread, then ``publish`` the result."""
        key = throwaway_keys.new_key()
        certificate = throwaway_keys.issue(
            throwaway_keys.PLATFORM_COMMON_NAME,
            "payd sandbox platform",
            key,
            self._vault.root,
            self._vault.root_key,
        )
        return PlatformKey(throwaway_keys.serial_text(certificate), key, certificate)

    def publish(self, successor: PlatformKey) -> None:
        """Return the successor beside the certificates there are; it does not sign yet."""
        self.certificates.append(successor)

    def switch(self) -> None:
        """Let the newest certificate sign. Raises ControlRefused when it already does."""
        if self.current is self.certificates[-1]:
            raise ControlRefused("NO_SUCCESSOR", "publish a successor first")
        self.current = self.certificates[-1]

    def retire(self) -> None:
        """Forget every certificate older than the one that signs."""
        self.certificates = self.certificates[self.certificates.index(self.current) :]
