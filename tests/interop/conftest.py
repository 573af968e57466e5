"""One Redis, workers of both houses on it, and a witness of all that is sent."""

import pytest
from fleet import Fleet, Witness


@pytest.fixture
def fleet(redis_url, tmp_path):
    """Workers and producers of both houses; all are ended with the test."""
    fleet = Fleet(redis_url, tmp_path)
    yield fleet
    fleet.close()


@pytest.fixture
def witness(redis_url):
    """Sees every message that is put into a list from now on."""
    witness = Witness(redis_url)
    yield witness
    witness.close()
