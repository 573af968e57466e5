"""What a worker of one house stores, read and awaited by the other, and by its own, alike."""

import datetime as dt
import uuid
from decimal import Decimal

import celery
import celery.result
import pytest
from fleet import Fleet, until

import umbel
import umbel.result

pytestmark = [pytest.mark.redis, pytest.mark.slow]

HOUSES = ("celery", "umbel")
GROUPS = {"celery": celery.result.GroupResult, "umbel": umbel.GroupResult}
TUPLES = {"celery": celery.result.result_from_tuple, "umbel": umbel.result.result_from_tuple}
OUTCOMES = {
    "number": lambda t: t.add.s(2, 3),
    "nothing": lambda t: t.noop.s(),
    "json types": lambda t: t.echo.s(
        dt.datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        dt.time(3, 4, 5),
        Decimal("1.10"),
        uuid.UUID(int=7),
        b"ascii",
        b"\xff\x00",
        (1, 2),
        10**25,
        key="h\u00e9llo \u2603",
    ),
    "two arguments": lambda t: t.fail.s(),
    "key error": lambda t: t.fail_key.s(),
    "own class": lambda t: t.fail_custom.s(),
    "inner class": lambda t: t.fail_inner.s(),
    "without arguments": lambda t: t.fail_noargs.s(),
    "not encodable": lambda t: t.fail_object.s(),
    "with a cause": lambda t: t.fail_cause.s(),
    "expired": lambda t: t.add.s(1, 1).set(expires=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
    "retried": lambda t: t.flaky.s(1),
    "out of retries": lambda t: t.exhausted.s(),
    "out of retries, with an error": lambda t: t.exhausted_exc.s(),
    "retried by itself": lambda t: t.autoretry.s(),
    "rejected": lambda t: t.raise_reject.s(),
    "replaced": lambda t: t.replace_with.s(1),
    "with children": lambda t: t.parent.s(2),
    "with a group of children": lambda t: t.parent_group.s(),
    "linked": lambda t: t.add.s(1, 1).set(link=t.mul.s(3)),
    "stored although ignored": lambda t: t.ignored_fail_stored.s(),
}


@pytest.fixture(scope="module")
def houses(_producers, redis_server, tmp_path_factory):
    """A worker of each house on a queue of its own: named as the house."""
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("results"))
    for house in HOUSES:
        apart = ("--without-gossip", "--without-mingle") if house == "celery" else ()
        conf = {"task_default_queue": house}  # so that follow-ups stay in the house too
        fleet.start(house, "-c", "1", "-Q", house, *apart, name=house, conf=conf)
    for worker in fleet.workers:
        worker.wait_until_ready()
    yield fleet
    fleet.close()


@pytest.fixture(params=HOUSES)
def writer(request):
    """The house whose worker runs everything."""
    return request.param


def view(result):
    """All that a reader tells of a result."""
    found = result.result
    return {
        "state": result.state,
        "value": None if isinstance(found, BaseException) else repr(found),
        "error": named(found) if isinstance(found, BaseException) else None,
        "traceback": result.traceback,
        "children": [child.as_tuple() for child in result.children or ()],
        "date_done": result.date_done,
        "flags": (result.ready(), result.successful(), result.failed()),
    }


def named(error):
    """An error as text, whichever house made its class."""
    return type(error).__qualname__, error.args


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("sender", HOUSES)
def test_both_read_the_same(houses, writer, sender, outcome):
    sent = OUTCOMES[outcome](houses.producer(sender)).apply_async(queue=writer)

    seen = {}
    for reader in HOUSES:
        result = houses.producer(reader).app.AsyncResult(sent.id)
        result.get(timeout=10, propagate=False)
        seen[reader] = view(result)

    assert seen["celery"] == seen["umbel"]


@pytest.mark.parametrize("reader", HOUSES)
def test_who_waits_before_the_end_is_told_of_it(houses, writer, reader):
    sent = houses.producer(reader).sleep_for.apply_async((0.3,), queue=writer)

    assert sent.state == "PENDING"
    assert sent.get(timeout=10) == 0.3


@pytest.mark.parametrize("reader", HOUSES)
def test_states_on_the_way_are_seen(houses, writer, reader):
    tasks = houses.producer(reader)

    sent = tasks.progress.apply_async((0.6,), queue=writer)
    until(lambda: sent.state == "PROGRESS", say=lambda: sent.state)
    info = sent.info
    begun = tasks.started.apply_async((0.6,), queue=writer)
    until(lambda: begun.state == "STARTED", say=lambda: begun.state)

    assert info == {"current": 3, "total": 10}
    assert set(begun.info) == {"pid", "hostname"}
    assert begun.get(timeout=10) == sent.get(timeout=10) == "done"


# Celery's own call of redis-py.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
@pytest.mark.parametrize("reader", HOUSES)
@pytest.mark.parametrize("sender", HOUSES)
def test_a_group_that_one_saved_is_restored_by_the_other(houses, writer, sender, reader):
    tasks, app = houses.producer(sender), houses.producer(reader).app
    house = {"celery": celery, "umbel": umbel}[sender]
    sent = house.group(tasks.add.s(n, n).set(queue=writer) for n in range(5)).apply_async()
    sent.save()

    found = GROUPS[reader].restore(sent.id, app=app)

    assert found.id == sent.id
    assert found.join(timeout=10) == [0, 2, 4, 6, 8]
    assert found.completed_count() == 5
    found.delete()
    assert GROUPS[sender].restore(sent.id, app=tasks.app) is None


@pytest.mark.parametrize("reader", HOUSES)
@pytest.mark.parametrize("sender", HOUSES)
def test_a_workflow_is_handed_over_as_a_tuple(houses, writer, sender, reader):
    tasks, app = houses.producer(sender), houses.producer(reader).app
    house = {"celery": celery, "umbel": umbel}[sender]
    add, mul, tsum = (task.s for task in (tasks.add, tasks.mul, tasks.tsum))
    steps = (add(1, 1), mul(2), add(10))
    chain = house.chain(*(step.set(queue=writer) for step in steps)).apply_async()
    members = [add(n, n).set(queue=writer) for n in range(3)]
    chord = house.chord(members, tsum().set(queue=writer)).apply_async()

    last = TUPLES[reader](chain.as_tuple(), app)
    body = TUPLES[reader](chord.as_tuple(), app)

    assert last.get(timeout=10) == 14
    assert [last.parent.get(timeout=10), last.parent.parent.get(timeout=10)] == [4, 2]
    assert body.get(timeout=10) == 6
    assert body.parent.join(timeout=10) == [0, 2, 4]


@pytest.mark.parametrize("reader", HOUSES)
def test_what_one_forgets_is_gone_for_the_other(houses, writer, reader):
    (other,) = set(HOUSES) - {reader}
    sent = houses.producer(reader).add.apply_async((1, 1), queue=writer)
    assert sent.get(timeout=10) == 2

    sent.forget()

    assert houses.producer(other).app.AsyncResult(sent.id).state == "PENDING"


@pytest.mark.parametrize("reader", HOUSES)
def test_children_are_collected_through_both_houses(houses, writer, reader):
    (other,) = set(HOUSES) - {writer}
    tasks = houses.producer(reader)

    # The callback runs in the other house than the task.
    link = tasks.add.s(100).set(queue=other)
    sent = tasks.add.apply_async((1, 2), queue=writer, link=link)

    assert sent.get(timeout=10) == 3
    assert [child.get(timeout=10) for child in sent.children] == [103]
    assert [value for _, value in sent.collect(timeout=10)] == [3, 103]


@pytest.mark.parametrize("second", HOUSES)
@pytest.mark.parametrize("first", HOUSES)
def test_a_success_outlives_a_second_run_in_either_house_that_fails(houses, first, second):
    """A message that was redelivered, as Celery does it after the visibility timeout."""
    tasks = houses.producer("umbel")
    once = uuid.uuid4().hex
    sent = tasks.only_once.apply_async((once,), queue=first, task_id=once)
    assert sent.get(timeout=10) == "done"
    before = houses.client.get(f"celery-task-meta-{once}")

    tasks.only_once.apply_async((once,), queue=second, task_id=once)
    until(lambda: int(houses.client.get(f"test:{once}")) == 2)
    # Behind it, in the same single process.
    tasks.add.apply_async((1, 1), queue=second).get(timeout=10)

    assert houses.client.get(f"celery-task-meta-{once}") == before
    for reader in HOUSES:
        assert houses.producer(reader).app.AsyncResult(once).get(timeout=10) == "done"
