"""The two ciphers of section 4: AES-256-GCM for callbacks and certificates, RSA-OAEP for single fields."""

from __future__ import annotations

import base64
import secrets
import string
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LETTERS = string.ascii_letters + string.digits
# SHA-1 is what every SDK and the encryption page use here (section 4.2).
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303


def random_text(length: int) -> str:
    """``length`` mixed-case alphanumeric characters, for nonces."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def seal(plaintext: bytes, *, api_v3_key: bytes, associated_data: str) -> dict[str, Any]:
    """The ``resource`` members that carry ``plaintext``: algorithm, nonce, ciphertext, associated_data."""
    nonce = random_text(12)
    sealed = AESGCM(api_v3_key).encrypt(nonce.encode(), plaintext, associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated_data,
        "nonce": nonce,
    }


def encrypt_field(text: str, key: rsa.RSAPublicKey) -> str:
    """A sensitive field for the holder of ``key``, Base64."""
    return base64.b64encode(key.encrypt(text.encode(), _OAEP)).decode()


def decrypt_field(text: str, key: rsa.RSAPrivateKey) -> str:
    """The plaintext of a sensitive field. Raises ValueError when it was not encrypted to ``key``."""
    return key.decrypt(base64.b64decode(text, validate=True), _OAEP).decode()
