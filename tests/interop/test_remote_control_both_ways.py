"""Remote control in a mixed fleet: clients of either house, workers of either house.

What a worker of Celery's answers is the measure: an umbel worker's answer to the same question has
the same shape, key by key.
"""

import time

import pytest
from celery.exceptions import TaskRevokedError as TheirRevokedError
from fleet import Fleet, until

from umbel.exceptions import TaskRevokedError

pytestmark = [pytest.mark.redis, pytest.mark.slow]

OURS, THEIRS = "ours@host.example", "theirs@host.example"
TIMEOUT_S = 10.0
HOUSES = ["celery", "umbel"]


@pytest.fixture(scope="module")
def both(_producers, redis_server, tmp_path_factory):
    """A worker of each house; Celery's starts last, so that it says hello to ours."""
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("control"))
    fleet.start("umbel", "-c", "1", "-Q", "celery,ours", name="ours")
    fleet.workers[0].wait_until_ready()
    fleet.start("celery", "-c", "1", "-Q", "celery,theirs", name="theirs")
    fleet.workers[1].wait_until_ready()
    # Celery's worker says that it is ready before it has subscribed to remote control.
    until(lambda: len(inspect_of(fleet, "umbel", timeout=1.0).ping() or {}) == 2)
    yield fleet
    fleet.close()


def inspect_of(fleet, house, timeout=TIMEOUT_S, **options):
    return fleet.producer(house).app.control.inspect(timeout=timeout, limit=2, **options)


def shape(value):
    """Keys and kinds, all the way down; of a list its first member."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return "flag or nothing"
    return "number" if isinstance(value, int | float) else type(value).__name__


def long_on_each(both, house):
    """A long task that runs on each worker."""
    tasks = both.producer(house)
    running = [tasks.sleep_late.apply_async((300,), queue=name) for name in ("ours", "theirs")]

    def all_run():
        active = inspect_of(both, house).active() or {}
        return len(active) == 2 and all(active.values())

    until(all_run)
    return running


@pytest.fixture
def busy(both):
    """A long task on each worker, one more that waits for its time; ended afterwards."""
    tasks = both.producer("celery")
    running = long_on_each(both, "celery")
    due = tasks.add.apply_async((1, 2), countdown=3600, queue="ours")
    yield running, due
    tasks.app.control.terminate([each.id for each in running], signal="SIGKILL")
    tasks.app.control.revoke(due.id)


@pytest.mark.parametrize("house", HOUSES)
def test_both_answer_each_others_clients(both, house):
    inspect = inspect_of(both, house)

    assert inspect.ping() == {OURS: {"ok": "pong"}, THEIRS: {"ok": "pong"}}
    assert inspect_of(both, house, destination=[OURS]).ping() == {OURS: {"ok": "pong"}}
    assert inspect_of(both, house, pattern="o*@*", matcher="glob").ping() == {OURS: {"ok": "pong"}}
    assert inspect_of(both, house, pattern="^o.*", matcher="pcre").ping() == {OURS: {"ok": "pong"}}
    registered = inspect.registered()
    assert "wire_tasks.add" in registered[OURS]
    assert set(registered[OURS]) == set(registered[THEIRS])
    assert registered[OURS] == sorted(registered[OURS])


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("active", ()),
        ("active", (True,)),
        ("stats", ()),
        ("active_queues", ()),
        ("clock", ()),
        ("report", ()),
        ("revoked", ()),
        ("ping", ()),
    ],
)
def test_answers_have_the_same_shape(both, busy, method, arguments):
    answers = getattr(inspect_of(both, "celery"), method)(*arguments)

    ours, theirs = shape(answers[OURS]), shape(answers[THEIRS])
    if method == "stats":
        for answer in (ours, theirs):
            # Names of tasks; and a worker of Celery's has its client's name for this.
            answer.pop("total")
            answer["broker"]["transport_options"] = {}
    assert ours == theirs


def test_what_waits_for_its_time_is_told(both, busy):
    _, due = busy

    [entry] = until(lambda: inspect_of(both, "celery").scheduled()[OURS])

    assert set(entry) == {"eta", "priority", "request"}
    assert entry["request"]["id"] == due.id
    assert entry["request"]["args"] == [1, 2]
    states = inspect_of(both, "celery").query_task(due.id)
    assert states[OURS][due.id][0] == "scheduled"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("rate_limit", {"task_name": "wire_tasks.add", "rate_limit": "1000/s"}),
        ("rate_limit", {"task_name": "wire_tasks.add", "rate_limit": 0}),
        ("rate_limit", {"task_name": "nope", "rate_limit": "10/m"}),
        ("time_limit", {"task_name": "wire_tasks.add", "soft": 100, "hard": 200}),
        ("time_limit", {"task_name": "nope", "soft": 1}),
        ("add_consumer", {"queue": "extra"}),
        ("cancel_consumer", {"queue": "extra"}),
        ("pool_grow", {"n": 1}),
        ("autoscale", {"max": 4, "min": 1}),
        ("pool_restart", {}),
        ("enable_events", {}),
        ("disable_events", {}),
        ("heartbeat", {}),
        ("no_such_command", {}),
        ("revoke", {"task_id": "some-task"}),
        ("terminate", {"task_id": "unknown", "signal": "SIGKILL"}),
        ("revoke_by_stamped_headers", {"headers": {"mystamp": ["v9"]}}),
    ],
)
def test_answers_to_commands_are_the_same(both, command, arguments):
    said = both.producer("celery").app.control.broadcast(
        command, arguments, reply=True, timeout=TIMEOUT_S, limit=2
    )

    answers = {node: answer for each in said for node, answer in each.items()}
    assert answers[OURS] == answers[THEIRS]


@pytest.mark.parametrize("house", HOUSES)
def test_each_house_ends_tasks_on_workers_of_both(both, house):
    tasks = both.producer(house)
    running = long_on_each(both, house)

    tasks.app.control.revoke([each.id for each in running], terminate=True, signal="SIGKILL")

    for result in running:
        with pytest.raises((TaskRevokedError, TheirRevokedError)):
            result.get(timeout=30)


@pytest.mark.parametrize("house", HOUSES)
def test_what_one_house_revokes_the_other_does_not_run(both, house):
    tasks = both.producer(house)
    results = [
        tasks.add.apply_async((1, number), countdown=2, queue=queue)
        for queue in ("ours", "theirs")
        for number in range(3)
    ]

    tasks.app.control.revoke([each.id for each in results], reply=True, timeout=TIMEOUT_S, limit=2)

    for result in results:
        with pytest.raises((TaskRevokedError, TheirRevokedError)):
            result.get(timeout=30)


def test_a_newcomer_of_celerys_says_hello_and_is_content(both):
    both.producer("umbel").app.control.revoke("known-to-ours")

    newcomer = both.start("celery", "-c", "1", "-Q", "newcomer", name="newcomer")
    newcomer.wait_until_ready()
    time.sleep(3)  # a round of gossip: heartbeats of ours are read by its rules

    known = both.producer("celery").app.control.inspect(
        destination=["newcomer@host.example"], timeout=TIMEOUT_S
    )
    assert "mingle: sync complete" in newcomer.log_path.read_text()
    assert "known-to-ours" in known.revoked()["newcomer@host.example"]
    assert "Traceback" not in newcomer.log_path.read_text()


def test_a_worker_of_ours_is_shut_down_by_celerys_client(both):
    worker = both.start("umbel", "-c", "1", "-Q", "leaving", name="leaving")
    worker.wait_until_ready()

    both.producer("celery").app.control.shutdown(destination=["leaving@host.example"])

    assert worker.process.wait(20) == 0
