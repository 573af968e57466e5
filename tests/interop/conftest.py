"""One Redis, workers of both houses on it, and a witness of all that is sent."""

import pytest
from fleet import PRODUCERS, Fleet, Witness


@pytest.fixture(scope="session")
def _producers(redis_server):
    yield
    for module in PRODUCERS.values():
        module.app.close()
    PRODUCERS.clear()


@pytest.fixture
def fleet(_producers, redis_url, tmp_path):
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
