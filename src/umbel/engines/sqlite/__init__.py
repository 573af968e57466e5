"""SQLite: a broker and a result store in one file, shared by the processes of one machine."""

from umbel.engines.sqlite.opening import open_broker, open_store, same_server

__all__ = ["open_broker", "open_store", "same_server"]
