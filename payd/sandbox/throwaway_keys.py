"""Makes the throw-away keys and certificates of one simulated merchant.

Nothing made here is worth anything: the certificates come from a root that calls itself a throw-away, and
``is_throwaway`` is how the simulator recognises its own and refuses everybody else's.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
CERTIFICATE_DAYS = 5 * 365  # section 3.1: platform certificates live five years
ROOT_COMMON_NAME = "Tenpay.com Root CA"
ROOT_UNIT = "payd sandbox throw-away root, worthless outside it"
PLATFORM_COMMON_NAME = "Tenpay.com sign"


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA-2048 key; takes 50-300 ms, so never on a serving loop."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#8 PEM without a passphrase, as in ``apiclient_key.pem``."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """SubjectPublicKeyInfo PEM, as in ``pub_key.pem``."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private(pem: bytes) -> rsa.RSAPrivateKey:
    """The RSA key in ``pem``. Raises ValueError when there is none.

    The slow check of the primes is left out: the keys are our own, and whether they fit their certificates
    is checked by the caller.
    """
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def serial_text(certificate: x509.Certificate) -> str:
    """The serial as WeChat writes it: upper-case hex without separators."""
    return f"{certificate.serial_number:X}"


def _serial_number() -> int:
    """A positive serial of exactly 40 hex digits."""
    return (secrets.randbelow(7) + 1) << 156 | secrets.randbits(156)


def new_root(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """A self-signed root that names itself a throw-away."""
    name = _name(ROOT_COMMON_NAME, ROOT_UNIT)
    return _certificate(name, name, key.public_key(), key, authority=True)


def issue(
    common_name: str, unit: str, key: rsa.RSAPrivateKey, root: x509.Certificate, root_key: rsa.RSAPrivateKey
) -> x509.Certificate:
    """A certificate for ``key`` from the throw-away root; CN is the mchid or ``Tenpay.com sign``."""
    return _certificate(_name(common_name, unit), root.subject, key.public_key(), root_key, authority=False)


def is_throwaway(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """True when ``root`` is one of ours and has really signed ``certificate``."""
    units = [str(item.value) for item in root.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    root_key = root.public_key()
    algorithm = certificate.signature_hash_algorithm
    if units != [ROOT_UNIT] or not isinstance(root_key, rsa.RSAPublicKey) or algorithm is None:
        return False
    try:
        root_key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def _name(common_name: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tenpay.com"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: rsa.RSAPublicKey,
    signing_key: rsa.RSAPrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(signing_key, hashes.SHA256())
    )
