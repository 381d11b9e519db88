"""The exception tree, split by what the caller must do next.

::

    PaydError
    ├── RequestError            fix the request; carries a catalogue code and its parameters
    ├── ConfigError             fix the configuration; carries every complaint at once (exit code 78)
    ├── StorageError
    │   ├── StaleVersion        load again, decide again
    │   ├── AlreadyExists       load what is there and answer with it
    │   └── StorageUnavailable  wait; nothing was written and nothing was acknowledged
    ├── VerificationError       a callback or answer is not what it claims; nothing may be concluded from it
    └── KeyMaterialError        a key or certificate is missing, unreadable or mixed up; says the cure

Messages hold identifiers, never bodies, keys or signatures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class PaydError(Exception):
    """Anything payd raises on purpose. ``retryable`` says whether the same call can succeed later."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with an input. ``field`` is dotted (``amount.total``), empty for the whole."""

    field: str
    issue: str


class RequestError(PaydError):
    """A request that payd refuses.

    ``code`` names an entry of the problem catalogue (``web/problems.py``), ``params`` fill its detail text and
    ``extra`` are further members of the answer (for example ``refundable``). ``retry_after`` is in whole seconds.
    """

    def __init__(
        self,
        code: str,
        *,
        complaints: Sequence[Complaint] = (),
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
        **params: object,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.complaints = tuple(complaints)
        self.retry_after = retry_after
        self.extra = dict(extra or {})
        self.params = params


class ConfigError(PaydError):
    """The configuration cannot be used. ``complaints`` holds all of them, with the path of each key."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__("; ".join(f"{c.field}: {c.issue}" if c.field else c.issue for c in complaints))
        self.complaints = tuple(complaints)


class StorageError(PaydError):
    """A commit or a read did not happen. After any of these nothing was written."""


class StaleVersion(StorageError):
    """Somebody changed a record since it was read: load again and decide again."""

    retryable = True

    def __init__(self, table: str, key: str) -> None:
        super().__init__(f"{table} {key} was changed meanwhile")
        self.table = table
        self.key = key


class AlreadyExists(StorageError):
    """A record that had to be absent is there: load it and answer with it."""

    def __init__(self, table: str, key: str) -> None:
        super().__init__(f"{table} {key} exists already")
        self.table = table
        self.key = key


class StorageUnavailable(StorageError):
    """The database cannot write now (full, locked, closing, queue full). Nothing was acknowledged."""

    retryable = True


class VerificationError(PaydError):
    """A message failed one numbered check. ``step`` names it; ``status`` is the HTTP status WeChat is answered."""

    def __init__(self, step: str, reason: str, *, status: int = 401) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason
        self.status = status


class KeyMaterialError(PaydError):
    """A key or certificate is missing, unreadable or the wrong one. The message says the cure."""
