"""WeChat-shaped identifiers, all derived from one seed and one counter.

The shapes are those of section 14 of PROTOCOL.md. The same seed, the same requests in the same order and
the same Beijing day give the same identifiers, so a failing simulation can be run again.
"""

from __future__ import annotations

import hashlib
import uuid

from payd.sandbox.clock import beijing

_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Identifiers:
    """Makes identifiers; ``counter`` must be kept with the book, or numbers would come twice."""

    def __init__(self, seed: int, counter: int = 0) -> None:
        self.seed = seed
        self.counter = counter

    def _draw(self, kind: str) -> int:
        """The next 256-bit number of this seed."""
        self.counter += 1
        text = f"{self.seed}/{kind}/{self.counter}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=32).digest())

    def _digits(self, kind: str, count: int) -> str:
        return f"{self._draw(kind) % 10**count:0{count}d}"

    def transaction_id(self, now: float) -> str:
        """28 digits: 4200, six digits, the Beijing day, ten digits."""
        digits = self._digits("transaction", 16)
        return f"4200{digits[:6]}{beijing(now):%Y%m%d}{digits[6:]}"

    def refund_id(self, now: float) -> str:
        """29 digits: 50, eight digits, the Beijing day, eleven digits."""
        digits = self._digits("refund", 19)
        return f"50{digits[:8]}{beijing(now):%Y%m%d}{digits[8:]}"

    def prepay_id(self, now: float) -> str:
        """``wx`` and 34 characters: day and time, 22 hex digits, four noughts."""
        return f"wx{beijing(now):%d%H%M%S}{self._draw('prepay') % 16**22:022x}0000"

    def code(self, length: int) -> str:
        """``length`` alphanumeric characters for a ``code_url``."""
        number = self._draw("code")
        letters = []
        for _ in range(length):
            number, index = divmod(number, len(_ALPHANUMERIC))
            letters.append(_ALPHANUMERIC[index])
        return "".join(letters)

    def package(self) -> str:
        """The ten digits that stand as ``package`` in an ``h5_url``."""
        return self._digits("package", 10)

    def notification_id(self) -> str:
        """A lower-case UUID."""
        return str(uuid.UUID(int=self._draw("notification") % 2**128, version=4))

    def fraction(self, kind: str) -> float:
        """A number in [0, 1) for decisions that must be the same in every run of a seed."""
        return self._draw(kind) % 2**53 / 2**53
