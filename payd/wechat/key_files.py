"""Reading PEM files, with messages that say what was found there instead and how to cure it.

Nothing here decides whose key it is; that is `keyring`. Never logs or quotes the content of a file.
"""

from __future__ import annotations

import re
import stat
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import NameOID

RSA_BITS: Final = 2048  # WeChat: RSA-2048 for merchant and platform keys alike
KEY_FILE_BYTES_MAX: Final = 65_536
OPEN_TO_OTHERS: Final = 0o077

_PEM_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")

#: What a file turned out to hold -> how to call it. Labels are those of RFC 7468.
_LABELS: Final = {
    "CERTIFICATE": "a certificate",
    "PRIVATE KEY": "a private key",
    "RSA PRIVATE KEY": "a private key",
    "ENCRYPTED PRIVATE KEY": "an encrypted private key",
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key in PKCS#1 form",
    "CERTIFICATE REQUEST": "a certificate request",
}


class KeyFileProblem(Exception):
    """A key file that cannot be used; the text says the cure. Collected into complaints by the caller."""


def read_secret_file(path: Path) -> bytes:
    """Read a file that only its owner may open. Raises KeyFileProblem."""
    content = read_file(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OPEN_TO_OTHERS:
        raise KeyFileProblem(f"{path} can be opened by others (mode {mode:04o}); run: chmod 600 {path}")
    return content


def read_file(path: Path) -> bytes:
    """Read a small file. Raises KeyFileProblem."""
    try:
        with path.open("rb") as file:
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise KeyFileProblem(f"cannot read {path}: {exc.strerror}") from exc
    if len(content) > KEY_FILE_BYTES_MAX:
        raise KeyFileProblem(f"{path} is far too large for a PEM file")
    return content


def load_private_key(path: Path, passphrase: str | None) -> RSAPrivateKey:
    """Load the merchant's API private key (apiclient_key.pem). Raises KeyFileProblem."""
    pem = read_secret_file(path)
    _expect(path, pem, ("PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "the merchant's apiclient_key.pem")
    encrypted = b"ENCRYPTED" in pem
    if encrypted and passphrase is None:
        raise KeyFileProblem(f"{path} is protected by a passphrase; set wechat_pay.private_key_passphrase")
    try:
        key = load_pem_private_key(pem, passphrase.encode() if encrypted and passphrase else None)
    except (ValueError, TypeError) as exc:
        cure = "is the passphrase right?" if encrypted else "fetch apiclient_key.pem again from the merchant console"
        raise KeyFileProblem(f"{path} cannot be loaded as a private key; {cure}") from exc
    if not isinstance(key, RSAPrivateKey) or key.key_size != RSA_BITS:
        raise KeyFileProblem(f"{path} is not an RSA key of {RSA_BITS} bits, the only kind WeChat issues")
    return key


def load_public_key(path: Path) -> RSAPublicKey:
    """Load WeChat Pay's public key (pub_key.pem). Raises KeyFileProblem."""
    pem = read_file(path)
    _expect(path, pem, ("PUBLIC KEY",), "the pub_key.pem of WeChat Pay")
    try:
        key = load_pem_public_key(pem)
    except ValueError as exc:
        raise KeyFileProblem(f"{path} cannot be loaded as a public key; download pub_key.pem again") from exc
    if not isinstance(key, RSAPublicKey) or key.key_size != RSA_BITS:
        raise KeyFileProblem(f"{path} is not an RSA key of {RSA_BITS} bits, the only kind WeChat issues")
    return key


def load_certificate(path: Path, wanted: str) -> x509.Certificate:
    """Load one certificate; ``wanted`` says in messages what belongs there. Raises KeyFileProblem."""
    pem = read_file(path)
    _expect(path, pem, ("CERTIFICATE",), wanted)
    return parse_certificate(pem, str(path))


def parse_certificate(pem: bytes, where: str) -> x509.Certificate:
    """Parse a PEM certificate with an RSA-2048 key; checks neither dates nor issuer. Raises KeyFileProblem."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except ValueError as exc:
        raise KeyFileProblem(f"{where} cannot be loaded as a certificate; download it again") from exc
    if not isinstance(key, RSAPublicKey) or key.key_size != RSA_BITS:
        raise KeyFileProblem(f"{where} does not hold an RSA key of {RSA_BITS} bits, the only kind WeChat issues")
    return certificate


def rsa_key_of(certificate: x509.Certificate) -> RSAPublicKey:
    """Take the key of a certificate that `parse_certificate` let through."""
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    return key


def serial_of(certificate: x509.Certificate) -> str:
    """Write a certificate's serial as ``openssl x509 -serial`` does: upper-case hex, whole bytes."""
    digits = f"{certificate.serial_number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def normal_serial(text: str) -> str:
    """Write a configured certificate serial in upper case without colons or blanks; keep a PUB_KEY_ID_ as it is."""
    text = text.strip()
    if text.startswith("PUB_KEY_ID_"):
        return text
    return text.removeprefix("serial=").replace(":", "").replace(" ", "").upper()


def subject_names(certificate: x509.Certificate) -> tuple[str, str]:
    """Take subject CN and the whole subject as text: the merchant's CN is the mchid, WeChat's names Tenpay."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(found[0].value) if found else ""), certificate.subject.rfc4514_string()


def is_valid_at(certificate: x509.Certificate, now: datetime) -> bool:
    """Tell whether ``now`` lies inside the certificate's dates."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _expect(path: Path, pem: bytes, wanted: tuple[str, ...], belongs: str) -> None:
    match = _PEM_LABEL.search(pem)
    if match is None:
        raise KeyFileProblem(f"{path} holds no PEM text; here belongs {belongs}")
    label = match.group(1).decode()
    if label not in wanted:
        raise KeyFileProblem(f"{path} holds {_LABELS.get(label, label)}; here belongs {belongs}")
