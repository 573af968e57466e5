"""Where a call goes: the same settings, Celery and umbel, and what each writes into Redis."""

from __future__ import annotations

import contextlib
import json
import re

import celery
import kombu
import pytest
import redis

import umbel
import umbel.exceptions

pytestmark = pytest.mark.redis


def direct(kind):
    return {
        "task_queues": [
            kind.Queue("default", kind.Exchange("default"), routing_key="default"),
            kind.Queue("video", kind.Exchange("media", type="direct"), routing_key="media.video"),
            kind.Queue("image", kind.Exchange("media", type="direct"), routing_key="media.image"),
            kind.Queue("bare", routing_key="bare.key"),
        ],
        "task_default_queue": "default",
        "task_default_exchange": "tasks",
        "task_default_exchange_type": "direct",
        "task_default_routing_key": "task.default",
    }


def topic(kind):
    return {
        "task_queues": (
            kind.Queue("default", routing_key="task.#"),
            kind.Queue("feed_tasks", routing_key="feed.#"),
            kind.Queue("regular", kind.Exchange("news", type="topic"), routing_key="*.news.*"),
        ),
        "task_default_queue": "default",
        "task_default_exchange": "tasks",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "task.default",
    }


def routed(routes):
    return lambda kind: {"task_routes": routes}


def by_name(name, args, kwargs, options, task=None, **kw):
    return {"queue": "by-function", "priority": 7} if name.endswith("b") else None


class Router:
    """A router of the older kind."""

    def route_for_task(self, task, args=None, kwargs=None):
        return "by-class" if task == "shop.a" else None


SETTINGS = {
    "nothing": lambda kind: {},
    "default queue": lambda kind: {"task_default_queue": "other"},
    "default names": lambda kind: {
        "task_default_queue": "q",
        "task_default_exchange": "x",
        "task_default_routing_key": "k",
    },
    "default priority": lambda kind: {"task_default_priority": 6},
    "direct": direct,
    "topic": topic,
    "a dictionary of queues": lambda kind: {
        "task_queues": {"cpubound": {"exchange": "cpu", "routing_key": "cpu"}},
        "task_default_queue": "cpubound",
    },
    "routes: name": routed({"shop.a": {"queue": "a-queue"}}),
    "routes: text": routed({"shop.a": "a-queue"}),
    "routes: glob": routed({"shop.*": {"queue": "shop", "routing_key": "shop.all"}}),
    "routes: pattern": routed(([(re.compile(r"shop\.(a|b)$"), {"queue": "ab"})],)),
    "routes: pairs in order": routed(([("shop.*", "all"), ("shop.a", "a")],)),
    "routes: exact before glob": routed({"shop.*": "all", "shop.a": "a"}),
    "routes: function": routed((by_name,)),
    "routes: class": routed((Router(), {"shop.b": "b-queue"})),
    "routes: several": routed(({"nobody": "x"}, {"shop.a": {"queue": "second"}})),
    "routes: exchange": lambda kind: {
        **direct(kind),
        "task_routes": {"shop.a": {"exchange": "media", "routing_key": "media.video"}},
    },
    "missing queues of a type": lambda kind: {
        "task_create_missing_queue_exchange_type": "topic",
        "task_default_exchange_type": "topic",
    },
    "routes: priority": routed({"shop.a": {"queue": "a-queue", "priority": 9}}),
}
CALLS = {
    "plain": {},
    "queue": {"queue": "urgent"},
    "routing key": {"routing_key": "feed.import"},
    "priority": {"priority": 3},
    "queue and priority": {"queue": "urgent", "priority": 0},
}


def work():
    """A task."""


def bound(settings, url):
    """Let the broker know the queues, as a worker's start does."""
    redis.Redis.from_url(url).flushall()
    app = celery.Celery("worker", broker=url, set_as_current=False)
    app.conf.update(settings)
    with app, app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection).declare()


def landed(app, url, options):
    """By task: (list, exchange, routing key, priority) of what a call has written."""
    server = redis.Redis.from_url(url)
    for name in ("shop.a", "shop.b"):
        task = app.task(work, name=name)
        with contextlib.suppress(umbel.exceptions.QueueNotFound):
            task.apply_async(retry=False, **options)
    found = {}
    for key in server.keys("*"):
        if server.type(key) == b"list":
            for raw in server.lrange(key, 0, -1):
                message = json.loads(raw)
                where = message["properties"]["delivery_info"]
                assert message["headers"]["task"] not in found
                found[message["headers"]["task"]] = (
                    key.decode(),
                    where["exchange"],
                    where["routing_key"],
                    message["properties"]["priority"],
                )
    return found


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_messages_land_where_celerys_do(settings, call, redis_url):
    ours = umbel.Celery("ours", broker=redis_url, set_as_current=False)
    theirs = celery.Celery("theirs", broker=redis_url, set_as_current=False)
    ours.conf.update(SETTINGS[settings](umbel))
    theirs.conf.update(SETTINGS[settings](kombu))

    bound(SETTINGS[settings](kombu), redis_url)
    with theirs:
        wanted = landed(theirs, redis_url, CALLS[call])
    bound(SETTINGS[settings](kombu), redis_url)
    got = landed(ours, redis_url, CALLS[call])
    ours.close()

    # What Celery throws away, because nothing is bound, is refused or delivered here.
    assert {name: got.get(name) for name in wanted} == wanted
    assert wanted or call in ("routing key", "queue", "queue and priority")
