"""Header fields as read from the wire: names without regard to case, repeated ones joined (RFC 9110, 5.2 and 5.3).

Tornado's ``HTTPHeaders`` spells each name anew and checks it at every look: a tenth of the time of a callback. This is
for what was found well-formed already: requests read by llhttp, and WeChat's answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class Headers(dict[str, str]):
    """Field name in lower case -> value. Filled by ``add``; ``get`` and ``in`` take any spelling."""

    __slots__ = ()

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Headers:
        """Take the fields of another mapping."""
        headers = cls()
        for name, value in fields.items():
            headers.add(name, value)
        return headers

    def add(self, name: str, value: str) -> None:
        """Take one field line."""
        name = name.lower()
        known = self.find(name)
        self[name] = value if known is None else f"{known},{value}"

    #: Finds a value by its name in lower case, at the speed of a dict.
    find = dict.get

    def get(self, name: str, default: T | None = None) -> str | T | None:  # type: ignore[override]
        """Find a value by its name in any spelling."""
        return super().get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        """Tell whether there was such a field."""
        return super().__contains__(str(name).lower())
