"""The Idempotency-Key around a command: claim in commit 1, answer in the commit of the result, nothing extra on disk.

The database is the truth. One daemon owns the database, so a claim that this process is not working on belongs to a
dead one and is taken over at once; the optional lock in front (Redis) only spares work and may always fail.

| found | becomes |
|---|---|
| nothing | started: the claim lands with commit 1 |
| other body | 422 ``idempotency_key_reused`` |
| finished | replayed: the first status and body |
| being worked on | 409 ``idempotency_key_in_use`` |
| unfinished | resumed: the same number goes on |
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from payd import limits
from payd.errors import AlreadyExists, RequestError, StaleVersion
from payd.models.changes import ABSENT, ChangeSet, Put
from payd.models.idempotency import IdempotencyRecord
from payd.ports import Clock, Entropy, IdempotencyLock, Storage

#: Answers that finish a key (contract 1.5).
FINISHING = frozenset({200, 201, 422})


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """What identifies a keyed request: the scope (API key and route), the key itself, and its canonical body."""

    key_id: str
    route: str
    key: str
    canonical_body: bytes

    @property
    def scope_key(self) -> str:
        """SHA-256 hex over the three parts of the scope."""
        parts = "\n".join((self.key_id, self.route, self.key))
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 hex over the canonical body."""
        return hashlib.sha256(self.canonical_body).hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    """What the database holds for a key: a living record, or the version of an expired one that a claim replaces."""

    record: IdempotencyRecord | None
    expired_version: int = ABSENT


class KeyedCall:
    """One request's hold on its key. ``record`` is what the database holds now, None before the claim lands."""

    def __init__(self, request: KeyedRequest, found: Found, *, owner: str, ttl_seconds: int) -> None:
        self._request = request
        self._owner = owner
        self._ttl_seconds = ttl_seconds
        self._replaces = found.expired_version
        self.record = found.record

    @property
    def subject_id(self) -> str | None:
        """The number bound to the key by an earlier attempt."""
        return self.record.subject_id if self.record else None

    @property
    def answer(self) -> tuple[int, bytes] | None:
        """The stored answer of a finished key."""
        if self.record is None or self.record.answer_status is None:
            return None
        assert self.record.answer_body is not None, "status and body are stored together"
        return self.record.answer_status, self.record.answer_body

    def claim(self, subject_id: str, now: datetime) -> Put | None:
        """Make the claim for commit 1; None when an earlier attempt left it there."""
        if self.record is not None:
            return None
        record = IdempotencyRecord(
            scope_key=self._request.scope_key,
            version=self._replaces + 1,
            fingerprint=self._request.fingerprint,
            subject_id=subject_id,
            owner=self._owner,
            lease_until=now + timedelta(seconds=limits.IDEMPOTENCY_LEASE_SECONDS),
            created_at=now,
            updated_at=now,
            expires_at=now + timedelta(seconds=self._ttl_seconds),
        )
        return Put(record, self._replaces)

    def finish(self, subject_id: str, status: int, body: bytes, now: datetime) -> Put | None:
        """Make the stored answer for the commit of the result; None when this status does not finish a key."""
        if status not in FINISHING:
            return self.claim(subject_id, now)
        claim = self.claim(subject_id, now)
        if claim is not None:
            assert isinstance(claim.record, IdempotencyRecord), "a claim is a key's record"
            return Put(replace(claim.record, answer_status=status, answer_body=body), self._replaces)
        assert self.record is not None, "either claimed now or before"
        version = self.record.version
        return Put(
            replace(self.record, version=version + 1, updated_at=now, answer_status=status, answer_body=body), version
        )

    def landed(self, put: Put | None) -> None:
        """Note that a put of this call is on disk."""
        if put is not None:
            assert isinstance(put.record, IdempotencyRecord), "a claim is a key's record"
            self.record = put.record


class IdempotencyGate:
    """Lets one request of a key through at a time."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        entropy: Entropy,
        ttl_seconds: int,
        lock: IdempotencyLock | None,
        count: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._lock = lock
        self._count = count
        self._owner = entropy.token_hex(8)
        self._running: set[str] = set()

    @asynccontextmanager
    async def enter(self, request: KeyedRequest) -> AsyncIterator[KeyedCall]:
        """Hold the key while the block runs. Raises RequestError ``idempotency_key_in_use`` or ``..._reused``."""
        scope_key = request.scope_key
        if scope_key in self._running:
            await self._refuse_running(request)
        self._running.add(scope_key)
        locked: bool | None = None
        try:
            found = await self._load(request)
            finished = found.record is not None and found.record.answer_status is not None
            if self._lock is not None and not finished:
                locked = await self._lock.acquire(scope_key, self._owner)
                if locked is False:
                    self._in_use()
                found = await self._load(request)  # somebody may have finished it while we asked for the lock
            record = found.record
            self._count("started" if record is None else "replayed" if record.answer_status else "resumed")
            yield KeyedCall(request, found, owner=self._owner, ttl_seconds=self._ttl_seconds)
        finally:
            if locked and self._lock is not None:
                await self._lock.release(scope_key, self._owner)
            self._running.discard(scope_key)

    async def bind(self, call: KeyedCall, subject_id: str) -> None:
        """Bind the key to its body after a 409: the repeat is carried out, another body is refused."""
        put = call.claim(subject_id, self._clock.now())
        if put is None:
            return
        try:
            await self._storage.commit(ChangeSet(puts=(put,)))
        except (AlreadyExists, StaleVersion):
            return  # bound by another daemon's attempt: just as well
        call.landed(put)

    async def _load(self, request: KeyedRequest) -> Found:
        record = await self._storage.load_idempotency(request.scope_key)
        if record is None:
            return Found(None)
        if record.expires_at <= self._clock.now():
            return Found(None, record.version)
        if record.fingerprint != request.fingerprint:
            self._count("reused")
            raise RequestError("idempotency_key_reused")
        return Found(record)

    async def _refuse_running(self, request: KeyedRequest) -> None:
        await self._load(request)  # another body is told so, even now
        self._in_use()

    def _in_use(self) -> None:
        self._count("in_use")
        raise RequestError("idempotency_key_in_use", retry_after=1)
