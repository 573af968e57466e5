"""What the folder of a technology must offer: a broker and a store, opened from a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from umbel.ports.broker import Broker
from umbel.ports.store import Store


class EngineOptions(NamedTuple):
    """What the opening of an engine may be told, beside its URL."""

    # ``broker_transport_options`` / ``result_backend_transport_options``, by Celery's names.
    transport: Mapping[str, Any] = {}
    tls: Mapping[str, Any] | None = None  # broker_use_ssl / redis_backend_use_ssl
    connect_timeout_s: float = 4.0
    reply_timeout_s: float = 20.0


class Pair(NamedTuple):
    """A broker and a store that were opened together."""

    broker: Broker | None
    store: Store | None  # None: results are disabled
    # True: both are one server, and ``Broker.cycle`` carries documents and joins out itself.
    # False: the settler applies them to the store first, and the broker gets the rest.
    is_atomic: bool
