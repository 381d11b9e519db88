"""The two loops that payd runs on, for tests of what lies right on them, and patience with what comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvloop
from tornado.ioloop import IOLoop

PATIENCE_SECONDS: Final = 20  # on a slow machine
LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@contextmanager
def current_loop(name: str) -> Iterator[IOLoop]:
    """Make one of them the loop of a test: pytest-tornasync runs it on the fixture ``io_loop``."""
    loop = IOLoop(asyncio_loop=LOOPS[name]())
    loop.make_current()
    yield loop
    loop.clear_current()
    loop.close(all_fds=True)


async def until(look: Callable[[], Any]) -> None:
    """Turn the loop until there is something to see."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not look():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0)
