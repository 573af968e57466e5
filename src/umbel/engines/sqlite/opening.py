"""What the engines' front door calls: a broker and a store on a file, from URLs."""

from __future__ import annotations

from umbel.engines.placing import Steps
from umbel.engines.sqlite.broker import SqliteBroker
from umbel.engines.sqlite.location import location_of
from umbel.engines.sqlite.store import SqliteStore
from umbel.ports.engine import EngineOptions


def open_broker(
    url: str,
    options: EngineOptions,
    store_url: str | None,
    store_options: EngineOptions | None = None,
) -> SqliteBroker:
    """A broker; ``store_url`` is given where the results are kept in the same file."""
    return SqliteBroker(
        location_of(url, options),
        Steps.from_options(options.transport),
        keeps_results=store_url is not None,
    )


def open_store(url: str, options: EngineOptions) -> SqliteStore:
    """A result store."""
    return SqliteStore(location_of(url, options))


def same_server(
    broker_url: str,
    store_url: str,
    broker_options: EngineOptions,
    store_options: EngineOptions,
) -> bool:
    """Whether two URLs name one file."""
    broker = location_of(broker_url, broker_options)
    return broker.path == location_of(store_url, store_options).path
