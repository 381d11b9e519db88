"""Turns: within this process, one at a time works on one number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A lock for each number, made when wanted and forgotten when free.

    Commands: it spares WeChat a second prepay that would void the first one's code_url. Evidence: many words about one
    order do not race for ever. What must never happen twice does not rest on it: that rests on the versions in the
    database.
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, number: str) -> AsyncIterator[None]:
        """Wait for the turn of ``number`` and hold it."""
        lock, waiting = self._locks.get(number, (asyncio.Lock(), 0))
        self._locks[number] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[number]
            if waiting == 1:
                del self._locks[number]
            else:
                self._locks[number] = (lock, waiting - 1)
