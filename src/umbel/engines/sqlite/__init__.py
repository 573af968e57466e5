from umbel.engines.sqlite.opening import open_broker, open_store, same_server

__all__ = ["open_broker", "open_store", "same_server"]
