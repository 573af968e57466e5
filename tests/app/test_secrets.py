"""Passwords of URLs and settings are in no text that somebody might paste or log."""

from __future__ import annotations

import logging

import pytest

from umbel import Celery
from umbel.app.connecting import Connection
from umbel.engines.opening import address
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet, OperationalError

SECRET = "Pa55word"
URLS = {
    "broker": f"redis://user:{SECRET}@127.0.0.1:1/0",
    "backend": f"redis://:{SECRET}@127.0.0.1:1/1",
}
SETTINGS = {
    "broker_read_url": f"redis://user:{SECRET}@127.0.0.1:1/3;redis://user:{SECRET}@127.0.0.1:2/3",
    "redis_password": SECRET,
    "security_key_password": SECRET,
    "broker_transport_options": {
        "password": SECRET,
        "sentinel_kwargs": {"password": SECRET},
        "credentials": {"token": SECRET},
    },
    "my_api_token": SECRET,
    "other_urls": [f"amqp://u:{SECRET}@host//", {"dsn": f"postgresql://u:{SECRET}@host/db"}],
}


@pytest.fixture
def app():
    app = Celery("secretive", set_as_current=False, **URLS)
    app.conf.update(SETTINGS)
    yield app
    app.close()


def text_of(call):
    """What a call says, whether it returns or raises, with all causes."""
    try:
        return repr(call())
    except Exception as error:
        texts = []
        found = error
        while found is not None:
            texts.append(f"{found!r} {found} {vars(found)}")
            found = found.__cause__ or found.__context__
        return "\n".join(texts)


def test_the_settings_are_shown_without_secrets(app):
    for text in (
        app.conf.humanize(with_defaults=False),
        app.conf.humanize(with_defaults=True, censored=True),
        repr(app.conf),
        repr(app.conf.table()),
        app.bugreport(),
    ):
        assert SECRET not in text
        assert "127.0.0.1" in text or "********" in text
    assert SECRET in app.conf.humanize(censored=False)


def test_reprs_and_errors_hold_no_secrets(app, caplog):
    caplog.set_level(logging.DEBUG)
    add = app.task(lambda: None, name="add")

    texts = [
        repr(app),
        repr(add),
        repr(app.connections),
        repr(app.connection()),
        app.connection().as_uri(),
        repr(app.connection().info()),
        text_of(lambda: app.connection().ensure_connection(max_retries=0)),
        text_of(lambda: add.apply_async(retry=False)),
        text_of(lambda: app.AsyncResult("1").state),
        text_of(lambda: app.AsyncResult("1").get(timeout=0.1)),
        text_of(lambda: app.open_pair()),
        text_of(lambda: app.open_pair().broker.depth("celery")),
        caplog.text,
    ]

    assert any("127.0.0.1" in text for text in texts)
    for text in texts:
        assert SECRET not in text


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://user:{SECRET}@host//",
        f"rediss://user:{SECRET}@host:port/0",
        f"redis://user:{SECRET}@host:6379/zero",
        f"redis://host?password={SECRET}",
        f"sentinel://:{SECRET}@host:1;sentinel://:{SECRET}@host:2",
        f"redsi://user:{SECRET}@host/0",
        f"db+postgresql://user:{SECRET}@host/db",
        f"user:{SECRET}@host",
        f"redis://us/er:{SECRET}@host",
    ],
)
def test_a_url_that_can_not_be_used_is_told_without_its_password(url):
    app = Celery("wrong", broker=url, backend=url, set_as_current=False)

    text = text_of(lambda: app.send_task("t", retry=False))

    assert SECRET not in text


def test_the_address_for_a_banner_has_no_password():
    assert SECRET not in address(URLS["broker"])


def test_a_connection_of_its_own_url_shows_no_password(app):
    connection = Connection(app.connections, f"redis://:{SECRET}@127.0.0.1:1/0")

    assert SECRET not in repr(connection)
    assert SECRET not in text_of(lambda: connection.broker.workers())


def test_these_errors_are_told_by_name(app):
    with pytest.raises(OperationalError):
        app.send_task("t", retry=False)
    with pytest.raises((ImproperlyConfigured, NotBuiltYet)):
        Celery("x", broker="amqp://a:b@c//", set_as_current=False).send_task("t")
