"""From a ``sqlite://`` or ``memory://`` URL to the doors."""

from __future__ import annotations

from umbel.engines.sqlite.broker import SqliteBroker
from umbel.engines.sqlite.place import path_of, place_of
from umbel.engines.sqlite.store import SqliteStore
from umbel.ports.broker import Broker
from umbel.ports.engine import EngineOptions
from umbel.ports.store import Store


def open_broker(url: str, options: EngineOptions, store_url: str | None) -> Broker:
    """A broker; with a store's URL it settles results in its own transactions."""
    return SqliteBroker(place_of(url), keeps_results=store_url is not None)


def open_store(url: str, options: EngineOptions) -> Store:
    """A store, with a connection of its own."""
    return SqliteStore(place_of(url))


def same_server(
    broker_url: str, store_url: str, broker_options: EngineOptions, store_options: EngineOptions
) -> bool:
    """Whether both are one file."""
    if broker_url.startswith("memory:") or store_url.startswith("memory:"):
        return place_of(broker_url).url == place_of(store_url).url
    return path_of(broker_url)[0] == path_of(store_url)[0]
