"""What all tests share: no event loop is left behind, and slow machines are no failure."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, not about payd.
settings.register_profile("payd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("payd")


def pytest_configure() -> None:
    """Say that there is no loop: asyncio then never makes one by itself that nobody would close."""
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def no_loop_left_behind():
    """Close a loop that a test made by merely touching Tornado: its sockets would be blamed on a later test."""
    yield
    policy = asyncio.get_event_loop_policy()
    loop = getattr(getattr(policy, "_local", None), "_loop", None)  # get_event_loop() would make one
    if loop is not None and not loop.is_running():
        policy.set_event_loop(None)
        loop.close()
