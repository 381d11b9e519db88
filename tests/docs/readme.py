"""Reading README.md: its blocks by their marks, its tables by their section, its links."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "README.md").read_text()


@dataclass(frozen=True)
class Block:
    """One fenced block with a mark above it, ``<!-- run: curl -->``; ``answer`` is the JSON shown below it, if any."""

    mark: str
    language: str
    text: str
    answer: Any


def blocks(mark: str) -> list[Block]:
    """List the blocks of a mark, in the order of the page."""
    fence = r"```(\w+)\n(.*?)```\n"
    found = re.finditer(rf"<!-- {mark} -->\n{fence}(?:\n<!-- answers -->\n{fence})?", PAGE, re.DOTALL)
    return [Block(mark, f[1], f[2], json.loads(f[4]) if f[4] else None) for f in found]


def section(title: str) -> str:
    """Cut out one section of the second level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Read the cells of a section's tables, heads and rules left out."""
    lines = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [row for i, row in enumerate(cells) if row[0].strip("-") and not _is_rule(cells, i + 1)]


def _is_rule(cells: list[list[str]], place: int) -> bool:
    return place < len(cells) and not "".join(cells[place]).strip("-")
