"""A faithful, throw-away simulator of the WeChat Pay API v3 gateway, for loopback only.

It imports nothing from the rest of payd and shares no code with payd's client. ``README.md`` beside this
file tells how to use it, from payd or from any other program.

The three names below are loaded when they are first used, so that a command line which merely knows of the
simulator does not pay for its imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from payd.sandbox.merchant import Merchant, prepare_directory
    from payd.sandbox.server import Sandbox

__all__ = ["Merchant", "Sandbox", "prepare_directory"]

_HOMES = {"Sandbox": "server", "Merchant": "merchant", "prepare_directory": "merchant"}


def __getattr__(name: str) -> Any:
    """Load one of the public names (PEP 562)."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
