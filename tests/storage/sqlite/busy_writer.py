"""A process that writes orders from many callers and prints each number once its commit is acknowledged.

Run by the kill -9 test: ``busy_writer.py DATABASE ROUND``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

from payd.storage import SqliteStorage, open_storage

CALLERS = 16


async def write(storage: SqliteStorage, histories, name: str) -> None:
    for n in range(100_000):
        created = histories.create(f"{name}-{n:06d}")
        await storage.commit(created.change)
        print(created.snapshot.order.out_trade_no, flush=True)
        await storage.commit(histories.pay(created.snapshot).change)


async def main(path: Path, round_number: str) -> None:
    spec = importlib.util.spec_from_file_location("histories", Path(__file__).parent.parent / "conftest.py")
    histories = sys.modules["histories"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(histories)
    made = histories.Histories()
    storage = open_storage(path, mode="sandbox", clock=made.clock)
    await asyncio.gather(*(write(storage, made, f"r{round_number}w{n:02d}") for n in range(CALLERS)))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
