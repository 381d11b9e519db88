"""Both backends, one contract: every test of this folder runs once per backend."""

from __future__ import annotations

from typing import Any

import pytest

from payd.ports import Storage
from payd.storage import MemoryStorage, open_storage


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: Any, db_path: Any, clock: Any, io_loop: Any) -> Any:
    opened: Storage = (
        MemoryStorage() if request.param == "memory" else open_storage(db_path, mode="sandbox", clock=clock)
    )
    yield opened
    io_loop.run_sync(opened.close)
