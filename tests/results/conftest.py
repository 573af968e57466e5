"""An archive in memory for each test."""

import pytest
from shelf import Shelf, app_with


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def app(shelf):
    return app_with(shelf)
