"""Where the master is, asked of the Sentinels. The general client knows how; it is imported only
here.
"""

from __future__ import annotations

from umbel.engines.redis.connection import ConnectionBroken
from umbel.engines.redis.urls import Address, Endpoint
from umbel.model.errors import ImproperlyConfigured


def master_of(address: Address) -> Endpoint:
    """The master, now. Raises ``ConnectionBroken`` where no Sentinel knows one."""
    try:
        from redis.exceptions import RedisError
        from redis.sentinel import Sentinel
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{address.url} needs the package redis: pip install 'umbel[redis]'"
        ) from error
    first = address.endpoints[0]
    kwargs = {
        "socket_timeout": address.connect_timeout_s,
        "socket_connect_timeout": address.connect_timeout_s,
        **address.sentinel_kwargs,
    }
    # redis-py leaves these two untyped.
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(one.host, one.port) for one in address.endpoints], sentinel_kwargs=kwargs
    )
    try:
        host, port = sentinel.discover_master(  # type: ignore[no-untyped-call]
            address.master_name
        )
    except (RedisError, OSError) as error:
        raise ConnectionBroken(f"the Sentinels know no master: {error}") from error
    finally:
        for client in sentinel.sentinels:
            client.close()
    return first._replace(host=str(host), port=int(port))
