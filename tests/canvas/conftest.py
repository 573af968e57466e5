"""A fresh app in memory for each test."""

import pytest
from workshop import Workshop, use, wire_tasks

from umbel.ports.current import set_current_app


@pytest.fixture
def app():
    yield use(Workshop())
    set_current_app(None)


@pytest.fixture
def t(app):
    """The tasks that the vectors name, by their names."""
    return wire_tasks(app)
