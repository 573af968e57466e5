"""What only the app can answer, in the process that holds it: tasks, settings, users' commands.

Runs user code, so it may hang, raise or end its process; the supervisor, which asks, never waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from umbel.control.commands import Panel
from umbel.model.errors import NotBuiltYet
from umbel.model.queues import Exchange, Queue
from umbel.wire import pidbox

logger = logging.getLogger(__name__)

# What Celery shows of a task where nothing else is asked for.
_ITEMS = ("exchange", "routing_key", "rate_limit")


class State:
    """What a user's command gets: the app, the node's name, and nothing of the machinery."""

    def __init__(self, app: Any, hostname: str) -> None:
        self.app = app
        self.hostname = hostname

    @property
    def tset(self) -> Callable[[Any], set[Any]]:
        """Celery's name for ``set``."""
        return set

    def __getattr__(self, name: str) -> NoReturn:
        raise NotBuiltYet(
            f"state.{name} is not built: a command runs beside the tasks, not in their process; "
            "it has state.app and state.hostname"
        )


class AppPanel:
    """Answers for one app."""

    def __init__(self, app: Any, node: str) -> None:
        self._app = app
        self._state = State(app, node)
        self._added: dict[str, Queue] = {}

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """The answer; raises what the command raises."""
        match method:
            case "custom":
                return self._custom(arguments["method"], arguments["arguments"])
            case "registered":
                return self._registered(**arguments)
            case "conf":
                return self._conf(**arguments)
            case "report":
                return self._app.bugreport()
            case "active_queues":
                return [queue_facts(self._queue(name)) for name in arguments["names"]]
            case "note_queue":
                return self._note_queue(**arguments)
            case "tell_revoked":
                return self._app.archive.tell_revoked(arguments["ids"])
        raise KeyError(method)

    def _custom(self, method: str, arguments: Mapping[str, Any]) -> Any:
        command = Panel.data.get(method)
        if command is None:
            logger.error("No such control command: %s", method)
            return {"error": repr(KeyError(method))}
        return command(self._state, **arguments)

    def _registered(
        self, items: list[str], builtins: bool, rate_limits: Mapping[str, Any]
    ) -> list[str]:
        names = [name for name in self._app.tasks if builtins or not name.startswith("celery.")]
        return [
            self._shown(name, items or _ITEMS, rate_limits)
            for name in sorted(names)
            if builtins or not name.startswith("umbel.")
        ]

    def _shown(self, name: str, items: Any, rate_limits: Mapping[str, Any]) -> str:
        task = self._app.tasks[name]
        found = {item: getattr(task, item, None) for item in items}
        if "rate_limit" in found and name in rate_limits:
            found["rate_limit"] = rate_limits[name]
        said = [f"{item}={value}" for item, value in found.items() if value is not None]
        return f"{name} [{' '.join(said)}]" if said else name

    def _conf(self, with_defaults: bool) -> dict[str, Any]:
        table: dict[str, Any] = self._app.conf.table(with_defaults=with_defaults, censored=True)
        return {str(name): pidbox.plain(value) for name, value in table.items()}

    def _queue(self, name: str) -> Queue:
        found = self._added.get(name)
        return found if found is not None else self._app.routing.queue(name)

    def _note_queue(self, queue: str, exchange: Any, kind: str, routing_key: Any) -> None:
        self._added[queue] = Queue(queue, Exchange(exchange or queue, kind), routing_key or queue)


def queue_facts(queue: Queue) -> dict[str, Any]:
    """A queue in kombu's words (``Queue.as_dict(recurse=True)``)."""
    exchange = queue.exchange or Exchange(queue.name)
    return {
        "name": queue.name,
        "exchange": {
            "name": exchange.name,
            "type": exchange.type,
            "arguments": exchange.arguments or None,
            "durable": exchange.durable,
            "passive": False,
            "auto_delete": False,
            "delivery_mode": exchange.delivery_mode,
            "no_declare": False,
        },
        "routing_key": queue.routing_key or queue.name,
        "queue_arguments": queue.queue_arguments or None,
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": queue.durable,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "alias": None,
        "bindings": [
            {
                "exchange": each.exchange.name if each.exchange is not None else "",
                "routing_key": each.routing_key,
                "arguments": None,
                "unbind_arguments": None,
            }
            for each in queue.bindings
        ],
        "no_declare": None,
        "expires": queue.expires,
        "message_ttl": queue.message_ttl,
        "max_length": None,
        "max_length_bytes": None,
        "max_priority": queue.max_priority,
    }
