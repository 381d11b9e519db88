"""The source tree, read once: every module with what it imports. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file. ``name`` is dotted; a package's ``__init__`` has the package's name."""

    name: str
    path: Path
    packages: frozenset[str]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), filename=str(self.path))

    @cached_property
    def imports(self) -> tuple[str, ...]:
        """Everything named by an import anywhere in the file, also inside functions and under TYPE_CHECKING.

        ``from a import b`` names ``a.b`` when that is a module of ours, else ``a``.
        """
        return tuple(self._imports())

    def _imports(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno} imports relatively"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in self.packages else str(node.module)

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def room(self) -> str:
        """The first name below the top: ``payd.web.views`` is in the room ``web``; ``payd`` itself in ````."""
        return self.name.partition(".")[2].partition(".")[0]


def read_tree(top: str) -> tuple[Module, ...]:
    files = sorted((ROOT / top).rglob("*.py"))
    names = {path: _dotted(path) for path in files}
    known = frozenset(names.values())
    return tuple(Module(name, path, known) for path, name in names.items())


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="session")
def payd_tree() -> tuple[Module, ...]:
    """Every module of payd, the simulator's too."""
    return read_tree("payd")


@pytest.fixture(scope="session")
def payd_modules(payd_tree) -> tuple[Module, ...]:
    """Every module of payd but the simulator's."""
    return tuple(module for module in payd_tree if module.room != "sandbox")


@pytest.fixture(scope="session")
def dashboard_modules() -> tuple[Module, ...]:
    return read_tree("dashboard")
