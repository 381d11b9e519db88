"""An Idempotency-Key: who claimed it, for what, and the answer that finished it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """One key (table ``idempotency_keys``, key ``scope_key``).

    ``scope_key`` is SHA-256 hex of API key id, route and Idempotency-Key; ``fingerprint`` SHA-256 hex of the canonical
    body. ``subject_id`` is the out_trade_no or out_refund_no bound to the key: a resumed attempt uses it again.
    ``owner`` and ``lease_until`` say who works on it now. Finished: ``answer_status`` and ``answer_body`` (UTF-8)
    are set.
    """

    scope_key: str
    version: int
    fingerprint: str
    subject_id: str
    owner: str
    lease_until: datetime
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    answer_status: int | None = None
    answer_body: bytes | None = None
