"""Everything that can go wrong inside the simulator, split by who has to act.

::

    SandboxError            the person who starts the simulator has to change something
    ├── DirectoryRefused    the directory looks like a real merchant's, or is damaged
    ├── ListenRefused       the address is not loopback, or is taken
    └── ControlRefused      a control call that cannot be done: 4xx with {code, message}

    Refusal                 WeChat Pay's own "no" to a merchant's request (not a fault of the simulator)
"""

from __future__ import annotations

from typing import Any


class SandboxError(Exception):
    """The simulator cannot do what a person asked of it; the message says what to change."""


class DirectoryRefused(SandboxError):
    """The simulator's directory holds something it must not use or cannot read."""


class ListenRefused(SandboxError):
    """The simulator may not or cannot listen on the address it was given."""


class ControlRefused(SandboxError):
    """A call of the control API that cannot be done; nothing has moved."""

    def __init__(self, code: str, message: str, *, status: int = 409) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Refusal(Exception):
    """An error answer of WeChat Pay, ready to be sent.

    ``suffix`` is WeChat's internal error number, the last part of ``Request-ID``. ``signed`` is False
    only for what the gateway says before it knows who is calling (section 2.3 of PROTOCOL.md).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        suffix: int,
        detail: dict[str, Any] | None = None,
        signed: bool = True,
        with_request_id: bool = True,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.suffix = suffix
        self.detail = detail
        self.signed = signed
        self.with_request_id = with_request_id
