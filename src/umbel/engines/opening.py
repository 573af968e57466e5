"""From URLs to doors: which engine speaks a scheme, and whether broker and results are one server.

Engines are imported when a URL asks for them, so a program on SQLite loads no Redis client.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Any

from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.ports.engine import EngineOptions, Pair

_SQLITE = "umbel.engines.sqlite"
_REDIS = "umbel.engines.redis"
ENGINES = {
    "sqlite": _SQLITE,
    "memory": _SQLITE,
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
    "sentinel": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
}
_INSTEAD = "use redis:// or sqlite:/// meanwhile"
NOT_BUILT = {
    "amqp": f"RabbitMQ is not built yet; {_INSTEAD}",
    "amqps": f"RabbitMQ is not built yet; {_INSTEAD}",
    "pyamqp": f"RabbitMQ is not built yet; {_INSTEAD}",
    "postgresql": f"PostgreSQL is not built yet; {_INSTEAD}",
    "sqs": f"Amazon SQS is not built; {_INSTEAD}",
    "rpc": "rpc:// results are not built; use redis:// or sqlite:/// as result_backend",
    "db": "SQLAlchemy results (db+...) are not built; use sqlite:/// or redis://",
    "django-db": "django-db is not built; use redis:// or sqlite:/// as result_backend",
    "django-cache": "django-cache is not built; use redis:// or sqlite:/// as result_backend",
    "cache": "cache results are not built; use redis:// or sqlite:/// as result_backend",
    "mongodb": f"MongoDB is not built; {_INSTEAD}",
    "filesystem": "filesystem:// is not built; sqlite:/// needs no server either",
    "redis+cluster": "Redis Cluster is not built; use a single Redis or sentinel://",
    "rediss+cluster": "Redis Cluster is not built; use a single Redis or sentinel://",
}


def open_pair(
    broker_url: str,
    result_url: str | None,
    broker_options: EngineOptions | None = None,
    result_options: EngineOptions | None = None,
) -> Pair:
    """A broker and, where a result URL is given, a store.

    Connects as late as the engine can. Raises ``ImproperlyConfigured`` for a URL that no engine
    speaks and ``NotBuiltYet`` for one that Celery speaks and umbel does not.
    """
    broker_options = broker_options or EngineOptions()
    result_options = result_options or EngineOptions()
    broker_engine = _engine_of(broker_url, "broker_url")
    if result_url is None:
        return Pair(broker_engine.open_broker(broker_url, broker_options, None), None, False)
    result_engine = _engine_of(result_url, "result_backend")
    is_atomic = broker_engine is result_engine and broker_engine.same_server(
        broker_url, result_url, broker_options, result_options
    )
    broker = broker_engine.open_broker(
        broker_url, broker_options, result_url if is_atomic else None
    )
    return Pair(broker, result_engine.open_store(result_url, result_options), is_atomic)


def known_schemes() -> list[str]:
    """The schemes that can be opened."""
    return list(ENGINES)


def censored(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(://|;)([^/@:;]*):[^/@;]*@", r"\1\2:**@", url)


def _engine_of(url: str, setting: str) -> Any:
    scheme = url.partition(":")[0]
    base = scheme if scheme in NOT_BUILT else scheme.partition("+")[0]
    if scheme in ENGINES:
        return importlib.import_module(ENGINES[scheme])
    if base in NOT_BUILT:
        raise NotBuiltYet(f"{setting} = {censored(url)!r}: {NOT_BUILT[base]}")
    near = difflib.get_close_matches(scheme, ENGINES, n=1)
    hint = f"; did you mean {near[0]}://?" if near else ""
    raise ImproperlyConfigured(
        f"{setting} = {censored(url)!r}: no engine speaks {scheme!r}{hint} "
        f"(known: {', '.join(ENGINES)})"
    )
