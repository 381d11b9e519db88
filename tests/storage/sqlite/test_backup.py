"""Copies of running books: whole, at one moment, for the owner alone."""

from __future__ import annotations

import asyncio
import stat

import pytest

from payd.errors import StorageUnavailable
from payd.storage import open_for_reading
from payd.storage.audit import audit


async def test_a_copy_taken_under_load_is_whole(sqlite_storage, histories, tmp_path):
    """A copy made between commits of many callers passes the whole audit and lacks nothing that came before it."""
    for n in range(50):
        await sqlite_storage.commit(histories.create(f"before-{n:03d}").change)

    async def write(name):
        for n in range(40):
            created = histories.create(f"{name}-{n:03d}")
            await sqlite_storage.commit(created.change)
            await sqlite_storage.commit(histories.pay(created.snapshot).change)

    writers = [asyncio.ensure_future(write(f"during{w}")) for w in range(8)]
    await sqlite_storage.commit(histories.create("last-before").change)
    await sqlite_storage.backup(tmp_path / "copy.db")
    await asyncio.gather(*writers)

    assert audit(tmp_path / "copy.db", lambda *_: None) == []
    copy = open_for_reading(tmp_path / "copy.db")
    assert await copy.load_order("before-049") is not None
    assert await copy.load_order("last-before") is not None
    await copy.close()


async def test_a_copy_is_one_private_file(sqlite_storage, histories, tmp_path):
    """Nothing stands beside the copy, and only the owner can read it."""
    folder = tmp_path / "copies"
    folder.mkdir()

    await sqlite_storage.backup(folder / "copy.db")

    assert [path.name for path in folder.iterdir()] == ["copy.db"]
    assert stat.S_IMODE((folder / "copy.db").stat().st_mode) == 0o600


async def test_an_existing_target_is_left_alone(sqlite_storage, tmp_path):
    """A copy never replaces a file."""
    target = tmp_path / "copy.db"
    target.write_text("precious")

    with pytest.raises(StorageUnavailable, match="exists"):
        await sqlite_storage.backup(target)

    assert target.read_text() == "precious"
    assert not (tmp_path / "copy.db.partial").exists()


async def test_a_copy_that_fails_leaves_nothing(sqlite_storage, tmp_path):
    """A folder that is not there is an error, not half a file."""
    with pytest.raises(StorageUnavailable):
        await sqlite_storage.backup(tmp_path / "nowhere" / "copy.db")

    assert not (tmp_path / "nowhere").exists()
    assert not list(tmp_path.glob("*.partial"))
