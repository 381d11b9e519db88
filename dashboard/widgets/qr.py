"""A payment code as half-block characters, two modules a cell, with the quiet zone scanners need."""

from __future__ import annotations

import io
from typing import Any

import segno

from dashboard.formatting import member

PAYABLE_PREFIXES = ("weixin://", "wxp://", "https://")
_URL_CHARACTERS = 512


def payable_url(order: Any, events: Any) -> str | None:
    """The code_url or h5_url of an order that can still be paid, wherever the daemon tells it; else None."""
    if member(order, "status") not in ("CREATED", "PAYING"):
        return None
    payments = member(order, "payments")
    sources = [order, *(payments if isinstance(payments, list) else [])]
    sources += [member(event, "detail") for event in events if isinstance(event, dict)]
    for source in sources:
        for name in ("code_url", "h5_url"):
            url = member(source, name)
            if isinstance(url, str) and url.startswith(PAYABLE_PREFIXES) and len(url) <= _URL_CHARACTERS:
                return url if url.isascii() and url.isprintable() else None
    return None


def qr_lines(url: str) -> list[str]:
    """The code as lines of half blocks: dark modules are spaces, so it is drawn light on dark."""
    out = io.StringIO()
    segno.make(url, error="l", micro=False).save(out, kind="txt", border=2)
    rows = [[module == "1" for module in line] for line in out.getvalue().split("\n") if line]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    glyphs = {(False, False): "█", (True, True): " ", (False, True): "▀", (True, False): "▄"}
    return [
        "".join(glyphs[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
