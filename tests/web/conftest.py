"""One furnished payd for all tests that need a running one."""

from __future__ import annotations

import pytest

from tests.web.furnished import furnished_house


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """A running payd that has something of everything."""
    running = furnished_house(tmp_path_factory.mktemp("furnished"))
    yield running
    assert running.stop() == 0
