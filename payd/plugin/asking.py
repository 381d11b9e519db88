"""How often WeChat is asked on the merchant's behalf: once in three seconds about one number, however many ask us.

In memory, set before the call: questions at the same time share one, and one that failed counts too (contract 1.2);
whoever comes within these seconds hears of that failure, because nothing newer is known.
"""

from __future__ import annotations

from collections import OrderedDict

from payd import limits
from payd.models.wechat import Refused, Unclear
from payd.ports import Clock


class Asking:
    """Remembers when each number was asked about last; forgets what is older than it needs to know."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, tuple[float, Refused | Unclear | None]] = OrderedDict()

    def may_ask(self, number: str) -> bool:
        """Tell whether WeChat may be asked about ``number`` now; if so, it counts as asked."""
        now = self._clock.monotonic()
        while self._asked and next(iter(self._asked.values()))[0] <= now - limits.QUERY_FRESH_SECONDS:
            self._asked.popitem(last=False)
        if number in self._asked:
            return False
        self._asked[number] = (now, None)
        return True

    def heard(self, number: str, trouble: Refused | Unclear | None) -> None:
        """Keep how the question about ``number`` ended; None: well."""
        if number in self._asked:
            self._asked[number] = (self._asked[number][0], trouble)

    def trouble(self, number: str) -> Refused | Unclear | None:
        """Tell how the last question ended while nothing newer is known; None: well, or it is under way."""
        return self._asked[number][1] if number in self._asked else None
