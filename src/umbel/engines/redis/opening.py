"""Opening brokers and stores on Redis from URLs."""

from __future__ import annotations

from umbel.engines.redis.broker import RedisBroker
from umbel.engines.redis.commands import Results
from umbel.engines.redis.connection import Connection
from umbel.engines.redis.keys import ResultKeys
from umbel.engines.redis.store import RedisStore
from umbel.engines.redis.urls import Address, address_of, manners_of
from umbel.model.errors import OperationalError
from umbel.ports.engine import EngineOptions, Pair


def open_broker(
    url: str,
    options: EngineOptions,
    store_url: str | None,
    store_options: EngineOptions | None = None,
) -> RedisBroker:
    """A broker. ``store_url``: the result store on the same server, in whatever database, that its
    cycles write to. Connects at the first call.
    """
    results: Results | None = None
    if store_url is not None:
        given = store_options or EngineOptions()
        manners = manners_of(given)
        results = Results(
            ResultKeys(manners.prefix), address_of(store_url, given).db, manners.is_chord_ordered
        )
    return RedisBroker(address_of(url, options), manners_of(options), results)


def open_store(url: str, options: EngineOptions) -> RedisStore:
    """A result store. Connects at the first call."""
    return RedisStore(address_of(url, options), manners_of(options))


def same_server(
    broker_url: str,
    store_url: str,
    broker_options: EngineOptions,
    store_options: EngineOptions,
) -> bool:
    """Whether both are one server, so that one script can write to both.

    Decided by the URLs where they say it, else by asking both. Raises ``OperationalError`` where
    one that has to be asked can't be reached.
    """
    broker = address_of(broker_url, broker_options)
    store = address_of(store_url, store_options)
    if _places(broker) == _places(store):
        return True
    return _run_id(broker) == _run_id(store)


def open_pair(
    broker_url: str,
    result_url: str | None,
    broker_options: EngineOptions,
    result_options: EngineOptions,
) -> Pair:
    """Both, for URLs that are both of this engine."""
    if result_url is None:
        return Pair(open_broker(broker_url, broker_options, None), None, False)
    is_one = same_server(broker_url, result_url, broker_options, result_options)
    broker = open_broker(broker_url, broker_options, result_url if is_one else None, result_options)
    return Pair(broker, open_store(result_url, result_options), is_one)


def _places(address: Address) -> object:
    places = [(one.host, one.port, one.path) for one in address.endpoints]
    return places, address.master_name


def _run_id(address: Address) -> bytes:
    connection = Connection(address)
    try:
        facts: bytes = connection.command("INFO", "server")
    finally:
        connection.close()
    for line in facts.splitlines():
        if line.startswith(b"run_id:"):
            return line[len(b"run_id:") :]
    raise OperationalError(f"{address.url} does not say its run_id")
