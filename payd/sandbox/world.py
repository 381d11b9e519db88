"""What every part of the simulator shares: the merchant, the book, the clock, the keys, the switches."""

from __future__ import annotations

from dataclasses import dataclass

from payd.sandbox.agenda import Agenda
from payd.sandbox.book import Book
from payd.sandbox.clock import BookClock
from payd.sandbox.identifiers import Identifiers
from payd.sandbox.merchant import Merchant, Vault
from payd.sandbox.platform_keys import PlatformKeys
from payd.sandbox.switches import Switches


@dataclass(slots=True)
class World:
    """One simulated WeChat with one merchant; made once by ``server.Sandbox``."""

    merchant: Merchant
    vault: Vault
    clock: BookClock
    book: Book
    identifiers: Identifiers
    keys: PlatformKeys
    agenda: Agenda
    switches: Switches

    def commit(self) -> None:
        """Bring the book to disk; called before anything that was decided is told to anybody."""
        if self.book.dirty:
            self.book.set_meta(
                seed=self.identifiers.seed,
                counter=self.identifiers.counter,
                offset_seconds=self.clock.offset_seconds,
            )
            self.book.flush()
