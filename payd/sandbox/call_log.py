"""What was asked of the simulator: counters per API and the last calls, for tests and for people."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from payd.sandbox.clock import rfc3339

KEPT_CALLS = 2000


class CallLog:
    """Counts every API request; in memory only, a restart begins anew."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter[str]] = {}
        self._calls: deque[tuple[float, str, str, str, int | None, str | None, str | None, bool]] = deque(
            maxlen=KEPT_CALLS
        )

    def record(
        self,
        *,
        at: float,
        api: str,
        method: str,
        target: str,
        status: int | None,
        code: str | None,
        fault: str | None,
        executed: bool,
    ) -> None:
        """One request; ``status`` None when nothing was answered."""
        counter = self._counters.setdefault(api, Counter())
        counter["requests"] += 1
        counter["executed"] += executed
        counter["faults"] += fault is not None
        counter[str(status) if status is not None else "cut"] += 1
        self._calls.append((at, api, method, target, status, code, fault, executed))

    def counters(self) -> dict[str, dict[str, int]]:
        """api -> ``requests``, ``executed``, ``faults``, and one counter per status (``cut`` for none)."""
        return {api: dict(counter) for api, counter in sorted(self._counters.items())}

    def recent(self) -> list[dict[str, Any]]:
        """The last calls, oldest first."""
        names = ("at", "api", "method", "target", "status", "code", "fault", "executed")
        return [{**dict(zip(names, call, strict=True)), "at": rfc3339(call[0])} for call in self._calls]
