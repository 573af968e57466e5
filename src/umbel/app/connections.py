"""Which servers an app talks to, and one connection a thread to each.

A Broker or Store is used by one thread of one process. So each thread keeps its own pair, and a
forked child opens new ones: what it inherited is kept and never touched, because closing it would
speak on the parent's connection (or drop the parent's file locks).
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

from umbel.model.errors import UmbelError
from umbel.ports.engine import EngineOptions, Pair

DEFAULT_FILE = "umbel.db"

# Pairs that a parent process had opened: held, so that no destructor runs on them here.
_inherited: list[Any] = []


class _Held:
    """One thread's pair; closed when the thread, or the app, is gone."""

    __slots__ = ("generation", "pair", "pid", "revision", "way")

    def __init__(self, pair: Pair, way: Any, revision: int, generation: int) -> None:
        self.pair = pair
        self.way = way  # URLs and options that it was opened with
        self.revision = revision  # of the settings that they came from
        self.generation = generation
        self.pid = os.getpid()

    def close(self) -> None:
        if self.pid == os.getpid():
            close_pair(self.pair)

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit half of everything is gone
            self.close()


def close_pair(pair: Pair) -> None:
    """Close both ends of a pair."""
    for end in (pair.broker, pair.store):
        if end is not None:
            end.close()


class Connections:
    """The pairs of one app."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._local = threading.local()
        self._default_url: str | None = None
        self._generation = 0  # grows with close(): every thread opens anew

    # - Where

    def default_url(self) -> str:
        """The SQLite file that is used where nothing else is said; fixed at first use."""
        if self._default_url is None:
            path = os.path.abspath(os.environ.get("UMBEL_DB") or DEFAULT_FILE)
            self._default_url = f"sqlite:///{_quoted(path, '/')}"
        return self._default_url

    def broker_url(self, *, reading: bool = False) -> str:
        """Where messages go; a worker reads, everybody else writes."""
        conf = self._conf
        aside = conf.broker_read_url if reading else conf.broker_write_url
        given = aside or conf.broker_url or _from_parts(conf)
        if isinstance(given, list | tuple):
            given = ";".join(given)
        return str(given) if given else self.default_url()

    def result_url(self) -> str | None:
        """Where results are kept; None where they are disabled."""
        conf = self._conf
        given = conf.result_backend
        if given:
            given = str(given)
            if given.startswith("disabled"):
                return None
            return _redis_from_parts(conf) if given == "redis" else given
        if conf.broker_url or conf.broker_write_url or _from_parts(conf):
            return None
        return self.default_url()

    # - Opening

    def open_pair(self, *, reading: bool = True) -> Pair:
        """A fresh pair, which belongs to the caller."""
        # Not at the top: engines are what makes an import heavy.
        from umbel.engines.opening import open_pair

        broker, result = self.engine_options()
        return open_pair(self.broker_url(reading=reading), self.result_url(), broker, result)

    def engine_options(self) -> tuple[EngineOptions, EngineOptions]:
        """What the engines of broker and results are told beside their URLs."""
        conf = self._conf
        broker = EngineOptions(
            transport=conf.broker_transport_options or {},
            tls=_tls(conf.broker_use_ssl),
            connect_timeout_s=conf.broker_connection_timeout or 4.0,
        )
        timeouts = {}
        if conf.redis_socket_connect_timeout:
            timeouts["connect_timeout_s"] = float(conf.redis_socket_connect_timeout)
        if conf.is_set("redis_socket_timeout") and conf.redis_socket_timeout:
            timeouts["reply_timeout_s"] = float(conf.redis_socket_timeout)
        result = EngineOptions(
            transport=conf.result_backend_transport_options or {},
            tls=_tls(conf.redis_backend_use_ssl),
            **timeouts,
        )
        return broker, result

    def pair(self) -> Pair:
        """This thread's pair, opened where there is none."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None:
            if held.pid != os.getpid():
                _inherited.append(held)
            elif held.revision == self._conf.revision and held.generation == self._generation:
                return held.pair
            elif held.way == self._way() and held.generation == self._generation:
                # Other settings have changed since.
                held.revision = self._conf.revision
                return held.pair
            else:
                self.drop()
        pair = self.open_pair(reading=False)
        self._local.held = _Held(pair, self._way(), self._conf.revision, self._generation)
        return pair

    def _way(self) -> tuple[Any, ...]:
        return self.broker_url(), self.result_url(), self.engine_options()

    def drop(self) -> None:
        """Close this thread's pair; the next use opens a new one."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None:
            self._local.held = None
            with suppress(UmbelError, OSError):
                held.close()

    def close(self) -> None:
        """Close this thread's pair, and let other threads open anew at their next use."""
        self._generation += 1
        self.drop()


def _tls(given: Any) -> Any:
    if not given:
        return None
    # ``broker_use_ssl = True``: TLS with the defaults.
    return given if not isinstance(given, bool) else {}


def _from_parts(conf: Any) -> str | None:
    """The URL that the old ``BROKER_TRANSPORT``, ``BROKER_HOST``... spell."""
    scheme = conf.broker_transport
    if not conf.broker_host and not scheme:
        return None
    return _joined(
        scheme or "amqp",
        conf.broker_user,
        conf.broker_password,
        conf.broker_host or "localhost",
        conf.broker_port,
        conf.broker_vhost,
    )


def _redis_from_parts(conf: Any) -> str:
    return _joined(
        "redis",
        conf.redis_username,
        conf.redis_password,
        conf.redis_host or "localhost",
        conf.redis_port or 6379,
        conf.redis_db or 0,
    )


def _joined(scheme: str, user: Any, password: Any, host: Any, port: Any, path: Any) -> str:
    login = ""
    if user or password:
        login = f"{_quoted(user or '')}:{_quoted(password or '')}@"
    where = f"{host}:{port}" if port else f"{host}"
    return f"{scheme}://{login}{where}/{'' if path is None else str(path).lstrip('/')}"


def _quoted(part: Any, safe: str = "") -> str:
    # Not at the top: 3 ms, and most URLs are given as such.
    from urllib.parse import quote

    return quote(str(part), safe=safe)
