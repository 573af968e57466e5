"""The options of ``apply_async``: which there are, and how they and the running task make a Call.

Celery passes options that it does not know on, as properties of the message. So does umbel, unless
the name is a near miss of a known one: then ``TypeError`` names it, where Celery would send the
task without the countdown that somebody wrote.
https://docs.celeryq.dev/en/stable/userguide/calling.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.app.access import ProducerView
from umbel.app.spelling import refuse_near_misses
from umbel.canvas.shapes import links_of
from umbel.model.call import Call
from umbel.model.errors import NotBuiltYet
from umbel.model.request import Request, running

# Have a field of their own in a Call.
FIELDS = frozenset(
    {
        "task_id", "root_id", "parent_id", "group_id", "group_index", "chord", "chain", "link",
        "link_error",
    }
)  # fmt: skip

# Say something about the message; terms.py reads them.
TERMS = frozenset(
    {
        "argsrepr", "compression", "correlation_id", "countdown", "eta", "exchange",
        "exchange_type", "expires", "headers", "ignore_result", "kwargsrepr", "origin", "priority",
        "queue", "replaced_task_nesting", "reply_to", "retries", "routing_key", "serializer",
        "shadow", "soft_time_limit", "stamped_headers", "stamps", "time_limit",
    }
)  # fmt: skip

# Say something about the sending.
OTHERS = frozenset(
    {
        "add_to_parent", "connection", "declare", "result_cls", "retry",
        "retry_policy", "route_name", "task_type",
    }
)  # fmt: skip

# Properties of a message that AMQP knows; written as they are.
PROPERTIES = frozenset(
    {
        "app_id", "cluster_id", "delivery_mode", "expiration", "message_id", "timestamp", "type",
        "user_id",
    }
)  # fmt: skip

# Belong to what umbel does not have, and what to use instead. None and False ask for nothing.
_NO_KOMBU = (
    "connections are umbel's own, one a thread; connection=app.connection(URL) names another"
)
_NO_AMQP = "it belongs to amqp://"
REFUSED = {
    "producer": f"{_NO_KOMBU}; app.producer_or_acquire() gives a producer of umbel's",
    "publisher": _NO_KOMBU,
    "router": "set task_routes, or give queue=",
    "immediate": _NO_AMQP,
    "mandatory": "it belongs to amqp://; task_create_missing_queues = False refuses unknown queues",
    "confirm_timeout": "the call returns when the broker has the message",
    "timeout": "broker_connection_timeout and retry_policy bound how long sending takes",
    "content_type": "serializer= says it",
    "content_encoding": "serializer= says it",
}

KNOWN = FIELDS | TERMS | OTHERS | PROPERTIES
_accepted: set[str] = set()  # names that were looked at once and are nobody's near miss


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a name that looks like a misspelt option."""
    unknown = options.keys() - KNOWN
    if not unknown or unknown <= _accepted:
        return
    stamps = options.get("stamped_headers") or ()
    for name in sorted(unknown.intersection(REFUSED).difference(stamps)):
        refuse_option(name, options[name])
    strangers = sorted(unknown.difference(_accepted, REFUSED, stamps))
    refuse_near_misses(strangers, KNOWN, "apply_async()")
    _accepted.update(strangers)


def check_following(call: Call) -> None:
    """The same for what follows a call, which a worker sends when nobody can be told any more."""
    following = [] if call.chain is None else list(call.chain)
    if call.chord:
        following.append(call.chord)
    for step in following:
        if step.get("options"):
            check_options(step["options"])


def refuse_option(name: str, value: Any) -> None:
    """Raise ``NotBuiltYet`` for an option of ``REFUSED`` that asks for something."""
    if value is not None and value is not False:
        raise NotBuiltYet(f"apply_async({name}=...): {REFUSED[name]}")


def way_of(producer: Any, app: Any) -> Any:
    """The connection that a producer names; None for the app's own. Refuses kombu's producers."""
    if isinstance(producer, ProducerView):
        return producer.way_of(app)
    refuse_option("producer", producer)
    return None


def sending_request() -> Request | None:
    """The request of the task that a worker runs here, or None outside of workers."""
    for request in reversed(running.get()):
        if not request.called_directly:
            return request
    return None


def call_of(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    new_id: Any,
    options: dict[str, Any],
    *,
    inherits_priority: bool = False,
) -> Call:
    """A Call of ``options``, which is used up: what has a field of its own is taken out.

    Inside a task the call belongs to the workflow of that task, and carries its stamps.
    """
    check_options(options)
    take = options.pop
    root_id, parent_id = take("root_id", None), take("parent_id", None)
    parent = sending_request()
    if parent is not None:
        root_id = root_id or parent.root_id or parent.id
        parent_id = parent_id or parent.id
        if inherits_priority and options.get("priority") is None:
            options["priority"] = (parent.delivery_info or {}).get("priority")
        if parent.stamps:
            _inherit_stamps(parent, options)
    return Call(
        name,
        args,
        kwargs,
        take("task_id", None) or new_id(),
        root_id,
        parent_id,
        take("group_id", None),
        take("group_index", None),
        take("chord", None),
        take("chain", None),
        links_of(take("link", None), "link") or None,
        links_of(take("link_error", None), "link_error") or None,
        options,
    )


def _inherit_stamps(parent: Request, options: dict[str, Any]) -> None:
    names = list(options.get("stamped_headers") or ())
    for name in parent.stamped_headers or parent.stamps:
        if name in parent.stamps and name not in options:
            options[name] = parent.stamps[name]
            names.append(name)
    options["stamped_headers"] = names
