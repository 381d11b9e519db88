"""The house of the journeys, for the long stories."""

from tests.journeys.conftest import make_house, throwaway_keys

__all__ = ["make_house", "throwaway_keys"]
