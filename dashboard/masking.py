"""Hides what must never be on a screen, in a recording, on the clipboard or in a picture.

The daemon does not send API keys or private keys; this is the second wall, by name, for payment signatures,
tokens and personal identifiers that travel inside answers.
"""

from __future__ import annotations

from typing import Any

MASK = "••••••••"
"""Of fixed width: a mask as long as the secret tells its length."""

SECRET_NAMES = frozenset(
    {
        "paysign", "sign", "signature", "token", "secret", "secrets", "password", "passwd", "api_key",
        "apikey", "api_v3_key", "authorization", "private_key", "prepay_id", "prepayid", "package",
        "openid", "sub_openid", "ciphertext", "x-api-key", "webhook-signature", "cookie",
    }
)  # fmt: skip
_SECRET_ENDINGS = ("_secret", "_token", "_key", "_password", "_signature")
_SECRET_STARTS = ("whsec_", "sk_", "Bearer ", "WECHATPAY2-", "-----BEGIN")
_KEPT = frozenset({"idempotency_key"})
_DEPTH = 40


def masked(value: Any, *, depth: int = 0) -> Any:
    """A copy of a JSON value in which members with secret names, and texts shaped like secrets, are masked."""
    if depth > _DEPTH:
        return MASK
    if isinstance(value, dict):
        return {
            name: MASK if item is not None and is_secret_name(name) else masked(item, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, depth=depth + 1) for item in value]
    if isinstance(value, str) and value.startswith(_SECRET_STARTS):
        return MASK
    return value


def is_secret_name(name: object) -> bool:
    """Whether a member of this name holds something nobody should read over a shoulder."""
    lowered = str(name).lower()
    if lowered in _KEPT:
        return False
    return lowered in SECRET_NAMES or lowered.endswith(_SECRET_ENDINGS)
