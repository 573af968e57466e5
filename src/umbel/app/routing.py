"""Where a message goes: ``task_queues``, ``task_routes`` and the options of one call.

Reads settings, opens nothing. A direct exchange is resolved to the name of a queue here, as
kombu's producers do; a topic exchange is resolved here where exactly one declared queue matches,
else by the engine, from the bindings that workers have made. What goes to a fanout exchange is said
to the workers that listen to it.
https://docs.celeryq.dev/en/stable/userguide/routing.html
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from typing import Any, NamedTuple

from umbel.model.errors import ImproperlyConfigured, NotBuiltYet, QueueNotFound
from umbel.model.queues import Exchange, Queue, is_own_queue

Route = Mapping[str, Any]
Router = Callable[..., Any]


class Destination(NamedTuple):
    """Where to publish. ``queue`` is "" where only the broker's bindings can tell."""

    queue: str
    exchange: str  # as it is written into the message; "" is the default exchange
    routing_key: str
    is_fanout: bool = False


class Binding(NamedTuple):
    """What a worker tells the broker of a queue that it consumes."""

    exchange: str
    kind: str
    queue: str
    routing_key: str


class _ByHand(NamedTuple):
    """What a program has said of queues beside the settings."""

    queues: dict[str, Queue]  # declared
    selected: list[str]  # to be consumed; empty: all that are declared
    also: list[str]  # to be consumed beside them
    left_out: list[str]


class Routing:
    """The queues and routes of one app, for one revision of its settings."""

    def __init__(self, conf: Any, before: Routing | None = None) -> None:
        self.default_queue: str = conf.task_default_queue
        self.default_exchange: str = conf.task_default_exchange or self.default_queue
        self.default_exchange_type: str = conf.task_default_exchange_type or "direct"
        self.default_routing_key: str = conf.task_default_routing_key or self.default_queue
        self._creates_missing = bool(conf.task_create_missing_queues)
        self._missing_exchange_type = conf.task_create_missing_queue_exchange_type or "direct"
        self.queues: dict[str, Queue] = self._declared(conf.task_queues)
        self._aliases = {queue.alias: queue for queue in self.queues.values() if queue.alias}
        # What the app declares; queues that calls create on the way are not consumed by default.
        self._consumed = tuple(self.queues)
        # Said by a program, by hand; settings that change do not undo it.
        self._by_hand: _ByHand = before._by_hand if before else _ByHand({}, [], [], [])
        self.queues.update(self._by_hand.queues)
        self._routers = tuple(_routers(conf.task_routes))
        self._cache: dict[str, Route] = {}
        # Routes depend on nothing but the name: what is found once holds.
        self.is_static = all(isinstance(router, _MapRoute) for router in self._routers)

    # - Queues

    def _declared(self, queues: Any) -> dict[str, Queue]:
        if not queues:
            return {self.default_queue: self._queue(self.default_queue)}
        if isinstance(queues, Mapping):
            queues = [_queue_of(name, how) for name, how in queues.items()]
        elif hasattr(queues, "routing_key"):
            queues = [queues]
        declared = {}
        for given in queues:
            queue = _own_queue(given)
            if not isinstance(queue, Queue):
                raise ImproperlyConfigured(
                    f"task_queues holds {given!r}; wanted Queue objects, or a dictionary of names"
                )
            if queue.exchange is None or not queue.exchange.name:
                queue.exchange = queue.exchange or Exchange(
                    self.default_exchange, self.default_exchange_type
                )
            if queue.exchange.type != "fanout":
                queue.routing_key = queue.routing_key or self.default_routing_key
            declared[queue.name] = queue
        return declared

    def _queue(self, name: str) -> Queue:
        # A queue that is created because somebody names it has an exchange of its own.
        if name != self.default_queue:
            return Queue(name, Exchange(name, self._missing_exchange_type), name)
        exchange = Exchange(self.default_exchange, self.default_exchange_type)
        return Queue(name, exchange, self.default_routing_key)

    def queue(self, name: str) -> Queue:
        """The queue of a name; created where ``task_create_missing_queues`` allows it."""
        found = self.queues.get(name) or self._aliases.get(name)
        if found is None:
            if not self._creates_missing and not is_own_queue(name):
                raise QueueNotFound(
                    f"queue {name!r} is not in task_queues ({', '.join(self.queues)}), and"
                    " task_create_missing_queues is off"
                )
            found = self.queues[name] = self._queue(name)
        return found

    def new_queue(self, name: str) -> Queue:
        """What a queue would be that nobody has declared."""
        return self._queue(name)

    def declare(self, queue: Queue, *, is_consumed: bool) -> Queue:
        """Add a queue, as ``task_queues`` would; ``is_consumed`` where all declared ones are."""
        made = next(iter(self._declared([queue]).values()))
        self.queues[made.name] = made
        if is_consumed:
            self._by_hand.queues[made.name] = made
        return made

    def select(self, names: Any) -> None:
        """Let workers consume these queues only."""
        self._by_hand.selected[:] = [self.queue(name).name for name in _names(names)]
        self._by_hand.also.clear()
        self._by_hand.left_out.clear()

    def select_also(self, name: str) -> None:
        """Let workers consume one more queue, also where ``-Q`` names others."""
        self._by_hand.also.append(self.queue(name).name)

    def deselect(self, names: Any) -> None:
        """Let workers not consume these queues."""
        self._by_hand.left_out.extend(_names(names))

    def consumed_queues(self, include: Any = None, exclude: Any = None) -> list[str]:
        """The queues that a worker reads: those of ``-Q``, or the app's, less those of ``-X``."""
        said = self._by_hand
        names = _names(include) or said.selected or [*self._consumed, *said.queues]
        names = list(dict.fromkeys([*names, *said.also]))
        left_out = {*_names(exclude), *said.left_out}
        return [self.queue(name).name for name in names if name not in left_out]

    def bindings(self, names: Iterable[str]) -> list[Binding]:
        """How named exchanges reach these queues. Fanouts are not bound: see ``fanouts``."""
        return [way for way in self._ways(names) if way.kind != "fanout"]

    def fanouts(self, names: Iterable[str]) -> list[Binding]:
        """Which fanout exchanges a worker of these queues listens to, and under which keys."""
        # A fanout has no use for a key. On Redis it is part of the channel; a queue that asks for
        # none hears all.
        return [
            way._replace(routing_key=way.routing_key or "#")
            for way in self._ways(names)
            if way.kind == "fanout"
        ]

    def stored_queues(self, names: Iterable[str]) -> list[str]:
        """Those of these queues that messages are stored in: all but those of fanouts."""
        return [name for name in names if not _is_fanout(self.queue(name).exchange)]

    def _ways(self, names: Iterable[str]) -> list[Binding]:
        found = []
        for name in names:
            queue = self.queue(name)
            ways = [(queue.exchange, queue.routing_key)]
            ways += [(way.exchange, way.routing_key) for way in queue.bindings]
            for exchange, key in ways:
                if exchange is not None and exchange.name:
                    if exchange.type not in _BUILT:
                        raise _not_built(exchange)
                    found.append(Binding(exchange.name, exchange.type, name, key))
        return found

    # - Routes

    def route(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
    ) -> Route:
        """What ``task_routes`` says of a call, as ``apply_async`` options."""
        if not self._routers:
            return _NO_ROUTE
        if self.is_static and name in self._cache:
            return self._cache[name]
        found: Route = _NO_ROUTE
        for router in self._routers:
            answer = router(name, args, kwargs, options, task=task)
            if answer is not None:
                found = {"queue": answer} if isinstance(answer, str | Queue) else answer
                break
        if self.is_static:
            self._cache[name] = found
        return found

    def destination(self, options: Mapping[str, Any]) -> Destination:
        """Where a call with these options goes (``queue``, ``exchange``, ``routing_key``)."""
        queue = options.get("queue")
        exchange = options.get("exchange")
        key = options.get("routing_key")
        if queue is None and not exchange:
            if exchange == "" and key:
                # The default exchange delivers to the queue of that name.
                return Destination(key, "", key)
            queue = self.default_queue
        if queue is None:
            return self._through(exchange, self._kind(exchange, options), key)
        declared = queue if isinstance(queue, Queue) else self.queue(queue)
        of_queue = declared.exchange
        kind = options.get("exchange_type") or (of_queue.type if of_queue else "direct")
        if kind == "direct":
            if exchange and key:
                name = exchange.name if isinstance(exchange, Exchange) else exchange
                # As in Celery the exchange decides; where it leads nowhere, at least the queue.
                if any(_reaches(known, name, key) for known in self.queues.values()):
                    return self._through(exchange, self._kind(exchange, options), key)
                return Destination(declared.name, name, key)
            return Destination(declared.name, "", declared.name)
        return self._through(
            exchange or (of_queue.name if of_queue else "") or self.default_exchange,
            kind,
            key or declared.routing_key or self.default_routing_key,
            (declared,),
        )

    def _through(
        self, exchange: Any, kind: str | None, key: str | None, also: Sequence[Queue] = ()
    ) -> Destination:
        """Published to a named exchange."""
        if isinstance(exchange, Exchange):
            kind = kind or exchange.type
            exchange = exchange.name
        if kind == "fanout":
            return Destination("", exchange, key or "", is_fanout=True)
        if kind not in (None, *_BUILT):
            raise _not_built(Exchange(exchange, kind))
        key = key or self.default_routing_key
        reached = {
            queue.name for queue in (*self.queues.values(), *also) if _reaches(queue, exchange, key)
        }
        # Two or more: the engine makes the copies.
        queue_name = reached.pop() if len(reached) == 1 else ""
        return Destination(queue_name, exchange, key)

    def _kind(self, exchange: Any, options: Mapping[str, Any]) -> str | None:
        """The type of an exchange that the caller, or a declared queue, tells."""
        kind: str | None = options.get("exchange_type")
        if kind or isinstance(exchange, Exchange):
            return kind or exchange.type
        known = [one for one in options.get("declare") or () if isinstance(one, Exchange)]
        known += [queue.exchange for queue in self.queues.values() if queue.exchange is not None]
        return next((one.type for one in known if one.name == exchange), None)


_NO_ROUTE: Route = {}
_BUILT = ("direct", "topic", "fanout")


def _is_fanout(exchange: Exchange | None) -> bool:
    return exchange is not None and exchange.type == "fanout"


def _not_built(exchange: Exchange) -> NotBuiltYet:
    return NotBuiltYet(
        f"exchange {exchange.name!r} is of type {exchange.type}, which is not built yet;"
        " use direct, topic or fanout"
    )


def _names(words: Any) -> list[str]:
    if not words:
        return []
    if isinstance(words, str):
        return [word.strip() for word in words.split(",") if word.strip()]
    return list(words)


def _queue_of(name: str, how: Any) -> Queue:
    if isinstance(how, Queue):
        how.name = how.name or name
        return how
    how = dict(how or {})
    exchange = how.pop("exchange", None)
    kind = how.pop("exchange_type", "direct")
    if isinstance(exchange, str):
        exchange = Exchange(exchange, kind)
    key = how.pop("routing_key", None) or how.pop("binding_key", None) or ""
    return Queue(name, exchange, key, **how)


def _reaches(queue: Queue, exchange: str, key: str) -> bool:
    ways = [(queue.exchange, queue.routing_key)]
    ways += [(way.exchange, way.routing_key) for way in queue.bindings]
    for through, pattern in ways:
        if through is None or through.name != exchange:
            continue
        if through.type == "topic" and _topic(pattern).fullmatch(key):
            return True
        if through.type != "topic" and pattern == key:
            return True
    return False


def _topic(pattern: str) -> re.Pattern[str]:
    # kombu's reading: '*' is one word, '#' is anything.
    words = re.escape(pattern).replace(r"\*", r"[^.]+").replace(r"\#", ".*?")
    return re.compile(words)


class _MapRoute:
    """A dictionary from names, globs or patterns to routes; exact names first."""

    def __init__(self, rules: Iterable[tuple[Any, Any]]) -> None:
        self.exact: dict[str, Any] = {}
        self.patterns: list[tuple[re.Pattern[str], Any]] = []
        for rule, route in rules:
            if isinstance(rule, re.Pattern):
                self.patterns.append((rule, route))
            elif "*" in rule or "?" in rule or "[" in rule:
                self.patterns.append((re.compile(translate(rule)), route))
            else:
                self.exact[rule] = route

    def __call__(self, name: str, *_facts: Any, **_more: Any) -> Any:
        if name in self.exact:
            return _as_route(self.exact[name])
        for pattern, route in self.patterns:
            if pattern.match(name):
                return _as_route(route)
        return None


def _as_route(route: Any) -> Any:
    return route if isinstance(route, str | Queue) else dict(route)


def _routers(routes: Any) -> Iterator[Router]:
    if routes is None:
        return
    if isinstance(routes, Mapping):
        yield _MapRoute(routes.items())
        return
    if not isinstance(routes, list | tuple):
        routes = [routes]
    elif routes and all(_is_rule(rule) for rule in routes):
        yield _MapRoute(routes)
        return
    for route in routes:
        yield _router(route)


def _is_rule(value: Any) -> bool:
    # A list of two rules has two members as well.
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    return isinstance(value[0], str | re.Pattern) and not isinstance(value[1], tuple | list)


def _router(route: Any) -> Router:
    if isinstance(route, Mapping):
        return _MapRoute(route.items())
    if isinstance(route, list | tuple):
        return _MapRoute([tuple(route)] if _is_rule(route) else route)
    if isinstance(route, str):
        module, _, name = route.replace(":", ".").rpartition(".")
        route = getattr(importlib.import_module(module), name)
    if isinstance(route, type):
        route = route()
    if hasattr(route, "route_for_task"):
        return _ObjectRoute(route)
    if not callable(route):
        raise ImproperlyConfigured(f"task_routes holds {route!r}, which is no route")
    found: Router = route
    return found


class _ObjectRoute:
    """A router of the older kind: an object with ``route_for_task(task, args, kwargs)``."""

    def __init__(self, route: Any) -> None:
        self.route = route

    def __call__(self, name: str, args: Any, kwargs: Any, *_facts: Any, **_more: Any) -> Any:
        return self.route.route_for_task(name, args, kwargs)


def _own_queue(queue: Any) -> Any:
    """A queue of kombu's own class as one of ours, told by its attributes; others as they are."""
    if isinstance(queue, Queue) or not hasattr(queue, "queue_arguments"):
        return queue
    exchange = queue.exchange
    return Queue(
        queue.name,
        Exchange(exchange.name, exchange.type) if exchange is not None else None,
        queue.routing_key,
        max_priority=queue.max_priority,
        queue_arguments=queue.queue_arguments,
        alias=getattr(queue, "alias", None),
    )
