"""Bill files on disk: where they are kept, and reading them without holding up the loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO, TypeVar

from payd import limits
from payd.models.bill import BillKind

T = TypeVar("T")


def bill_path(folder: Path, bill_date: date, kind: BillKind) -> Path:
    """Say where a day's bill is kept: as WeChat sent it, unpacked."""
    return folder / f"{kind.value}-{bill_date.isoformat()}.csv"


def bill_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of an open file; one that is too long comes in pieces, and the reader refuses the first."""
    return iter(lambda: file.readline(limits.BILL_LINE_BYTES_MAX + 1), b"")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield what is computed on the loop, giving everybody else a turn every few milliseconds."""
    for count, item in enumerate(items, start=1):
        yield item
        if count % limits.BILL_ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)


async def taking_turns(items: AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield what comes from elsewhere in batches, giving everybody else a turn as `in_turns` does."""
    count = 0
    async for item in items:
        yield item
        count += 1
        if count % limits.BILL_ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)


def file_sha1(path: Path) -> str:
    """Hash a file as WeChat does. Blocks: run it off the loop."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
