"""Redis and Valkey: a broker and a result store on Celery's keys."""

from umbel.engines.redis.opening import open_broker, open_pair, open_store, same_server
from umbel.engines.redis.urls import SCHEMES, censored

__all__ = ["SCHEMES", "censored", "open_broker", "open_pair", "open_store", "same_server"]
