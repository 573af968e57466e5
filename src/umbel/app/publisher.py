"""From Calls to messages at the broker.

``compose`` is pure: it reads settings and the clock and gives bytes, by a template per task where a
call has nothing special about it. ``send`` publishes in batches as it reads the iterable, so that a
group of a million from a generator never lies in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from umbel.app import signals, wrapping
from umbel.app.connections import Connections
from umbel.app.registry import TaskRegistry
from umbel.app.retrying import NEVER, RetryPolicy, policy_of, with_retries
from umbel.app.routing import Routing
from umbel.app.sending import check_following, check_options
from umbel.app.terms import TermsMaker
from umbel.model.call import Call
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.model.ids import new_id
from umbel.model.join import JOIN_TASK, JoinOpening
from umbel.model.message import Message
from umbel.model.queues import Queue
from umbel.model.request import Request
from umbel.ports.broker import Broker
from umbel.wire.composition import Template, compose

# Large enough to make round trips cheap, small enough to hold: 10,000 messages are 10 MB.
BATCH = 500

_LOOK_UP: Any = object()


class Publisher:
    """Composes and sends for one app."""

    def __init__(self, app: Any, conf: Any, tasks: TaskRegistry, connections: Connections) -> None:
        self._app = app
        self._conf = conf
        self._tasks = tasks
        self._connections = connections
        # All below holds for one process and one revision of the settings.
        self._pid = 0
        self._revision = -1
        self._templates: dict[str, Template | None] = {}
        self._tells_sent: Any = None  # says ``task-sent``; None where nobody asked for it
        self._maker: TermsMaker
        self._policy: RetryPolicy

    def _refresh(self) -> None:
        conf = self._conf
        if conf.task_protocol not in (2, None):
            raise ImproperlyConfigured(
                f"task_protocol = {conf.task_protocol!r}: umbel reads protocol 1 and writes 2"
            )
        routing: Routing = self._app.routing
        self._maker = TermsMaker(conf, routing, self._app.timezone, self._app.oid)
        self._is_static = routing.is_static
        self._policy = (
            policy_of(conf.task_publish_retry_policy, RetryPolicy())
            if conf.task_publish_retry
            else NEVER
        )
        self._templates = {}
        self._tells_sent = None
        if conf.task_send_sent_event:
            # Not at the top: who sends no events does not load them.
            from umbel.events.sent import SentEvents

            self._tells_sent = SentEvents(self._app)
        # Delivery tags have the form of ids, random per process and counted within it: 0.2 us
        # where an id costs 1.3, and as unique.
        self._tag_start = new_id()[:-12]
        self._tags = count()
        self._pid = os.getpid()
        self._revision = conf.revision

    # - Composing

    def compose(self, call: Call, task: Any = _LOOK_UP) -> Message:
        """The message of a call. Raises ``EncodeError``.

        ``task`` None: as for a name that is not registered, without any task's options.
        """
        if self._revision != self._conf.revision or self._pid != os.getpid():
            self._refresh()
        if task is _LOOK_UP:
            task = self._tasks.get(call.task)
        if signals.before_task_publish.receivers and call.task != JOIN_TASK:
            return self._announced(call, task)
        if not call.options and task is not None:
            template: Any = self._templates.get(call.task, _LOOK_UP)
            if template is _LOOK_UP:
                template = self._template_for(call, task)
            if template is not None:
                message: Message = template.compose(call, self._tag())
                return message
        return compose(call, self._maker.terms_of(call, task), self._tag())

    def _tag(self) -> str:
        return f"{self._tag_start}{next(self._tags):012x}"

    def _template_for(self, call: Call, task: Any) -> Template | None:
        template = None
        is_plain = self._is_static and not task.overrides("shadow_name") and task.expires is None
        if is_plain:
            template = Template(call.task, self._maker.terms_of(call, task))
        self._templates[call.task] = template
        return template

    def forget_templates(self) -> None:
        """A task was added, or its attributes changed."""
        self._revision = -1

    def _announced(self, call: Call, task: Any) -> Message:
        """Composed with receivers of ``before_task_publish``, which may change what they see."""
        # Not at the top: only who listens pays for taking a message apart again.
        from umbel.wire import envelope

        terms = self._maker.terms_of(call, task)
        message = compose(call, terms, self._tag())
        opened = envelope.decode(message.raw)
        embed: dict[str, Any] = {
            "callbacks": call.link,
            "errbacks": call.link_error,
            "chain": call.chain,
            "chord": call.chord,
        }
        body = (call.args, call.kwargs, embed)
        signals.before_task_publish.send(
            sender=call.task,
            body=body,
            exchange=terms.exchange,
            routing_key=terms.routing_key,
            headers=opened.headers,
            properties=opened.properties,
            declare=call.options.get("declare") or [],
            retry_policy=call.options.get("retry_policy") or self._policy._asdict(),
        )
        changed = call._replace(
            link=embed["callbacks"],
            link_error=embed["errbacks"],
            chain=embed["chain"],
            chord=embed["chord"],
        )
        if not terms.compression:
            data = envelope.decode(compose(changed, terms, message.tag).raw).body
            if data != opened.body:
                opened = opened._replace(body=data)
        return message._replace(raw=envelope.encode(opened))

    # - Sending

    def send(self, items: Iterable[Call | JoinOpening]) -> None:
        """Publish calls and open joins, in order, in batches."""
        # Who hears of each message before and after it is sent relies on that order.
        batch = 1 if signals.before_task_publish.receivers else BATCH
        calls: list[Call] = []
        messages: list[Message] = []
        openings: list[JoinOpening] = []
        policy: RetryPolicy | None = None
        for item in wrapping.with_headers(items):
            if isinstance(item, JoinOpening):
                openings.append(item)
                continue
            task = self._tasks.get(item.task)
            if item.options:
                check_options(item.options)
                if item.options.get("connection") is not None:
                    raise NotBuiltYet("connection= is for calls of one task, not for a canvas")
                self._declare(item.options)
                policy = self._policy_of(item.options, policy)
            if item.chain or item.chord:
                check_following(item)
            if task is not None:
                task.check_arguments(item.args, item.kwargs)
            messages.append(self.compose(item, task))
            calls.append(item)
            if len(messages) >= batch:
                self._publish(messages, openings, policy)
                self._told(calls, messages)
                calls, messages, openings = [], [], []
        if messages or openings:
            self._publish(messages, openings, policy)
            self._told(calls, messages)

    def compose_following(self, call: Call, request: Request) -> Message:
        """The message of a call that follows an attempt, and is published by its settlement.

        Receivers of ``after_task_publish`` are told here: where it is published nobody can be.
        """
        message = self.compose(wrapping.following(call, request))
        self._tell_receivers([call])
        return message

    def send_one(self, call: Call, task: Any, connection: Any = None) -> None:
        """Publish one call, with its own ``retry`` and ``retry_policy``.

        ``connection`` is one of ``app.connection(URL)``, where it shall go elsewhere.
        """
        message = self.compose(call, task)
        policy = None
        if call.options:
            policy = self._policy_of(call.options)
            self._declare(call.options)
        if connection is None:
            self._publish([message], (), policy)
        else:
            broker = _broker_of(connection)
            with_retries(lambda: broker.publish([message]), policy or self._policy)
        if signals.after_task_publish.receivers or signals.task_sent.receivers or self._tells_sent:
            self._told([call], [message])

    def _policy_of(
        self, options: Mapping[str, Any], otherwise: RetryPolicy | None = None
    ) -> RetryPolicy | None:
        """How often a call with these options is tried; None: as the settings say."""
        if options.get("retry") is False:
            return NEVER
        if options.get("retry_policy") is None and not options.get("retry"):
            return otherwise
        base = self._policy if self._policy is not NEVER else RetryPolicy()
        return policy_of(options.get("retry_policy"), base)

    def _publish(
        self,
        messages: list[Message],
        openings: list[JoinOpening] | tuple[()],
        policy: RetryPolicy | None = None,
    ) -> None:
        policy = policy or self._policy
        if wrapping.is_publishing_watched():
            self._publish_watched(messages, list(openings), policy)
        else:
            with_retries(lambda: self._publish_now(messages, openings), policy)

    def _publish_now(self, messages: list[Message], openings: Sequence[JoinOpening]) -> None:
        pair = self._connections.pair()
        assert pair.broker is not None
        if openings and not pair.is_atomic:
            if pair.store is None:
                raise NotImplementedError(
                    "a chord needs a result backend to count its members: set result_backend"
                )
            pair.store.apply((), opens=openings)
            pair.broker.publish(messages)
        else:
            pair.broker.publish(messages, openings)

    def _publish_watched(
        self, messages: list[Message], openings: list[JoinOpening], policy: RetryPolicy
    ) -> None:
        """One by one, each through kombu's ``Producer.publish``, which somebody has replaced."""

        def send(message: Message) -> None:
            opens = tuple(openings)
            openings.clear()
            with_retries(lambda: self._publish_now([message], opens), policy)

        wrapping.publish_each(messages, send, self._app.connection())
        if openings:
            with_retries(lambda: self._publish_now([], tuple(openings)), policy)

    def _declare(self, options: Mapping[str, Any]) -> None:
        """Let queues that the caller names be reached before any worker has bound them."""
        queues = [item for item in options.get("declare") or () if isinstance(item, Queue)]
        # A direct queue is sent to by its name: it needs a binding only for senders that name its
        # exchange, and they declare it.
        bound = {"topic", "direct"} if queues else {"topic"}
        if isinstance(options.get("queue"), Queue):
            queues.append(options["queue"])
        for queue in queues:
            self._app.routing.queues.setdefault(queue.name, queue)
            if queue.exchange is None or queue.exchange.type not in bound:
                continue
            broker = self._connections.pair().broker
            assert broker is not None
            for way in self._app.routing.bindings([queue.name]):
                broker.bind(way.exchange, way.kind, way.queue, way.routing_key)

    def tell_sent(self, messages: Sequence[Message]) -> None:
        """Let monitors know of messages that a settlement has sent."""
        if self._tells_sent is not None:
            self._tells_sent.tell(messages)

    def _told(self, calls: list[Call], messages: list[Message]) -> None:
        self.tell_sent(messages)
        self._tell_receivers(calls)

    def _tell_receivers(self, calls: list[Call]) -> None:
        after, sent = signals.after_task_publish, signals.task_sent
        if not (after.receivers or sent.receivers):
            return
        for call in calls:
            to = self._app.routing.destination(call.options)
            after.send(
                sender=call.task,
                body=(call.args, call.kwargs, {}),
                exchange=to.exchange,
                routing_key=to.routing_key,
                headers={"id": call.id, "task": call.task, "root_id": call.root_id or call.id},
            )
            sent.send(
                sender=call.task,
                task_id=call.id,
                task=call.task,
                args=call.args,
                kwargs=call.kwargs,
                eta=call.options.get("eta"),
                taskset=call.group_id,
            )


def _broker_of(connection: Any) -> Broker:
    # Not at the top: 3 ms, and hardly anybody names a connection.
    from umbel.app.connecting import Connection

    if not isinstance(connection, Connection):
        raise NotBuiltYet(
            f"apply_async(connection={connection!r}): wanted one that app.connection(URL) has made"
        )
    return connection.broker
