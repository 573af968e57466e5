"""``app.connection()``: what health checks and monitors ask."""

from __future__ import annotations

import pytest

from umbel import Celery
from umbel.model.errors import NotBuiltYet, OperationalError


@pytest.fixture
def app():
    app = Celery("linked", broker="memory://linked", set_as_current=False)
    yield app
    app.close()


def test_a_broker_that_answers_is_connected(app):
    with app.connection_or_acquire() as connection:
        assert connection.ensure_connection(max_retries=1) is connection

    assert connection.connected
    assert connection.transport.driver_type == "memory"


def test_a_broker_that_is_away_is_told_as_often_as_asked():
    app = Celery("away", broker="redis://user:secret@127.0.0.1:1/0", set_as_current=False)
    told = []
    connection = app.connection_for_read()

    with pytest.raises(OperationalError):
        connection.ensure_connection(
            errback=lambda error, pause_s: told.append(pause_s),
            max_retries=2,
            interval_start=0,
            interval_step=0.01,
        )

    assert told == [0, 0.01, 0.02]
    assert not connection.connected
    assert connection.info()["hostname"] == "127.0.0.1"


def test_its_address_has_no_password_unless_asked_for():
    app = Celery("secret", broker="redis://user:secret@127.0.0.1:1/0", set_as_current=False)

    connection = app.connection()

    assert "secret" not in connection.as_uri()
    assert "secret" not in repr(connection)
    assert "secret" in connection.as_uri(include_password=True)


def test_channels_are_refused_by_name(app):
    with pytest.raises(NotBuiltYet, match=r"SimpleQueue: umbel has no kombu channels"):
        app.connection().SimpleQueue("q")
