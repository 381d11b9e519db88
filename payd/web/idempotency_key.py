"""The Idempotency-Key header: a structured-field string, quoted or bare (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

from collections.abc import Sequence

from payd import limits
from payd.errors import Complaint, RequestError

FIELD = "Idempotency-Key"


def read_idempotency_key(values: Sequence[str]) -> str | None:
    """Read the header's values; None when it is absent.

    Raises RequestError ``invalid_request`` unless it is one key of 1 to 255 printable ASCII characters.
    """
    if not values:
        return None
    if len(values) > 1:
        raise _refused("must be given once")
    text = values[0].strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(text) <= limits.IDEMPOTENCY_KEY_CHARS_MAX or not all(" " <= char <= "~" for char in text):
        raise _refused(f"must be 1 to {limits.IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters")
    return text


def _refused(issue: str) -> RequestError:
    return RequestError("invalid_request", complaints=[Complaint(FIELD, issue)])
