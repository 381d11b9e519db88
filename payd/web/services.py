"""What the controllers are given: every part built once by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from payd import limits
from payd.errors import StorageError
from payd.metrics import Metrics
from payd.models.changes import ChangeSet
from payd.models.discrepancy import Discrepancy
from payd.models.reconcile import ReconcileState
from payd.models.webhook import Delivery
from payd.plugin.idempotency import IdempotencyGate
from payd.plugin.pay_plugin import PayPlugin
from payd.plugin.settlement import Settlement
from payd.ports import Clock, Entropy, Storage, WechatPay
from payd.web.pay_auth_filter import PayAuthFilter


class InFlight:
    """The requests being answered, each in a task of its own, so that a drain can wait for them."""

    def __init__(self) -> None:
        self.draining = False
        self.idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself remembers tasks weakly

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def begin(self, answering: Coroutine[Any, Any, None]) -> None:
        """Begin one."""
        task = asyncio.get_running_loop().create_task(answering)
        self._tasks.add(task)
        self.idle.clear()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self.idle.set()


class StorageProbe:
    """Tries whether the database can be written, at most once a second: anybody may ask /readyz."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._tried_at: float | None = None
        self._verdict = "ok"

    async def check(self) -> str:
        """Tell ``ok``, or why not."""
        now = self._clock.monotonic()
        if self._tried_at is None or now - self._tried_at >= limits.PROBE_SECONDS:
            self._tried_at = now
            try:
                await self._storage.commit(ChangeSet(meta=(("probe", "ready"),)))
            except StorageError as error:
                self._verdict = f"cannot write: {error}"
            else:
                self._verdict = "ok"
        return self._verdict


class RejectedRows:
    """Says whether another rejected callback gets a row for the inspector: a flood must not fill the disk."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = 0
        self._count = 0

    def allow(self) -> bool:
        """Count one."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= limits.REJECTED_CALLBACKS_STORED_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts that answer requests. ``reconcile_state`` tells the last run; ``resend`` sends a delivery again;
    ``resolve(id, note, by, request_id)`` closes a discrepancy (None: there is none)."""

    mode: str
    version: str
    storage: Storage
    wechat: WechatPay
    plugin: PayPlugin
    settlement: Settlement
    gate: IdempotencyGate
    auth: PayAuthFilter
    metrics: Metrics
    clock: Clock
    entropy: Entropy
    in_flight: InFlight
    rejected: RejectedRows
    probe: StorageProbe
    reconcile_state: Callable[[], ReconcileState]
    resend: Callable[[str], Awaitable[Delivery]]
    resolve: Callable[[str, str, str, str], Awaitable[Discrepancy | None]]
