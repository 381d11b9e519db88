"""Whether to ask at all: after a failure nobody waits for a dead server again until a pause is over."""

from __future__ import annotations

from payd.ports import Clock


class Circuit:
    """Shuts at the first failure; after a pause lets one probe through and opens when that one is answered.

    Every `admits` that said True is followed by exactly one of `answered`, `failed` or `abandoned`.
    """

    def __init__(self, clock: Clock, *, pause_seconds: float) -> None:
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._shut = False
        self._probing = False  # true while the one probe of a shut circuit is under way
        self._probe_at = 0.0  # monotonic; means something only while shut

    def admits(self) -> bool:
        """Tell whether to ask now; while the circuit is shut, True makes the caller its probe."""
        if not self._shut:
            return True
        if self._probing or self._clock.monotonic() < self._probe_at:
            return False
        self._probing = True
        return True

    def answered(self) -> None:
        """Note an answer: ask freely again."""
        self._shut = self._probing = False

    def failed(self) -> None:
        """Note a failure: the pause begins now, also for those who failed in the same moment."""
        self._shut, self._probing = True, False
        self._probe_at = self._clock.monotonic() + self._pause_seconds

    def abandoned(self) -> None:
        """Note that the caller went away before it knew: the next one is the probe."""
        self._probing = False
