"""Broadcasts of either house reach the workers of both, once each."""

import json
from pathlib import Path

import celery
import kombu
import pytest
from fleet import Fleet, until

import umbel

VECTORS = Path(__file__).parents[1] / "vectors"

pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def fleet(redis_server, tmp_path_factory):
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("fanouts"))
    fleet.start(
        "celery",
        "-c",
        "1",
        "--without-gossip",
        "--without-mingle",
        name="theirs",
        app="fanout_tasks",
    )
    fleet.start("umbel", "-c", "2", name="ours", app="fanout_tasks")
    for worker in fleet.workers:
        worker.wait_until_ready()
    # Celery's worker says that it is ready before it has subscribed to all of its exchanges.
    until(lambda: most_patterns(fleet) >= 3, say=lambda: f"{fleet.client.client_list()}")
    yield fleet
    fleet.close()


def most_patterns(fleet):
    """How much one connection listens to: of Celery's worker, remote control and two exchanges."""
    return max(int(client["psub"]) for client in fleet.client.client_list())


@pytest.fixture(params=[celery, umbel], ids=lambda house: house.__name__)
def app(request, fleet):
    app = request.param.Celery("sender", broker=fleet.url, set_as_current=False)
    yield app
    app.close()


def noted(fleet, number):
    def lines():
        return sorted(line.decode() for line in fleet.client.lrange("noted", 0, -1))

    until(lambda: len(lines()) >= number, say=lambda: f"{lines()}{[w.log for w in fleet.workers]}")
    found = lines()
    fleet.client.delete("noted")
    return found


def entities(app):
    return kombu if type(app).__module__.startswith("celery") else umbel


def test_a_broadcast_runs_on_both(fleet, app):
    exchange = entities(app).Exchange("everybody", "fanout")

    app.send_task(
        "note",
        ("all",),
        exchange="everybody",
        exchange_type="fanout",
        routing_key="celery",
        declare=[exchange],
    )

    assert noted(fleet, 2) == ["ours@host.example all", "theirs@host.example all"]


@pytest.mark.parametrize("name", ["broadcast", "broadcast_routing_key"])
def test_a_captured_broadcast_is_run(fleet, name):
    cases = json.loads((VECTORS / "messages.json").read_text())["cases"]
    (case,) = (case for case in cases if case["name"] == name)
    (published,) = case["published"]

    fleet.client.publish(published["channel"], published["raw"])

    key = f"celery-task-meta-{published['envelope']['headers']['id']}"
    found = until(lambda: fleet.client.get(key), say=lambda: fleet.workers[1].log)
    assert json.loads(found)["result"] == 5


def test_a_key_is_looked_at_by_both(fleet, app):
    exchange = entities(app).Exchange("keyed", "fanout")

    for key in ("b.c", "a.c"):
        app.send_task(
            "note",
            (key,),
            exchange="keyed",
            exchange_type="fanout",
            routing_key=key,
            declare=[exchange],
        )

    assert noted(fleet, 2) == ["ours@host.example a.c", "theirs@host.example a.c"]


def test_a_broadcast_queue_by_its_name_runs_on_both(fleet):
    app = umbel.Celery("sender", broker=fleet.url, set_as_current=False)
    app.conf.task_queues = [umbel.Broadcast("everybody")]

    app.send_task("note", ("by name",), queue="everybody")

    assert noted(fleet, 2) == ["ours@host.example by name", "theirs@host.example by name"]
    app.close()


def test_a_broadcast_with_a_countdown_runs_on_both(fleet, app):
    exchange = entities(app).Exchange("everybody", "fanout")

    app.send_task(
        "note",
        ("later",),
        countdown=1,
        exchange="everybody",
        exchange_type="fanout",
        routing_key="celery",
        declare=[exchange],
    )

    assert noted(fleet, 2) == ["ours@host.example later", "theirs@host.example later"]
