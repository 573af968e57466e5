"""The picture that monitors build, held beside that of the real Celery: the same events, in any
order, with losses and repetitions."""

import random

import celery.events.state
import pytest

from umbel.events import picture

NOW = 1_700_000_000.0


def life(uuid, *subjects, start=1, **fields):
    """The events of one task, in the order in which they were sent."""
    events = []
    for step, subject in enumerate(subjects):
        facts = {"name": f"task.{uuid[0]}", "args": "(1,)", "kwargs": "{}", "retries": 0}
        facts |= {"eta": None, "expires": None, "root_id": uuid, "parent_id": None}
        own = {
            "sent": {**facts, "queue": "q", "exchange": "", "routing_key": "q"},
            "received": facts,
            "started": {},
            "succeeded": {"result": "2", "runtime": 0.5},
            "failed": {"exception": "E()", "traceback": "Traceback"},
            "retried": {"exception": "R()", "traceback": "Traceback"},
            "revoked": {"terminated": False, "signum": None, "expired": True},
            "rejected": {"requeue": False},
            "progress": {"done": step},
        }[subject]
        host = "gen1@host" if subject == "sent" else "w@host"
        events.append(
            {
                **own,
                **fields,
                "type": f"task-{subject}",
                "uuid": uuid,
                "hostname": host,
                "clock": start + step,
                "timestamp": NOW + start + step,
                "local_received": NOW + start + step,
                "pid": 1,
                "utcoffset": 0,
            }
        )
    return events


LIVES = [
    life("a", "sent", "received", "started", "succeeded"),
    life("b", "received", "started", "failed", start=3),
    life("c", "received", "started", "retried", "received", "started", "succeeded", start=2),
    life("d", "sent", "revoked", start=20),
    life("e", "received", "started", "rejected", start=30),
    life("f", "received", "progress", "started", "progress", start=5),
]
SHOWN = ["uuid", "name", "state", "args", "kwargs", "retries", "result", "exception", "traceback"]
SHOWN += ["runtime", "client", "root_id", "parent_id", "routing_key", "ready"]
SHOWN += ["sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected"]


def shown(state):
    return {
        uuid: {name: getattr(task, name) for name in SHOWN}
        | {"worker": task.worker and task.worker.hostname}
        for uuid, task in state.tasks.items()
    }


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_events_gives_the_picture_that_celery_has(seed):
    chance = random.Random(seed)
    ours, theirs = picture.State(), celery.events.state.State()
    events = [event for one in LIVES for event in one]
    chance.shuffle(events)
    events = [event for event in events if chance.random() > 0.1]
    events += chance.sample(events, 3)
    # A retry that is told of out of order leaves Celery's picture as chance has it.
    events.sort(key=lambda event: event["clock"] if event["uuid"] == "c" else 0)

    for event in events:
        ours.event(dict(event))
        theirs.event(dict(event))

    assert shown(ours) == shown(theirs)


def test_tasks_are_listed_as_celery_lists_them():
    ours, theirs = picture.State(), celery.events.state.State()

    for state in (ours, theirs):
        for event in sorted(
            (event for one in LIVES for event in one), key=lambda event: event["clock"]
        ):
            state.event(dict(event))

    assert [id_ for id_, _ in ours.tasks_by_time()] == [id_ for id_, _ in theirs.tasks_by_time()]
    assert ours.task_types() == theirs.task_types()
    assert [id_ for id_, _ in ours.tasks_by_worker("w@host", limit=2)] == [
        id_ for id_, _ in theirs.tasks_by_worker("w@host", limit=2)
    ]
    assert [id_ for id_, _ in ours.tasks_by_type("task.b")] == ["b"]
    assert (ours.event_count, ours.task_count) == (theirs.event_count, theirs.task_count)
