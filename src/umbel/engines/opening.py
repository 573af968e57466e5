"""From a broker URL and a result URL to a pair that says whether it settles atomically.

The folder of a technology is imported only when one of its URLs is opened, so that a program pays
for nothing that it does not use. What Celery can talk to and umbel can't is refused by name, with
what to use instead; a scheme that is nobody's is refused with the ones that look like it.
"""

from __future__ import annotations

import re
from typing import Protocol, cast

from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.ports.broker import Broker
from umbel.ports.engine import EngineOptions, Pair
from umbel.ports.store import Store

_REDIS = "umbel.engines.redis"
_ENGINES = {
    "memory": "umbel.engines.memory",
    # Celery's name for results in the process, which tests written for it give.
    "cache+memory": "umbel.engines.memory",
    "sqlite": "umbel.engines.sqlite",
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
    "valkey+socket": _REDIS,
    "socket": _REDIS,
    "unix": _REDIS,
    "sentinel": _REDIS,
}

_OWN_SERVER = "use redis://, or sqlite:// which needs no server"
_RABBITMQ = f"RabbitMQ is not built yet: {_OWN_SERVER}"
_DATABASE = "other databases are not built yet: use sqlite:///file.db, or redis://"
_KEY_VALUE = "use redis:// or sqlite:///file.db for results"
# What Celery has and umbel has not (yet), and what to use.
_REFUSED = {
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
    "pyamqp": _RABBITMQ,
    "librabbitmq": _RABBITMQ,
    "rpc": f"results over RabbitMQ are not built yet: {_KEY_VALUE}",
    "sqla": _DATABASE,
    "sqlalchemy": _DATABASE,
    "database": _DATABASE,
    "postgres": _DATABASE,
    "postgresql": _DATABASE,
    "mysql": _DATABASE,
    "django-db": f"results in Django's database are not built yet: {_KEY_VALUE}",
    "django-cache": f"results in Django's cache are not built yet: {_KEY_VALUE}",
    "cache": f"results in a cache may be evicted: {_KEY_VALUE}",
    "redis+cluster": "Redis Cluster is not built yet: use one server, or sentinel://",
    "rediscluster": "Redis Cluster is not built yet: use one server, or sentinel://",
    **dict.fromkeys(
        ("sqs", "gcpubsub", "kafka", "confluentkafka", "pulsar", "azureservicebus", "qpid"),
        _OWN_SERVER,
    ),
    **dict.fromkeys(
        ("azurestoragequeues", "zookeeper", "consul", "etcd", "pyro", "SLMQ"), _OWN_SERVER
    ),
    **dict.fromkeys(
        ("mongodb", "mongodb+srv", "memcached", "memcache", "pylibmc", "elasticsearch", "riak"),
        _KEY_VALUE,
    ),
    **dict.fromkeys(
        ("couchbase", "couchdb", "cassandra", "dynamodb", "arangodb", "cosmosdbsql"), _KEY_VALUE
    ),
    **dict.fromkeys(("azureblockblob", "s3", "gs", "gcs", "iron_cache"), _KEY_VALUE),
    **dict.fromkeys(("filesystem", "file"), "use sqlite:///file.db, which is a file too"),
}

_PASSWORD = re.compile(r"(?P<begin>[\w+.\-]+://[^/@:;?\s]*:)(?P<password>[^;?\s]*)@")
_SECRET_OPTION = re.compile(r"(?P<begin>[?&][^=&;]*password=)[^&;\s]*", re.IGNORECASE)


class _Engine(Protocol):
    """What the folder of a technology hands on."""

    def open_broker(
        self,
        url: str,
        options: EngineOptions,
        store_url: str | None,
        store_options: EngineOptions | None = None,
    ) -> Broker: ...

    def open_store(self, url: str, options: EngineOptions) -> Store: ...

    def same_server(
        self,
        broker_url: str,
        store_url: str,
        broker_options: EngineOptions,
        store_options: EngineOptions,
    ) -> bool: ...


def open_pair(
    broker_url: str,
    result_url: str | None,
    broker_options: EngineOptions | None = None,
    result_options: EngineOptions | None = None,
) -> Pair:
    """Open a broker, and a store unless results are disabled (no URL).

    Raises ``ImproperlyConfigured`` for a URL that can't be used, ``NotBuiltYet`` for a technology
    that umbel does not speak yet, and ``OperationalError`` where a server must be asked whether it
    is the same one and can't be reached.
    """
    broker_options = broker_options or EngineOptions()
    result_options = result_options or EngineOptions()
    broker_engine = _engine(broker_url, "broker")
    if result_url is None:
        return Pair(broker_engine.open_broker(broker_url, broker_options, None), None, False)
    store_engine = _engine(result_url, "result backend")
    is_atomic = broker_engine is store_engine and broker_engine.same_server(
        broker_url, result_url, broker_options, result_options
    )
    broker = broker_engine.open_broker(
        broker_url,
        broker_options,
        result_url if is_atomic else None,
        result_options if is_atomic else None,
    )
    return Pair(broker, store_engine.open_store(result_url, result_options), is_atomic)


def load(url: str) -> None:
    """Import the engine of a URL, and open nothing: for who forks and wants it shared."""
    _engine(url, "broker")


def known_schemes() -> list[str]:
    """The schemes of URLs that can be opened."""
    return sorted(_ENGINES)


def censored(url: str) -> str:
    """The URL, or several joined by ``;``, without passwords."""
    without = _PASSWORD.sub(lambda found: f"{found['begin']}**@", url)
    return _SECRET_OPTION.sub(lambda found: f"{found['begin']}**", without)


def address(url: str) -> str:
    """A URL for the eye: without its password, and with the absolute path of a file."""
    scheme, mark, rest = url.partition("://")
    if scheme == "sqlite" and mark:
        # Not at the top: only what is shown to people asks.
        from os.path import abspath

        path, question, options = rest.removeprefix("/").partition("?")
        return f"sqlite:///{abspath(path)}{question}{options}" if path else url
    return censored(url)


def _engine(url: str, role: str) -> _Engine:
    scheme = url.partition("://")[0]
    folder = _ENGINES.get(scheme)
    if folder is None:
        raise _refusal(scheme, url, role)
    if "://" not in url:
        raise ImproperlyConfigured(
            f"the {role} is {url!r}, which is no URL; wanted something like {scheme}://"
            f"{'/umbel.db' if scheme == 'sqlite' else 'localhost'}"
        )
    from importlib import import_module

    return cast(_Engine, import_module(folder))


def _refusal(scheme: str, url: str, role: str) -> Exception:
    refused = _REFUSED.get(scheme) or _REFUSED.get(scheme.split("+")[0])
    if scheme.startswith("db+sqlite"):
        refused = "umbel has its own tables: use sqlite:///file.db (without db+)"
    elif scheme.startswith("db+"):
        refused = _DATABASE
    if refused is not None:
        return NotBuiltYet(f"the {role} {scheme}:// can't be used: {refused}")
    from difflib import get_close_matches

    # Without a scheme, what stands before the host may be a password.
    shown = censored(url) if "://" in url else re.sub(r".*@", "**@", url)
    scheme = scheme if "://" in url else shown
    near = get_close_matches(scheme, _ENGINES, n=3, cutoff=0.6)
    wanted = near or ("sqlite", "redis", "memory")
    return ImproperlyConfigured(
        f"the {role} is {shown!r}, and {scheme!r} is no known scheme; "
        f"{'did you mean' if near else 'wanted one like'} "
        f"{', '.join(f'{name}://' for name in wanted)}{'?' if near else ''}"
    )
