"""Turns: within this process, one at a time works on one number."""

from __future__ import annotations

import asyncio


class Turns:
    """A lock for each number, made when wanted and forgotten when free.

    Commands: it spares WeChat a second prepay that would void the first one's code_url. Evidence: many words about one
    order do not race for ever. What must never happen twice does not rest on it: that rests on the versions in the
    database.
    """

    def __init__(self) -> None:
        self._locks: dict[str, _Counted] = {}

    def of(self, number: str) -> _Turn:
        """Wait for the turn of ``number`` and hold it: ``async with turns.of(number)``."""
        return _Turn(self._locks, number)


class _Counted(asyncio.Lock):
    """A lock that knows how many hold it or wait for it."""

    wanted = 0


class _Turn:
    """One turn, waited for and held once."""

    __slots__ = ("_locks", "_number")

    def __init__(self, locks: dict[str, _Counted], number: str) -> None:
        self._locks, self._number = locks, number

    async def __aenter__(self) -> None:
        lock = self._locks.get(self._number)
        if lock is None:
            lock = self._locks[self._number] = _Counted()
        lock.wanted += 1
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._leave(lock)
            raise

    async def __aexit__(self, *_ended: object) -> None:
        lock = self._locks[self._number]
        lock.release()
        self._leave(lock)

    def _leave(self, lock: _Counted) -> None:
        lock.wanted -= 1
        if not lock.wanted:
            del self._locks[self._number]
