"""The ciphers of payloads: AEAD_AES_256_GCM for callbacks and certificates, RSAES-OAEP for sensitive fields.

Source: WeChat Pay v3, "decrypt callbacks and platform certificates" and "sensitive information".
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1

from payd.errors import VerificationError
from payd.wechat.settings import API_V3_KEY_BYTES

RESOURCE_ALGORITHM: Final = "AEAD_AES_256_GCM"
OAEP_PLAIN_BYTES_MAX: Final = 214  # RSA-2048, SHA-1

_NONCE_BYTES: Final = range(8, 17)  # 12 in practice; the field is s16 and GCM takes no fewer than 8
# SHA-1 is what WeChat's encryption uses everywhere; in OAEP it is not a collision question.
_OAEP: Final = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)  # noqa: S303


class ResourceCipher:
    """Opens what is sealed with the APIv3 key."""

    def __init__(self, api_v3_key: bytes) -> None:
        assert len(api_v3_key) == API_V3_KEY_BYTES, "the APIv3 key has 32 bytes"
        self._cipher = AESGCM(api_v3_key)

    def open(self, *, ciphertext: str, nonce: str, associated_data: str) -> bytes:
        """Decrypt Base64 of ciphertext and tag. Raises VerificationError ``decrypt`` (answered 400)."""
        try:
            sealed = binascii.a2b_base64(ciphertext, strict_mode=True)
            nonce_bytes = nonce.encode()
            if len(nonce_bytes) not in _NONCE_BYTES:
                raise VerificationError("decrypt", "the nonce has a wrong length", status=400)
            return self._cipher.decrypt(nonce_bytes, sealed, associated_data.encode())
        except (binascii.Error, UnicodeEncodeError, ValueError) as exc:
            raise VerificationError("decrypt", "the ciphertext or nonce is not encoded rightly", status=400) from exc
        except InvalidTag as exc:
            raise VerificationError(
                "decrypt", "the resource does not open; is the APIv3 key right?", status=400
            ) from exc


def encrypt_field(public_key: RSAPublicKey, text: str) -> str:
    """Encrypt a sensitive field for WeChat: OAEP with SHA-1, Base64. At most 214 bytes of UTF-8."""
    plain = text.encode()
    assert len(plain) <= OAEP_PLAIN_BYTES_MAX, "a sensitive field has at most 214 bytes"
    return base64.b64encode(public_key.encrypt(plain, _OAEP)).decode("ascii")


def decrypt_field(private_key: RSAPrivateKey, text: str) -> str:
    """Decrypt a sensitive field that WeChat encrypted to the merchant. Raises VerificationError ``decrypt``."""
    try:
        return private_key.decrypt(binascii.a2b_base64(text, strict_mode=True), _OAEP).decode()
    except (binascii.Error, ValueError) as exc:
        raise VerificationError("decrypt", "the field does not open with the merchant's key", status=400) from exc
