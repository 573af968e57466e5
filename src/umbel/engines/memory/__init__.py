"""``memory://``: a broker and a result store inside one process, for tests."""

from umbel.engines.memory.opening import open_broker, open_store, same_server

__all__ = ["open_broker", "open_store", "same_server"]
