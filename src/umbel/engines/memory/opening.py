"""What the engines' front door calls: houses by name, shared by all connections of the process."""

from __future__ import annotations

import threading

from umbel.engines.memory.broker import MemoryBroker
from umbel.engines.memory.house import House
from umbel.engines.memory.store import MemoryStore
from umbel.engines.placing import Steps
from umbel.ports.engine import EngineOptions

_houses: dict[str, House] = {}
_lock = threading.Lock()


def open_broker(
    url: str,
    options: EngineOptions,
    store_url: str | None,
    store_options: EngineOptions | None = None,
) -> MemoryBroker:
    """A broker; ``store_url`` is given where the results are kept in the same house."""
    return MemoryBroker(
        _address(url),
        house_of(url),
        Steps.from_options(options.transport),
        keeps_results=store_url is not None,
    )


def open_store(url: str, options: EngineOptions) -> MemoryStore:
    """A result store."""
    return MemoryStore(_address(url), house_of(url))


def same_server(
    broker_url: str,
    store_url: str,
    broker_options: EngineOptions,
    store_options: EngineOptions,
) -> bool:
    """Whether two URLs name one house."""
    return _name(broker_url) == _name(store_url)


def house_of(url: str) -> House:
    """The house of a name, for as long as the process lives. ``memory://`` alone is one name too.

    A test that wants a fresh one names it after itself.
    """
    with _lock:
        return _houses.setdefault(_name(url), House())


def _name(url: str) -> str:
    return url.partition("://")[2].partition("?")[0].strip("/")


def _address(url: str) -> str:
    return f"memory://{_name(url)}"
