"""``app.amqp``: an app's queues and routes under the names that Celery has for them.

A view of ``app.routing``: what is added or selected here is what calls and workers use. Making
messages by hand, consumers and producers are kombu's, and refused.
https://docs.celeryq.dev/en/stable/reference/celery.app.amqp.html
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from umbel.model.queues import Exchange, Queue
from umbel.model.refused import Refused

_NO_KOMBU = "umbel has no kombu channels; send tasks (send_task), start workers"
_NO_MESSAGES = "messages are made where they are sent; use send_task or apply_async"


class Queues(Mapping[str, Queue]):
    """The queues of an app, by name; one that is missing is made, where that is allowed."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __getitem__(self, name: str) -> Queue:
        queue: Queue = self._app.routing.queue(name)
        return queue

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._app.routing.queues))

    def __len__(self) -> int:
        return len(self._app.routing.queues)

    def __contains__(self, name: object) -> bool:
        return name in self._app.routing.queues

    def get(self, key: str, default: Any = None) -> Any:
        """The queue, or the default; none is made."""
        return self._app.routing.queues.get(key, default)

    @property
    def consume_from(self) -> dict[str, Queue]:
        """The queues that a worker of this app reads."""
        return {name: self[name] for name in self._app.routing.consumed_queues()}

    def add(self, queue: Any, **kwargs: Any) -> Queue:
        """Declare a queue: a ``Queue``, or a name and what a ``Queue`` takes."""
        return self._declared(queue, kwargs, is_consumed=True)

    def add_compat(self, name: str, **options: Any) -> Queue:
        """The same, by name, with the older words ``binding_key`` and ``exchange_type``."""
        options.setdefault("routing_key", options.pop("binding_key", None) or name)
        return self.add(name, **options)

    def select_add(self, queue: Any, **kwargs: Any) -> Queue:
        """Let workers read one more queue."""
        made = self._declared(queue, kwargs, is_consumed=False)
        self._app.routing.select_also(made.name)
        return made

    def select(self, include: Any) -> None:
        """Let workers read these queues only."""
        if include:
            self._app.routing.select(include)

    def deselect(self, exclude: Any) -> None:
        """Let workers read these queues no more."""
        if exclude:
            self._app.routing.deselect(exclude)

    def new_missing(self, name: str) -> Queue:
        """What a queue would be that nobody has declared."""
        queue: Queue = self._app.routing.new_queue(name)
        return queue

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """The queues that are consumed, a line each."""
        lines = [
            f".> {queue.name:<16} exchange={queue.exchange.name}({queue.exchange.type})"
            f" key={queue.routing_key}"
            for queue in self.consume_from.values()
            if queue.exchange is not None
        ]
        text = textwrap.indent("\n".join(lines), " " * indent)
        return text if indent_first else text.lstrip(" ")

    def _declared(self, queue: Any, options: dict[str, Any], *, is_consumed: bool) -> Queue:
        if not hasattr(queue, "routing_key"):
            if kind := options.pop("exchange_type", None):
                options["exchange"] = Exchange(str(options.get("exchange") or queue), kind)
            options.setdefault("routing_key", queue)
            queue = Queue(queue, **options)
        made: Queue = self._app.routing.declare(queue, is_consumed=is_consumed)
        return made

    def __repr__(self) -> str:
        return repr(dict(self))


class Router:
    """What ``task_routes`` says: ``app.amqp.router.route({}, "tasks.add")["queue"].name``."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Any = (),
        kwargs: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """Options of a call, with the queue that it goes to; ``options`` win over routes."""
        routing = self.app.routing
        found = {
            **routing.route(name, args, kwargs or {}, options, task=task_type),
            **{key: value for key, value in options.items() if value is not None},
        }
        if "queue" not in found and not found.get("exchange"):
            found["queue"] = routing.default_queue
        return self.expand_destination(found)

    def lookup_route(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any] | None:
        """What ``task_routes`` says, or None where it says nothing."""
        found = self.app.routing.route(
            name, args or (), kwargs or {}, options or {}, task=task_type
        )
        return dict(found) or None

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """A route whose queue is a ``Queue``. Raises ``QueueNotFound``."""
        found = {"queue": route} if isinstance(route, str) else dict(route)
        if isinstance(found.get("queue"), str):
            found["queue"] = self.app.routing.queue(found["queue"])
        return found


class _Absent:
    Queues = Refused("set task_queues, or change app.amqp.queues")
    Router = Refused("set task_routes; app.amqp.router is what it says")


class AMQP(_Absent):
    """Queues and routes of one app."""

    argsrepr_maxsize = kwargsrepr_maxsize = 1024  # characters, in message headers
    create_task_message = Refused(_NO_MESSAGES)
    send_task_message = Refused(_NO_MESSAGES)
    as_task_v1 = Refused("umbel sends Celery's protocol 2, and reads both")
    as_task_v2 = Refused(_NO_MESSAGES)
    task_protocols = Refused(_NO_MESSAGES)
    Consumer = Refused(_NO_KOMBU)
    Producer = Refused(_NO_KOMBU)
    TaskConsumer = Refused(_NO_KOMBU)
    autoexchange = Refused("set task_create_missing_queue_exchange_type")
    queues_cls = Refused("set task_queues")

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def queues(self) -> Queues:
        """The app's queues. Set it to others, as ``task_queues``."""
        return Queues(self.app)

    @queues.setter
    def queues(self, queues: Any) -> None:
        self.app.conf.task_queues = queues

    @property
    def router(self) -> Router:
        """The app's routes."""
        return Router(self.app)

    @property
    def routes(self) -> Any:
        """The setting ``task_routes``."""
        return self.app.conf.task_routes

    @property
    def default_queue(self) -> Queue:
        """The queue of calls that name none."""
        queue: Queue = self.app.routing.queue(self.app.routing.default_queue)
        return queue

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of queues that name none."""
        routing = self.app.routing
        return Exchange(routing.default_exchange, routing.default_exchange_type)

    @property
    def utc(self) -> bool:
        """Whether dates in messages are UTC."""
        return bool(self.app.conf.enable_utc)

    @property
    def producer_pool(self) -> Any:
        """``app.producer_pool``."""
        return self.app.producer_pool

    publisher_pool = producer_pool

    def Connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
        """``app.connection``."""
        return self.app.connection(*args, **kwargs)

    BrokerConnection = Connection

    def flush_routes(self) -> None:
        """Read ``task_routes`` anew; a change of settings does so by itself."""
        self.app.conf.update(task_routes=self.app.conf.task_routes)
