"""One running house for the module, one fresh for tests that kill it; the simulator's keys are made once."""

from __future__ import annotations

import shutil

import pytest

from payd.sandbox import prepare_directory
from tests.journeys.house import House


@pytest.fixture(scope="session")
def throwaway_keys(tmp_path_factory):
    """A prepared simulator folder: making RSA keys takes a second, so it is done once and copied."""
    folder = tmp_path_factory.mktemp("keys") / "sandbox"
    prepare_directory(folder)
    return folder


@pytest.fixture(scope="session")
def make_house(throwaway_keys):
    """Build a house in a folder with the prepared keys; not started."""

    def make(folder, **changes):
        shutil.copytree(throwaway_keys, folder / "sandbox")
        return House(folder, changes)

    return make


@pytest.fixture(scope="module")
def house(make_house, tmp_path_factory):
    """A running payd with its simulator, shared by the module's tests."""
    running = make_house(tmp_path_factory.mktemp("house")).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(autouse=True)
def no_faults_left(request):
    """A test's nuisances end with it."""
    running = request.getfixturevalue("house") if "house" in request.fixturenames else None
    yield
    if running is not None:
        running.act("faults", method="DELETE")
