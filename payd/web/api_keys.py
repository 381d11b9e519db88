"""API keys: their shape, their hash, and fresh ones.

A key made by payd reads ``payd_<8 hex of id>_<40 hex of secret><8 hex of checksum>``: recognisable in a leak, 160 bits
of secret, and the checksum (CRC-32 of all before it) tells a mistyped key from a foreign one without any look-up.
Stored is SHA-256 of the whole key (``sha256:<64 hex>``): enough for a random secret of this size.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from payd.config import KEY_HASH, SCOPES
from payd.ports import Entropy

PREFIX: Final = "payd_"
OWN_KEY: Final = re.compile(r"(payd_[0-9a-f]{8}_[0-9a-f]{40})([0-9a-f]{8})", re.ASCII)
KEY_ID_CHARS: Final = 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key: shown once, its ``hash_entry`` goes into ``pay.api_keys``. ``scopes`` empty: the default scopes."""

    key: str
    hash_entry: str
    scopes: tuple[str, ...]

    def __repr__(self) -> str:
        """Show no secret."""
        return f"NewKey({self.hash_entry[:15]}..., scopes={self.scopes!r})"


def new_key(scopes: Sequence[str] = (), *, entropy: Entropy) -> NewKey:
    """Make a key. Raises ValueError for a scope that does not exist."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise ValueError(f"unknown scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    body = f"{PREFIX}{entropy.token_hex(4)}_{entropy.token_hex(20)}"
    key = body + _checksum(body)
    return NewKey(key, f"sha256:{key_digest(key).hex()}", tuple(scopes))


def is_damaged(key: str) -> bool:
    """Tell whether a text means to be a key made by payd and cannot be one: cut, mistyped or wrapped."""
    if not key.startswith(PREFIX):
        return False
    match = OWN_KEY.fullmatch(key)
    return match is None or _checksum(match[1]) != match[2]


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def key_digest(key: str) -> bytes:
    """Hash a presented key: SHA-256, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def entry_digest(entry: str) -> bytes:
    """Find the hash an entry of the configuration stands for: the one it writes down, or that of the plain key."""
    if KEY_HASH.fullmatch(entry):
        return bytes.fromhex(entry.removeprefix("sha256:"))
    return key_digest(entry)


def key_id(digest: bytes) -> str:
    """Name a key for logs and journals without giving it away: the first eight hex digits of its hash."""
    return digest.hex()[:KEY_ID_CHARS]
