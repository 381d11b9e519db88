"""Identifiers: their shapes and how payd makes its own. Randomness is handed in (``ports.Entropy``)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

# WeChat allows `|` and `*` too, older pages do not: payd stays inside what every page allows.
OUT_TRADE_NO: Final = re.compile(r"[0-9A-Za-z_-]{6,32}", re.ASCII)
OUT_REFUND_NO: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
TRANSACTION_ID: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

BEIJING: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
_DIGITS_ONLY: Final = str.maketrans("", "", "-T:")


def new_out_trade_no(*, now: datetime, random_hex: str) -> str:
    """``P`` + Beijing time to the second + 16 random hex digits: 31 characters, sorts by time, fits WeChat's 32."""
    return f"P{_to_the_second(now)}{random_hex[:16]}"


def new_out_refund_no(*, now: datetime, random_hex: str) -> str:
    """``R`` + Beijing time to the second + 16 random hex digits."""
    return f"R{_to_the_second(now)}{random_hex[:16]}"


def _to_the_second(now: datetime) -> str:
    return now.astimezone(BEIJING).isoformat(timespec="seconds")[:19].translate(_DIGITS_ONLY)
