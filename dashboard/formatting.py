"""Turns values into text a person reads: money, times, ages, and text from outside made literal.

Pure; knows neither Textual nor HTTP. Everything that came over the wire passes `literal` before it reaches
a cell, because one order description with an escape sequence or a bidi override would otherwise speak in
the operator's terminal with the daemon's voice.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from rich.cells import cell_len, set_cell_size

DASH = "—"
"""Shown where a value is not known. Never zero: a failed scrape is not an empty till."""

BEIJING = timezone(timedelta(hours=8), "Beijing")
"""WeChat Pay's books close on Beijing days, so every time on screen is Beijing time."""

_MARKS_IN_A_ROW = 2
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def literal(text: object, *, limit: int = 2000) -> str:
    """One line of `text` with everything that could steer a terminal shown as a visible mark.

    C0 controls become their control pictures, other controls, bidi overrides, zero-width and unassigned
    characters become their code point in angle brackets; more than two combining marks in a row are cut.
    """
    source = text if isinstance(text, str) else str(text)
    if source.isascii() and source.isprintable():
        return source[:limit]
    kept: list[str] = []
    marks = 0
    for character in source[:limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS_IN_A_ROW or (marks and not kept):
            kept.append("" if marks > _MARKS_IN_A_ROW + 1 else f"⟨{ord(character):x}⟩")
        elif category in _UNSAFE_CATEGORIES:
            kept.append(_visible(character))
        else:
            kept.append(character)
    return "".join(kept)


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨{code:x}⟩"


def fit(text: str, width: int) -> str:
    """`text` cut to `width` terminal cells, with an ellipsis where something was lost; CJK counts two."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…" if width > 0 else ""


def whole(value: object) -> int | None:
    """`value` as an integer when it is one exactly, else None: `1.5`, booleans and words are no amounts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def yuan(fen: object, *, sign: str = "¥") -> str:
    """Integer fen as yuan, by integer arithmetic only: 123456 is ¥1,234.56."""
    amount = whole(fen)
    if amount is None:
        return DASH
    major, minor = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{sign}{major:,}.{minor:02d}"


def fen_of(text: str) -> int | None:
    """The fen a person typed as yuan (`12`, `12.3`, `12.34`, `¥1,200.00`), or None when it is no amount."""
    plain = text.strip().removeprefix("¥").replace(",", "")
    major, _, minor = plain.partition(".")
    if not (major.isascii() and major.isdigit()) or len(major) > 9:
        return None
    if len(minor) > 2 or (minor and not (minor.isascii() and minor.isdigit())):
        return None
    return int(major) * 100 + int((minor + "00")[:2])


def count(value: float | None) -> str:
    """A whole number with thousands separators, or a dash."""
    return DASH if value is None else f"{round(value):,}"


def rate(value: float | None) -> str:
    """A rate with as many digits as it deserves, or a dash."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def percent(part: float | None, total: float | None) -> str:
    """`part` of `total` in whole percent; a dash when there is no total."""
    if part is None or not total:
        return DASH
    return f"{part * 100 / total:.0f}%"


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `2 m 05 s`, `850 ms`."""
    if seconds is None:
        return DASH
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole_seconds = int(seconds)
    if seconds < 3600:
        return f"{whole_seconds // 60} m {whole_seconds % 60:02d} s"
    if seconds < 86400:
        return f"{whole_seconds // 3600} h {whole_seconds % 3600 // 60:02d} m"
    return f"{whole_seconds // 86400} d {whole_seconds % 86400 // 3600} h"


def coarse_duration(seconds: float | None) -> str:
    """A length of time in steps of ten seconds, then minutes: for cells that must not change each second."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{max(int(seconds), 0) // 10 * 10} s"
    return f"{int(seconds) // 60} m" if seconds < 3600 else duration(seconds)


def data_age(seconds: float) -> str:
    """How old a number is, in steps a person can follow without the screen flickering."""
    return f"{max(seconds, 0):.0f} s" if seconds < 120 else duration(seconds)


def size(octets: float | None) -> str:
    """A number of bytes in binary units."""
    if octets is None:
        return DASH
    amount = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def instant(text: object) -> datetime | None:
    """An RFC 3339 time from the wire as an aware datetime, or None when it is not one."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def clock_time(text: object, *, long: bool = False) -> str:
    """A time from the wire in Beijing: `11-24 21:05:09`; when `long` with its year and its zone."""
    moment = instant(text)
    if moment is None:
        return DASH if text is None else literal(text, limit=20)
    try:
        return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S +08:00" if long else "%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return DASH


def wall_time(seconds: float) -> str:
    """A Unix time as Beijing wall clock."""
    return datetime.fromtimestamp(seconds, BEIJING).strftime("%H:%M:%S")


def seconds_since(text: object, now: float) -> float | None:
    """Seconds from a wire time to `now` (Unix seconds), or None when there is no such time."""
    moment = instant(text)
    return None if moment is None else now - moment.timestamp()


def member(record: Any, *path: str) -> Any:
    """`record[a][b]...` where every step may be missing or of the wrong kind; None then.

    The daemon is trusted for its words, not for its shapes: a newer one may answer otherwise.
    """
    for step in path:
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def words(value: object) -> str:
    """A wire value as one literal line; a dash when there is none."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value)
