"""Endpoints that said 410: remembered in the storage's meta table, so that a restart does not wake them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from payd.ports import Storage

#: Key of the meta table, completed by the URL. The value is when it said 410; empty: it is on again.
META_PREFIX: Final = "webhook_disabled:"


class DisabledEndpoints:
    """Which of the configured endpoints are off. Memory runs ahead of the disk by one commit, never behind."""

    def __init__(self, urls: Collection[str]) -> None:
        self._configured = tuple(urls)
        self._off: set[str] = set()

    async def load(self, storage: Storage) -> None:
        """Read what earlier runs found out."""
        self._off = {url for url in self._configured if await storage.load_meta(META_PREFIX + url)}

    def __contains__(self, url: str) -> bool:
        return url in self._off

    @property
    def urls(self) -> frozenset[str]:
        """The URLs that are off now."""
        return frozenset(self._off)

    def switch_off(self, url: str) -> None:
        """Stop telling this endpoint anything, from now on; the commit of `off_row` makes it last."""
        self._off.add(url)

    def switch_on(self, url: str) -> None:
        """Forget the 410, after the commit of `on_row`."""
        self._off.discard(url)

    @staticmethod
    def off_row(url: str, *, at: datetime) -> tuple[str, str]:
        """Make the meta row that says an endpoint is off."""
        return META_PREFIX + url, at.isoformat()

    @staticmethod
    def on_row(url: str) -> tuple[str, str]:
        """Make the meta row that says it is on again."""
        return META_PREFIX + url, ""
