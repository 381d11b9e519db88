"""A process that fills a file until its size limit, is refused, and goes on when the limit is lifted.

Run by the disk tests: ``limited_writer.py DATABASE``; prints how many orders were acknowledged, refused, and written
later.
"""

from __future__ import annotations

import asyncio
import importlib.util
import resource
import sys
from pathlib import Path

from payd.errors import StorageUnavailable
from payd.storage import open_storage

FILE_BYTES = 1_000_000


async def main(path: Path) -> None:
    spec = importlib.util.spec_from_file_location("histories", Path(__file__).parent.parent / "conftest.py")
    histories = sys.modules["histories"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(histories)
    made = histories.Histories()
    storage = open_storage(path, mode="sandbox", clock=made.clock)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, hard))
    acknowledged, refused = 0, []
    for n in range(4_000):
        change = made.create(f"order-{n:04d}").change
        try:
            await storage.commit(change)
            acknowledged += 1
        except StorageUnavailable:
            refused.append(change)
            if len(refused) == 5:
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for change in refused:
        await storage.commit(change)
    await storage.close()
    print(acknowledged, len(refused), len(refused))


asyncio.run(main(Path(sys.argv[1])))
