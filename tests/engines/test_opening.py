"""From URLs to pairs, and what is refused on the way."""

import subprocess
import sys

import pytest

from umbel.engines.opening import censored, known_schemes, open_pair
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet


def _close(pair):
    pair.broker.close()
    if pair.store is not None:
        pair.store.close()


def test_one_file_settles_atomically(tmp_path):
    url = f"sqlite:///{tmp_path}/umbel.db"

    pair = open_pair(url, f"sqlite:///{tmp_path}/../{tmp_path.name}/umbel.db")

    assert pair.is_atomic
    assert pair.broker.url == pair.store.url == url
    _close(pair)


def test_two_files_do_not(tmp_path):
    pair = open_pair(f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db")

    assert not pair.is_atomic
    _close(pair)


def test_two_technologies_do_not(tmp_path):
    pair = open_pair("memory://", f"sqlite:///{tmp_path}/two.db")

    assert not pair.is_atomic
    _close(pair)


def test_no_result_url_means_no_store():
    pair = open_pair("memory://here", None)

    assert pair.store is None
    assert not pair.is_atomic
    _close(pair)


def test_memory_is_shared_by_name():
    first = open_pair("memory://shared", "memory://shared")
    second = open_pair("memory://shared", "memory://shared")
    other = open_pair("memory://another", "memory://another")

    first.store.put_group("g", b"group", None)

    assert first.is_atomic
    assert second.store.get_group("g") == b"group"
    assert other.store.get_group("g") is None
    for pair in (first, second, other):
        _close(pair)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://guest@localhost//", "RabbitMQ is not built yet"),
        ("pyamqp://", "RabbitMQ is not built yet"),
        ("db+sqlite:///results.db", "without db"),
        ("db+postgresql://host/db", "sqlite:///file.db"),
        ("sqla+mysql://host/db", "sqlite:///file.db"),
        ("rpc://", "redis:// or sqlite:///"),
        ("django-db", "Django"),
        ("cache+memcached://127.0.0.1:11211/", "evicted"),
        ("mongodb://host", "redis:// or sqlite:///"),
        ("redis+cluster://host", "sentinel://"),
        ("sqs://", "redis://"),
        ("file:///var/results", "sqlite:///file.db"),
    ],
)
def test_what_celery_has_and_umbel_has_not_is_refused_by_name(url, words):
    with pytest.raises(NotBuiltYet) as caught:
        open_pair("memory://", url)

    assert url.partition("://")[0] in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("reddis://localhost", "did you mean redis://"),
        ("sqllite:///umbel.db", "did you mean sqlite://"),
        ("quantum://x", "wanted one like sqlite://, redis://, memory://"),
        ("umbel.db", "is no known scheme"),
        ("sqlite", "which is no URL"),
        ("", "is no known scheme"),
    ],
)
def test_an_unknown_scheme_is_refused_with_the_nearest(url, wanted):
    with pytest.raises(ImproperlyConfigured) as caught:
        open_pair(url, None)

    assert wanted in str(caught.value)


def test_a_refusal_does_not_show_a_password():
    with pytest.raises(ImproperlyConfigured) as caught:
        open_pair("reddis://me:secret@localhost", None)

    assert "secret" not in str(caught.value)
    assert "me:**@localhost" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@host/0", "redis://:**@host/0"),
        ("redis://me:se:cr/et@host/0", "redis://me:**@host/0"),
        ("redis://me:p@ss@host/0", "redis://me:**@host/0"),
        ("sentinel://:one@a:1;sentinel://:two@b:2", "sentinel://:**@a:1;sentinel://:**@b:2"),
        (
            "redis+socket:///run/redis?password=secret&db=1",
            "redis+socket:///run/redis?password=**&db=1",
        ),
        ("sqlite:////home/me/a:b@c.db", "sqlite:////home/me/a:b@c.db"),
        ("no url", "no url"),
    ],
)
def test_passwords_are_hidden(url, shown):
    assert censored(url) == shown


def test_the_known_schemes_are_told():
    assert {"memory", "sqlite", "redis", "rediss", "sentinel", "valkey"} <= set(known_schemes())


def test_only_the_engine_that_is_opened_is_imported(tmp_path):
    program = (
        "import sys; from umbel.engines.opening import open_pair\n"
        "assert 'sqlite3' not in sys.modules\n"
        "open_pair('memory://', 'memory://')\n"
        "assert 'sqlite3' not in sys.modules\n"
        f"open_pair('sqlite:///{tmp_path}/umbel.db', None)\n"
        "assert 'sqlite3' in sys.modules\n"
        "assert 'redis' not in sys.modules and 'hiredis' not in sys.modules\n"
    )

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_where_no_scheme_is_near_nothing_is_asked():
    with pytest.raises(ImproperlyConfigured) as caught:
        open_pair("quantum://x", None)

    assert str(caught.value).endswith("memory://")
