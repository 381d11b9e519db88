"""Opening a signature says yes and no where the library's own ``verify`` does, on any block under the padding."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from payd.errors import VerificationError
from payd.wechat.keyring import PlatformKey
from payd.wechat.verification import SignatureHeaders, check_timestamp

PRIVATE = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
KEY = PlatformKey("PUB_KEY_ID_1", PRIVATE.public_key())
TEXT = b"1700000000\nabc\n{}\n"
#: RFC 8017, 9.2, note 1: what stands before a SHA-256 digest.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
NO_NULL = bytes.fromhex("302f300b06096086480165030402010420")
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
DIGEST = hashlib.sha256(TEXT).digest()


def raw(block: bytes) -> bytes:
    """Apply the private key to a whole block, whatever it holds."""
    numbers = PRIVATE.private_numbers()
    n = numbers.public_numbers.n
    return pow(int.from_bytes(block.rjust(256, b"\0"), "big"), numbers.d, n).to_bytes(256, "big")


def padded(content: bytes, *, begin: bytes = b"\x00\x01", fill: bytes = b"\xff", tail: bytes = b"") -> bytes:
    """Lay out EMSA-PKCS1-v1_5, or nearly."""
    rest = 256 - len(begin) - 1 - len(content) - len(tail)
    return begin + fill * rest + b"\x00" + content + tail


def library_says(signature: bytes, text: bytes) -> bool:
    try:
        PRIVATE.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def payd_says(signature: bytes, text: bytes) -> bool:
    try:
        KEY.verify(signature, text)
    except VerificationError:
        return False
    return True


GOOD = PRIVATE.sign(TEXT, padding.PKCS1v15(), hashes.SHA256())

CASES = {
    "a good one": (GOOD, True),
    "the same made by hand": (raw(padded(DIGEST_INFO + DIGEST)), True),
    "another text's": (PRIVATE.sign(b"x", padding.PKCS1v15(), hashes.SHA256()), False),
    "another key's": (OTHER.sign(TEXT, padding.PKCS1v15(), hashes.SHA256()), False),
    "another digest": (PRIVATE.sign(TEXT, padding.PKCS1v15(), hashes.SHA512()), False),
    "SHA-1": (PRIVATE.sign(TEXT, padding.PKCS1v15(), hashes.SHA1()), False),
    "PSS": (PRIVATE.sign(TEXT, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()), False),
    "the digest without its name": (raw(padded(DIGEST)), False),
    "the digest under SHA-1's name": (raw(padded(SHA1_INFO + DIGEST[:20])), False),
    "garbage behind the digest": (raw(padded(DIGEST_INFO + DIGEST, tail=b"garbage" * 20)), False),
    "a digest cut short": (raw(padded(DIGEST_INFO + DIGEST[:31])), False),
    "a padding of zeros": (raw(padded(DIGEST_INFO + DIGEST, fill=b"\x00")), False),
    "block type 2": (raw(padded(DIGEST_INFO + DIGEST, begin=b"\x00\x02")), False),
    "nothing but zeros": (bytes(256), False),
    "empty": (b"", False),
    "one byte short": (GOOD[:-1], False),
    "one byte long": (GOOD + b"\0", False),
    "a zero in front": (b"\0" + GOOD, False),
    "larger than the modulus": (b"\xff" * 256, False),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_only_a_signature_over_this_text_is_taken(name):
    """Padding, name of the digest, digest, length and key: each alone is enough to refuse."""
    signature, good = CASES[name]

    assert payd_says(signature, TEXT) is good
    assert library_says(signature, TEXT) is good


def test_a_digest_without_null_parameters_is_judged_as_the_library_judges():
    """RFC 8017 lets a verifier take it or leave it; both witnesses agree."""
    signature = raw(padded(NO_NULL + DIGEST))

    assert payd_says(signature, TEXT) is library_says(signature, TEXT)


@given(st.integers(0, 255), st.integers(1, 255))
def test_a_changed_byte_is_refused(at, change):
    """Anywhere in the signature."""
    signature = bytearray(GOOD)
    signature[at] ^= change

    assert not payd_says(bytes(signature), TEXT)


@given(st.integers(2, 255), st.integers(1, 255))
def test_a_changed_byte_under_the_padding_is_judged_as_the_library_judges(at, change):
    """Whoever could choose the block could not get more past payd than past the library."""
    block = bytearray(padded(DIGEST_INFO + DIGEST))
    block[at] ^= change
    signature = raw(bytes(block))

    assert payd_says(signature, TEXT) is library_says(signature, TEXT)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.999])
@pytest.mark.parametrize("away, inside", [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_the_window_is_alike_on_both_sides(away, inside, fraction):
    """Five minutes past or future, counted in whole seconds as the header counts: the second's fraction is nobody's."""
    headers = SignatureHeaders(timestamp=str(1_700_000_000 + away), nonce="n", signature="s", serial="x")

    with contextlib.nullcontext() if inside else pytest.raises(VerificationError):
        check_timestamp(headers, now=1_700_000_000 + fraction)
