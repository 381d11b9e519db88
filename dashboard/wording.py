"""Every sentence on screen, once, in English and Chinese. `tests/dashboard` holds the table to be complete.

A text may hold `{name}` fields; both languages must use the same ones.
"""

from __future__ import annotations

from dashboard.wording_table import TEXTS


class Wording:
    """Says the texts of the table in one language (`en` or `zh`)."""

    __slots__ = ("_column", "lang")

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._column = 1 if lang == "zh" else 0

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key`. Values are put in as they are; make them literal before. Raises KeyError."""
        text = TEXTS[key][self._column]
        return text.format_map(values) if values else text

    def has(self, key: str) -> bool:
        """Whether the table knows `key`."""
        return key in TEXTS
