"""PayAuthFilter: who is calling, and may they do this? (contract 1.8)

The checks, in this order; the first that fails refuses, and counts under its word:

1. a key is configured at all            503 ``api_key_not_configured``   ``not_configured``
2. a key is presented                    401 ``missing_api_key``          ``missing_key``
3. it is one of the configured keys      401 ``invalid_api_key``          ``invalid_key``
   (beyond the bound on failures of one address, 2 and 3 answer 429 ``rate_limited`` and still count)
4. the key has requests left this second 429 ``rate_limited``             (no refusal of authentication: not counted)
5. the key has the scope of the route    403 ``scope_denied``             ``scope_denied``

A valid key is served however many failures its address has: behind a reverse proxy all callers share one address, and
a stranger's guesses must not lock the merchant out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from payd import limits
from payd.config import SCOPES, PayConfig
from payd.errors import Complaint, RequestError
from payd.ports import Clock
from payd.web.api_keys import NewKey, entry_digest, is_damaged, key_digest, key_id, new_key
from payd.web.issues import issue
from payd.web.routes import Access
from payd.web.throttles import FailureWindows, TokenBucket

#: The four auth counters (contract 1.8); also the label values of the metric.
REASONS: Final = ("missing_key", "invalid_key", "scope_denied", "not_configured")


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose key was right. ``key_id`` may be logged."""

    key_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes
    caller: Caller


class PayAuthFilter:
    """Checks API keys. Used on the loop's thread only."""

    def __init__(
        self,
        pay: PayConfig,
        *,
        clock: Clock,
        on_refusal: Callable[[str], None] = lambda reason: None,
        requests_per_second: int = limits.REQUESTS_PER_SECOND_PER_KEY,
        failures_per_minute: int = limits.FAILED_AUTH_PER_MINUTE_PER_ADDRESS,
    ) -> None:
        """Take the keys of ``Config.pay``. ``on_refusal`` is told the counter's word at each counted refusal."""
        self._clock = clock
        self._on_refusal = on_refusal
        self._requests_per_second = requests_per_second
        self._counters = dict.fromkeys(REASONS, 0)
        self._failures = FailureWindows(
            clock, per_minute=failures_per_minute, addresses_max=limits.FAILED_AUTH_ADDRESSES_MAX
        )
        self._entries: tuple[_Entry, ...] = ()
        self._buckets: dict[bytes, TokenBucket] = {}
        self._used_at: dict[str, datetime | None] = {}
        self.reload(pay)

    def reload(self, pay: PayConfig) -> None:
        """Take the keys of a new configuration. Counters stay; so do the bounds and last uses of keys that stay."""
        entries = _entries(pay)
        self._buckets = {
            entry.digest: self._buckets.get(entry.digest) or TokenBucket(self._clock, self._requests_per_second)
            for entry in entries
        }
        self._used_at = {entry.caller.key_id: self._used_at.get(entry.caller.key_id) for entry in entries}
        self._entries = entries

    def check(self, headers: Mapping[str, str], remote_ip: str, scope: str | Access) -> Caller:
        """Find the caller of a request, or raise RequestError. ``headers`` look names up without regard to case."""
        assert scope in SCOPES or scope is Access.ANY_KEY, "the route table knows only these"
        if not self._entries:
            self._count("not_configured")
            raise RequestError("api_key_not_configured")
        key = self._presented(headers, remote_ip)
        entry = self._find(key_digest(key))
        if entry is None:
            raise self._failed("invalid_key", remote_ip, damaged=is_damaged(key))
        wait = self._buckets[entry.digest].take()
        if wait is not None:
            raise RequestError("rate_limited", retry_after=wait, seconds=wait)
        caller = entry.caller
        self._used_at[caller.key_id] = self._clock.now()
        if scope is not Access.ANY_KEY and scope not in caller.scopes:
            self._count("scope_denied")
            raise RequestError("scope_denied", key_id=caller.key_id, scope=scope)
        return caller

    @property
    def counters(self) -> dict[str, int]:
        """Tell the four counters since the start."""
        return dict(self._counters)

    def last_used(self) -> dict[str, datetime | None]:
        """Tell for each configured key (by id) when it was last right, None: not since the start."""
        return dict(self._used_at)

    def _presented(self, headers: Mapping[str, str], remote_ip: str) -> str:
        """Read the key from X-Api-Key or Authorization: Bearer; two different ones are none."""
        plain = (headers.get("X-Api-Key") or "").strip()
        scheme, _, token = (headers.get("Authorization") or "").strip().partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        if plain and bearer and not hmac.compare_digest(key_digest(plain), key_digest(bearer)):
            raise self._failed("invalid_key", remote_ip)
        if not (plain or bearer):
            raise self._failed("missing_key", remote_ip)
        return plain or bearer

    def _find(self, digest: bytes) -> _Entry | None:
        """Compare with every entry in constant time, without stopping at the right one."""
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return found

    def _failed(self, reason: str, remote_ip: str, *, damaged: bool = False) -> RequestError:
        self._count(reason)
        wait = self._failures.fail(remote_ip)
        if wait is not None:
            return RequestError("rate_limited", retry_after=wait, seconds=wait)
        complaints = [Complaint("X-Api-Key", issue("key_damaged"))] if damaged else []
        return RequestError("missing_api_key" if reason == "missing_key" else "invalid_api_key", complaints=complaints)

    def _count(self, reason: str) -> None:
        self._counters[reason] += 1
        self._on_refusal(reason)


def _entries(pay: PayConfig) -> tuple[_Entry, ...]:
    """Join keys and scopes by hash: either may be written plain while the other is a hash entry."""
    mapped = {entry_digest(name): scopes for name, scopes in pay.api_key_scopes.items()}
    digests = dict.fromkeys(entry_digest(key.get_secret_value()) for key in pay.api_keys)
    return tuple(
        _Entry(digest, Caller(key_id(digest), frozenset(mapped.get(digest, pay.api_key_default_scopes))))
        for digest in digests
    )


__all__ = ["REASONS", "Caller", "NewKey", "PayAuthFilter", "new_key"]
