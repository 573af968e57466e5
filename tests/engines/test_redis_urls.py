"""Redis URLs and options in Celery's forms."""

import logging

import pytest

from umbel.engines.redis import open_broker
from umbel.engines.redis.urls import Endpoint, address_of, censored, manners_of
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.ports.engine import EngineOptions

OPTIONS = EngineOptions()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Endpoint()),
        ("redis://localhost:6379/0", Endpoint()),
        ("redis://example.org", Endpoint("example.org")),
        ("redis://example.org:7000//2", Endpoint("example.org", 7000, db=2)),
        ("redis://:pass@h:1/3", Endpoint("h", 1, None, None, "pass", 3)),
        ("redis://user:p%40ss%2F@h/3", Endpoint("h", 6379, None, "user", "p@ss/", 3)),
        ("redis://h?virtual_host=4", Endpoint("h", db=4)),
        ("redis://h?db=4", Endpoint("h", db=4)),
        ("valkey://[::1]:7/5", Endpoint("::1", 7, db=5)),
        ("redis+socket:///run/redis.sock", Endpoint(path="/run/redis.sock")),
        ("redis+socket:///run/r.sock?virtual_host=2", Endpoint(path="/run/r.sock", db=2)),
        ("unix:///run/r.sock?db=2", Endpoint(path="/run/r.sock", db=2)),
        ("socket://:pw@/run/r.sock", Endpoint(path="/run/r.sock", password="pw")),
    ],
)
def test_a_url_says_where_the_server_is(url, expected):
    address = address_of(url, OPTIONS)

    assert address.endpoints == (expected,)
    assert address.tls is None


def test_sentinels_are_listed_and_the_last_one_has_the_database():
    options = EngineOptions(
        transport={"master_name": "mymaster", "sentinel_kwargs": {"password": "s"}}
    )

    address = address_of("sentinel://:pw@a:1;sentinel://b;sentinel://c:3/7", options)

    assert [(one.host, one.port, one.password, one.db) for one in address.endpoints] == [
        ("a", 1, "pw", 7),
        ("b", 26379, "pw", 7),
        ("c", 3, "pw", 7),
    ]
    assert address.master_name == "mymaster"
    assert address.sentinel_kwargs == {"password": "s"}


def test_sentinels_need_the_name_of_the_master():
    with pytest.raises(ImproperlyConfigured, match="master_name"):
        address_of("sentinel://a:1", OPTIONS)


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("rediss://h", OPTIONS, {}),
        ("valkeys://h?ssl_cert_reqs=none", OPTIONS, {"cert_reqs": "none"}),
        (
            "rediss://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fca.pem",
            OPTIONS,
            {"cert_reqs": "CERT_REQUIRED", "ca_certs": "/ca.pem"},
        ),
        (
            "redis://h",
            EngineOptions(tls={"ssl_keyfile": "k", "certfile": "c"}),
            {"keyfile": "k", "certfile": "c"},
        ),
    ],
)
def test_tls_is_asked_for_by_scheme_or_setting(url, options, expected):
    assert address_of(url, options).tls == expected


def test_timeouts_are_taken_from_the_options():
    transport = {"socket_timeout": 7, "socket_connect_timeout": 2, "socket_keepalive": False}

    address = address_of("redis://h", EngineOptions(transport=transport))

    assert (address.reply_timeout_s, address.connect_timeout_s) == (7.0, 2.0)
    assert not address.keepalive


@pytest.mark.parametrize(
    ("url", "transport", "said"),
    [
        ("redis://h/name", {}, "'name'; wanted a number"),
        ("redis://h:port/0", {}, "can't be read"),
        ("redis://h?ssl_cert_reqs=none", {}, "rediss://"),
        ("redis://h", {"socket_timout": 3}, "did you mean 'socket_timeout'"),
        ("redis://h", {"socket_timeout": "long"}, "wanted seconds"),
        ("rediss://h?ssl_cert_req=none", {}, "'cert_req' is not known"),
        ("redis://a;sentinel://b", {}, "mixes schemes"),
    ],
)
def test_what_can_not_be_used_is_refused_with_what_is_wanted(url, transport, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        address_of(url, EngineOptions(transport=transport))


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        ({"queue_order_strategy": "any"}, "queue_order_strategy is 'any'"),
        ({"priority_steps": [3, 0]}, "priority_steps is"),
    ],
)
def test_manners_that_can_not_be_kept_are_refused(transport, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        open_broker("redis://h", EngineOptions(transport=transport), None)


def test_a_credential_provider_is_refused_by_name():
    with pytest.raises(NotBuiltYet, match="credential_provider"):
        address_of("redis://h?credential_provider=some.Class", OPTIONS)


def test_an_option_that_is_not_needed_is_said_to_be_unnecessary(caplog):
    with caplog.at_level(logging.INFO):
        address_of("redis://h", EngineOptions(transport={"visibility_timeout": 3600}))

    assert "visibility_timeout is unnecessary" in caplog.text


def test_the_separator_may_be_text():
    manners = manners_of(EngineOptions(transport={"sep": ":", "priority_steps": [0, 5]}))

    assert manners.separator == b":"
    assert manners.steps == (0, 5)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h/0", "redis://h/0"),
        ("redis://:pw@h/0", "redis://:**@h/0"),
        ("redis://user:p:w@x@h/0", "redis://user:**@h/0"),
        ("redis://h?password=pw&db=1", "redis://h?password=**&db=1"),
        ("sentinel://:pw@a:1;sentinel://:pw@b:2", "sentinel://:**@a:1;sentinel://:**@b:2"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert censored(url) == shown
