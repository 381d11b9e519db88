"""Imports go down. The ranks are the table of payd/README.md; the code is held to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "payd" / "README.md"

#: Ranks whose rooms do not know each other: each is one outside thing, or one way in.
SEPARATE = {3, 4}

#: Imports against the ranks that are meant: importer, imported -> why. Empty is the aim.
EXCEPTIONS: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def ranks() -> dict[str, int]:
    """Room -> rank, out of the README's table: rows ``| 3 | `plugin` ... |``."""
    found: dict[str, int] = {}
    section = README.read_text().split("\n## Ranks\n")[1].split("\n## ")[0]
    for rank, rooms in re.findall(r"^\| ([0-5]) \| ([^|]+) \|", section, re.MULTILINE):
        for room in re.findall(r"`(\w+)`", rooms):
            assert room not in found, f"{room} has two ranks"
            found[room] = int(rank)
    return found


def rooms_of(modules) -> set[str]:
    return {module.room for module in modules if module.room}


def test_every_room_has_a_rank(payd_modules, ranks):
    """The README's table names each folder and file of payd once, and nothing that is not there."""
    assert rooms_of(payd_modules) == set(ranks)


def test_imports_go_down_only(payd_modules, ranks):
    """A module imports from its own rank or lower ones, never upwards."""
    upwards = {
        (module.where, name)
        for module in payd_modules
        if module.room
        for name in module.imports
        if name.startswith("payd.") and (room := name.split(".")[1]) in ranks and ranks[room] > ranks[module.room]
    }

    assert upwards == {pair for pair in EXCEPTIONS if pair in upwards}


def test_rooms_of_rank_3_and_4_do_not_know_each_other(payd_modules, ranks):
    """Plugin, WeChat, storage, lock and webhooks meet in daemon.py alone; so do the web and the workers."""
    sideways = {
        (module.where, name)
        for module in payd_modules
        if module.room and ranks[module.room] in SEPARATE
        for name in module.imports
        if name.startswith("payd.")
        and (room := name.split(".")[1]) != module.room
        and ranks.get(room) == ranks[module.room]
    }

    assert sideways == {pair for pair in EXCEPTIONS if pair in sideways}


def test_every_exception_is_still_needed(payd_modules):
    """An exception that nobody uses any more is taken off the list."""
    imported = {(module.where, name) for module in payd_modules for name in module.imports}

    assert set(EXCEPTIONS) - imported == set()


def test_the_root_of_the_package_imports_nothing(payd_modules):
    """``import payd`` is free: ``payd --version`` and completion stay quick."""
    root = next(module for module in payd_modules if module.name == "payd")

    assert root.imports == ()
