"""Money is an integer number of fen (1/100 yuan), currency CNY. Decimal yuan exist only in bills and on screens."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

CNY: Final = "CNY"

#: As bills write amounts; the bound keeps a hostile file from asking for numbers of a million digits.
_YUAN: Final = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,10})?", re.ASCII)


def fen_from_yuan(text: str) -> int:
    """Turn a decimal yuan text of a bill (``12.30``, ``0.0``, ``-0.01000``) into fen.

    Raises ValueError when the text is no decimal number or names a fraction of a fen.
    """
    if not _YUAN.fullmatch(text.strip()):
        raise ValueError(f"not an amount in yuan: {text[:32]!r}")
    fen = Decimal(text.strip()) * 100
    if fen != fen.to_integral_value():
        raise ValueError(f"not a whole number of fen: {text[:32]!r}")
    return int(fen)


def yuan_from_fen(fen: int) -> str:
    """Write fen as yuan with two decimals: ``1234`` -> ``12.34``, ``-5`` -> ``-0.05``."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"
