"""A mixed fleet that agreed on another serializer, for tasks, results and the parts of chords."""

import sys

import celery
import pytest

import umbel

pytestmark = [pytest.mark.redis, pytest.mark.slow]

HOUSES = {"celery": celery, "umbel": umbel}


@pytest.fixture(params=["yaml", "msgpack", "pickle", "armoured", "squeezed"])
def conf(request):
    """Settings of all that take part."""
    return {
        "task_serializer": request.param,
        "result_serializer": request.param,
        "accept_content": [request.param],
        "result_accept_content": [request.param],
        "task_compression": "gzip",
        "result_compression": "gzip",
        "result_extended": True,
    }


@pytest.fixture
def apps(fleet, conf):
    """A producer of each house, of its own: a backend keeps the serializer it began with."""
    apps = {}
    for name, house in HOUSES.items():
        apps[name] = house.Celery(
            "reader", broker=fleet.url, backend=fleet.url, set_as_current=False
        )
        apps[name].conf.update(conf)
    yield apps
    for app in apps.values():
        app.close()


def test_a_mixed_fleet_speaks_another_serializer(fleet, conf, apps, monkeypatch):
    fleet.producer("celery")  # for the serializers that its program registers
    # Pickled exceptions name their module.
    monkeypatch.setitem(sys.modules, "wire_tasks", fleet.producer("umbel"))
    for house in HOUSES:
        apart = ("--without-gossip", "--without-mingle") if house == "celery" else ()
        fleet.start(house, "-c", "1", "-Q", f"celery,{house}", *apart, name=house, conf=conf)
    for worker in fleet.workers:
        worker.wait_until_ready()

    for sender, app in apps.items():
        for writer in HOUSES:
            value = app.send_task(
                "wire_tasks.echo", ("\u2603", [1, None]), {"k": 1.5}, queue=writer
            )
            error = app.send_task("wire_tasks.fail_custom", queue=writer)
            for reader in apps.values():
                found = reader.AsyncResult(value.id)
                assert found.get(timeout=10) == {
                    "args": ["\u2603", [1, None]],
                    "kwargs": {"k": 1.5},
                }
                assert (found.name, found.queue) == ("wire_tasks.echo", writer)
                raised = reader.AsyncResult(error.id).get(timeout=10, propagate=False)
                assert type(raised).__name__ == "WireError"
                assert raised.args == (7, {"why": "custom"})
        if (sender, conf["task_serializer"]) == ("celery", "yaml"):
            continue  # Celery can't write the body of a chord as YAML
        chord = HOUSES[sender].chord(
            [app.signature("wire_tasks.member", (sender, n, 0.01)) for n in range(20)],
            app.signature("wire_tasks.gathered", (sender,)),
        )
        parts = chord.apply_async().get(timeout=10)
        assert [number for _, number in parts] == list(range(20))
        runs = fleet.client.hgetall(f"test:{sender}")
        assert {int(count) for count in runs.values()} == {1}
        assert len(runs) == 21
