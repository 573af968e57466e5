"""Redis URLs and options, by Celery's names, into one value that says how to connect.

What users write is checked here: an option that looks misspelt is refused, one that umbel does not
need is said to be unnecessary. Nothing here opens a socket.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from umbel.engines.redis.channels import DEFAULT_PREFIX
from umbel.engines.redis.keys import PRIORITY_STEPS, SEPARATOR
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.ports.engine import EngineOptions

logger = logging.getLogger(__name__)

PORT = 6379
SENTINEL_PORT = 26379
PLAIN_SCHEMES = ("redis", "valkey")
TLS_SCHEMES = ("rediss", "valkeys")
SOCKET_SCHEMES = ("redis+socket", "valkey+socket", "socket", "unix")
SENTINEL_SCHEME = "sentinel"
SCHEMES = (*PLAIN_SCHEMES, *TLS_SCHEMES, *SOCKET_SCHEMES, SENTINEL_SCHEME)

_HEARTBEAT = "leases live by the worker's heartbeat, however long a task runs"
# Options that Celery's Redis transport has and that umbel has no use for, and why.
_UNNEEDED = {
    "visibility_timeout": _HEARTBEAT,
    "unacked_key": "umbel keeps no unacked hash",
    "unacked_index_key": "umbel keeps no unacked index",
    "unacked_mutex_key": "umbel keeps no unacked hash",
    "unacked_mutex_expire": "umbel keeps no unacked hash",
    "unacked_restore_limit": _HEARTBEAT,
    "unacked_restore_interval": _HEARTBEAT,
    "unacked_restore_throttle": _HEARTBEAT,
    "ack_emulation": "every message is leased",
    "max_connections": "umbel has one connection for each thread",
    "health_check_interval": "a lost connection is noticed without it",
    "retry_on_timeout": "umbel always tries again",
    "polling_interval": "umbel does not poll",
    "max_retries": "umbel tries for the connection timeout",
    "interval_start": "umbel backs off by itself",
    "interval_step": "umbel backs off by itself",
    "interval_max": "umbel backs off by itself",
    "retry_policy": "umbel backs off by itself",
    "additional_connection_errors": "every broken connection is made again",
}
_KNOWN = (
    "global_keyprefix",
    "sep",
    "priority_steps",
    "queue_order_strategy",
    "result_chord_ordered",
    "fanout_prefix",
    "fanout_patterns",
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "client_name",
    "master_name",
    "min_other_sentinels",
    "sentinel_kwargs",
    "username",
    "password",
    "db",
)
_TLS_NAMES = ("keyfile", "certfile", "ca_certs", "cert_reqs", "check_hostname", "ciphers")
_ORDERS = ("priority", "sorted", "round_robin")


class Endpoint(NamedTuple):
    """One server, or one Sentinel that knows where it is."""

    host: str = "localhost"
    port: int = PORT
    path: str | None = None  # of a Unix socket
    username: str | None = None
    password: str | None = None
    db: int = 0


class Address(NamedTuple):
    """How to connect."""

    url: str  # without passwords
    endpoints: tuple[Endpoint, ...]  # tried in turn
    tls: Mapping[str, Any] | None = None
    master_name: str | None = None  # set: the endpoints are Sentinels
    sentinel_kwargs: Mapping[str, Any] = {}
    connect_timeout_s: float = 4.0
    reply_timeout_s: float = 20.0
    keepalive: bool = True
    keepalive_options: Mapping[int, int] = {}
    client_name: str | None = None

    @property
    def db(self) -> int:
        """The database's number."""
        return self.endpoints[0].db


class Manners(NamedTuple):
    """How the keys are named, and in what order they are served."""

    prefix: str = ""
    separator: bytes = SEPARATOR
    steps: tuple[int, ...] = PRIORITY_STEPS
    order: str = "round_robin"  # of queues, within a priority: as given, sorted, round_robin
    is_chord_ordered: bool = True
    fanout_prefix: str = DEFAULT_PREFIX  # of the channels that notices are published on
    fanout_patterns: bool = True  # whether the channel has the routing key


def censored(url: str) -> str:
    """The URL, or the list of URLs, with stars for each password."""
    return ";".join(_censored(part) for part in url.split(";"))


def _censored(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    login, at, where = rest.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        rest = f"{user}{colon}**@{where}" if colon else f"{user}@{where}"
    return re.sub(r"([?&]password=)[^&]*", r"\1**", f"{scheme}{mark}{rest}")


def manners_of(options: EngineOptions) -> Manners:
    """What the options say about keys."""
    transport = options.transport
    separator = transport.get("sep", SEPARATOR)
    order = transport.get("queue_order_strategy", "round_robin")
    if order not in _ORDERS:
        raise ImproperlyConfigured(
            f"queue_order_strategy is {order!r}; wanted one of {', '.join(_ORDERS)}"
        )
    return Manners(
        prefix=str(transport.get("global_keyprefix") or ""),
        separator=separator.encode() if isinstance(separator, str) else bytes(separator),
        steps=tuple(transport.get("priority_steps") or PRIORITY_STEPS),
        order=order,
        is_chord_ordered=bool(transport.get("result_chord_ordered", True)),
        fanout_prefix=_fanout_prefix(transport.get("fanout_prefix", True)),
        fanout_patterns=bool(transport.get("fanout_patterns", True)),
    )


def _fanout_prefix(given: Any) -> str:
    if isinstance(given, str):
        return given
    return DEFAULT_PREFIX if given else ""


def address_of(url: str, options: EngineOptions) -> Address:
    """How to connect to this URL. Raises ``ImproperlyConfigured``."""
    transport = options.transport
    _check(transport)
    shown = censored(url)
    endpoints: list[Endpoint] = []
    query: dict[str, str] = {}
    schemes: list[str] = []
    for text in url.split(";"):
        if text.strip():
            parts = _split(text.strip(), shown)
            schemes.append(parts.scheme)
            query |= dict(parse_qsl(parts.query))
            endpoints.append(_endpoint(parts, transport, shown))
    if not endpoints or len(set(schemes)) > 1:
        raise ImproperlyConfigured(f"{shown!r} mixes schemes; wanted one kind of server")
    scheme = schemes[0]
    if "credential_provider" in query or "credential_provider" in transport:
        raise NotBuiltYet("credential_provider is not built; put user and password into the URL")
    # Later ones may leave out what the first says (and in Celery's lists of Sentinels, the other
    # way round: the last one has the database).
    db = next((one.db for one in reversed(endpoints) if one.db), 0)
    first = endpoints[0]
    endpoints = [
        one._replace(
            db=db,
            username=one.username or first.username,
            password=one.password or first.password,
        )
        for one in endpoints
    ]
    master = query.get("master_name") or transport.get("master_name")
    if scheme == SENTINEL_SCHEME and not master:
        raise ImproperlyConfigured(
            f"{shown!r} needs the name of the master: set master_name in the transport options"
        )
    connect = _seconds(query, transport, "socket_connect_timeout") or options.connect_timeout_s
    return Address(
        url=shown,
        endpoints=tuple(endpoints),
        tls=_tls_of(scheme, query, options, shown),
        master_name=str(master) if scheme == SENTINEL_SCHEME else None,
        sentinel_kwargs=transport.get("sentinel_kwargs") or {},
        connect_timeout_s=connect,
        reply_timeout_s=_seconds(query, transport, "socket_timeout") or options.reply_timeout_s,
        keepalive=transport.get("socket_keepalive") is not False,
        keepalive_options=transport.get("socket_keepalive_options") or {},
        client_name=query.get("client_name") or transport.get("client_name"),
    )


def _split(text: str, shown: str) -> SplitResult:
    if "://" not in text:
        text = f"redis://{text}"
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{shown!r} can't be read ({error}); wanted redis://:password@host:6379/0, with "
            "characters such as '@' or '/' in the password written as %40 and %2F"
        ) from error
    if parts.scheme not in SCHEMES:
        raise ImproperlyConfigured(
            f"{shown!r} has the scheme {parts.scheme!r}; wanted one of {', '.join(SCHEMES)}"
        )
    return parts


def _endpoint(parts: SplitResult, transport: Mapping[str, Any], shown: str) -> Endpoint:
    query = dict(parse_qsl(parts.query))
    username = parts.username or query.get("username") or transport.get("username")
    password = parts.password or query.get("password") or transport.get("password")
    common = Endpoint(
        username=unquote(username) if username else None,
        password=unquote(password) if password else None,
    )
    named_db = query.get("virtual_host") or query.get("db") or transport.get("db") or ""
    if parts.scheme in SOCKET_SCHEMES:
        path = unquote((parts.hostname or "") + parts.path)
        path = path if path.startswith("/") else f"/{path}"
        return common._replace(path=path, db=_db(named_db, shown))
    port = parts.port or (SENTINEL_PORT if parts.scheme == SENTINEL_SCHEME else PORT)
    return common._replace(
        host=unquote(parts.hostname or "localhost"),
        port=port,
        db=_db(parts.path or named_db, shown),
    )


def _db(text: Any, shown: str) -> int:
    name = str(text).strip("/")
    if not name:
        return 0
    if "@" in name:
        # The rest of a user's name or password, which nobody is to read.
        raise ImproperlyConfigured(
            f"{shown!r} has a '/' before its '@'; in a name or password write it as %2F"
        )
    if not name.isdecimal():
        raise ImproperlyConfigured(
            f"{shown!r} names the database {name!r}; wanted a number, as in redis://localhost/0"
        )
    return int(name)


def _seconds(query: Mapping[str, str], transport: Mapping[str, Any], name: str) -> float | None:
    given = query.get(name, transport.get(name))
    if given is None:
        return None
    try:
        return float(given)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{name} is {given!r}; wanted seconds") from error


def _tls_of(
    scheme: str, query: Mapping[str, str], options: EngineOptions, shown: str
) -> Mapping[str, Any] | None:
    in_url = {name: value for name, value in query.items() if name.startswith("ssl_")}
    if in_url and scheme in PLAIN_SCHEMES:
        raise ImproperlyConfigured(
            f"{shown!r} has {', '.join(sorted(in_url))}, but its scheme is for connections "
            f"without TLS; wanted rediss://"
        )
    if scheme not in TLS_SCHEMES and options.tls is None:
        return None
    if scheme in SOCKET_SCHEMES:
        raise ImproperlyConfigured(f"{shown!r} is a Unix socket; TLS settings make no sense there")
    merged = {**(options.tls or {}), **in_url}
    given = {name.removeprefix("ssl_"): value for name, value in merged.items()}
    unknown = sorted(set(given) - set(_TLS_NAMES))
    if unknown:
        raise ImproperlyConfigured(
            f"TLS setting {unknown[0]!r} is not known; wanted some of {', '.join(_TLS_NAMES)} "
            "(each may begin with ssl_)"
        )
    return given


# Said once a process, however many connections it opens.
_told: set[str] = set()


def _check(transport: Mapping[str, Any]) -> None:
    for name in transport:
        if name in _KNOWN:
            continue
        if name in _UNNEEDED:
            if name not in _told:
                _told.add(name)
                logger.info("transport option %s is unnecessary: %s", name, _UNNEEDED[name])
            continue
        near = get_close_matches(name, [*_KNOWN, *_UNNEEDED], 1, 0.8)
        if near:
            raise ImproperlyConfigured(
                f"transport option {name!r} is not known; did you mean {near[0]!r}?"
            )
        logger.warning("transport option %s is not known to umbel and has no effect", name)
