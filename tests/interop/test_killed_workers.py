"""Workers that are killed in a mixed fleet: each house recovers its own, and leaves the other's."""

import re
import time

import celery
import pytest
from fleet import until

import umbel

pytestmark = [pytest.mark.redis, pytest.mark.slow]

HOUSES = {"celery": celery, "umbel": umbel}
CELERYS = ("-c", "2", "--without-gossip", "--without-mingle")
VISIBILITY_S = 2
CONF = {"broker_transport_options": {"visibility_timeout": VISIBILITY_S}}
CHORDS = 4
DEATHS = 6
BATCH = 8  # more than a child has run of such tasks and not settled
MEMBERS = 20


@pytest.mark.parametrize("house", HOUSES)
def test_chords_outlive_an_umbel_worker_that_is_killed(fleet, house):
    fleet.start("celery", *CELERYS, name="theirs")
    killed = fleet.start("umbel", "-c", "2", name="ours")
    for worker in fleet.workers:
        worker.wait_until_ready()
    tasks = fleet.producer(house)

    results = [
        HOUSES[house]
        .chord(
            (tasks.member.s(f"killed-{n}", place, 0.03) for place in range(MEMBERS)),
            tasks.gathered.s(f"killed-{n}"),
        )
        .apply_async()
        for n in range(CHORDS)
    ]
    until(lambda: any(fleet.client.hlen(key) for key in fleet.client.keys("umbel:i:ours@*")))
    killed.process.kill()
    fleet.start("umbel", "-c", "2", name="next")

    limit = time.monotonic() + 25
    for n, result in enumerate(results):
        parts = result.get(timeout=max(limit - time.monotonic(), 0.1))
        assert [place for _, place in parts] == list(range(MEMBERS))
        runs = fleet.client.hgetall(f"test:killed-{n}")
        assert int(runs.pop(b"body")) == 1
        # Two children were killed: what they ran runs again, nothing else does.
        assert len(runs) == MEMBERS
    counts = [int(count) for n in range(CHORDS) for count in fleet.client.hvals(f"test:killed-{n}")]
    assert sum(counts) <= CHORDS * (MEMBERS + 1) + 2
    until(lambda: not fleet.waiting(), say=lambda: str(fleet.waiting()))


def test_workflows_of_both_outlive_many_deaths_of_umbels_workers(fleet):
    fleet.start("celery", *CELERYS, name="theirs")
    ours = [fleet.start("umbel", "-c", "2", name=f"ours{n}") for n in range(2)]
    for worker in fleet.workers:
        worker.wait_until_ready()
    chords, chains = {}, {}

    for death in range(DEATHS):
        for name, house in HOUSES.items():
            tasks = fleet.producer(name)
            for n in range(3):
                run = f"storm-{name}-{death}-{n}"
                members = (tasks.member.s(run, place, 0.02) for place in range(MEMBERS))
                chords[run] = house.chord(members, tasks.gathered.s(run)).apply_async()
                steps = (tasks.hop.s(f"{run}-chain", step) for step in range(1, 6))
                first = tasks.hop.s([], f"{run}-chain", 0).set(countdown=n * 0.2)
                chains[run] = house.chain(first, *steps).apply_async()
        killed = ours[death % 2]
        until(lambda killed=killed: any(map(fleet.client.hlen, keys_of(fleet, death % 2))))
        killed.kill_all()
        ours[death % 2] = fleet.start("umbel", "-c", "2", name=f"ours{death % 2}")
        ours[death % 2].wait_until_ready()

    limit = time.monotonic() + 60
    repeated = 0
    for run, result in chords.items():
        parts = result.get(timeout=max(limit - time.monotonic(), 0.1))
        assert [place for _, place in parts] == list(range(MEMBERS))
        counts = fleet.client.hgetall(f"test:{run}")
        assert len(counts) == MEMBERS + 1
        repeated += sum(map(int, counts.values())) - len(counts)
    for run, result in chains.items():
        assert len(result.get(timeout=max(limit - time.monotonic(), 0.1))) == 6
        counts = fleet.client.hgetall(f"test:{run}-chain")
        assert len(counts) == 6
        repeated += sum(map(int, counts.values())) - len(counts)
    until(lambda: not fleet.waiting(), say=lambda: str(fleet.waiting()))
    # What ran in a child that was killed, and what it had done and not yet settled: nothing forks.
    assert repeated <= DEATHS * 2 * BATCH


def keys_of(fleet, number):
    """Where the messages are that a worker of ours holds."""
    return fleet.client.keys(f"umbel:i:ours{number}@*")


def test_what_a_killed_celery_worker_held_stays_celerys(fleet):
    killed = fleet.start("celery", *CELERYS, name="theirs", conf=CONF)
    killed.wait_until_ready()
    tasks = fleet.producer("umbel")
    held = [tasks.sleep_late.delay(0.8) for _ in range(6)]
    until(lambda: fleet.client.hlen("unacked") == 6)
    killed.process.kill()
    before = fleet.client.hgetall("unacked")

    fleet.start("umbel", "-c", "2", name="ours").wait_until_ready()
    values = [tasks.add.delay(n, n).get(timeout=10) for n in range(20)]
    # Longer than an umbel worker takes to find what an umbel worker has lost.
    first = min(score for _, score in fleet.client.zrange("unacked_index", 0, -1, withscores=True))
    until(lambda: time.time() > first + VISIBILITY_S + 1)
    after = fleet.client.hgetall("unacked")

    assert values == [n + n for n in range(20)]
    assert after == before
    fleet.start("celery", *CELERYS, name="next", conf=CONF)
    assert [result.get(timeout=20) for result in held] == [0.8] * 6
    until(lambda: not fleet.client.hlen("unacked"))


@pytest.mark.parametrize("first", HOUSES)
def test_of_both_that_are_killed_each_houses_next_worker_recovers_its_own(fleet, first):
    """Whichever comes back first leaves what the other's dead had until that one comes back."""
    (second,) = set(HOUSES) - {first}
    starts = {
        "celery": lambda name: fleet.start("celery", *CELERYS, name=name, conf=CONF),
        "umbel": lambda name: fleet.start("umbel", "-c", "2", name=name),
    }
    tasks = fleet.producer("umbel")

    dead = starts["celery"]("dead-celery")
    dead.wait_until_ready()
    results = [tasks.sleep_late.delay(0.5) for _ in range(6)]
    # Not before it has written down all: Celery loses what it has only fetched.
    until(lambda: fleet.client.hlen("unacked") == 6)
    dead.kill_all()
    dead = starts["umbel"]("dead-umbel")
    dead.wait_until_ready()
    results += [tasks.sleep_late.delay(0.5) for _ in range(6)]
    until(lambda: len(held_by(fleet, "umbel")) >= 2)
    dead.kill_all()
    held = {house: held_by(fleet, house) for house in HOUSES}
    # Celery looks at its start, and not again for minutes.
    fetched = max(
        score for _, score in fleet.client.zrange("unacked_index", 0, -1, withscores=True)
    )
    until(lambda: time.time() > fetched + VISIBILITY_S + 0.5)

    starts[first]("next-first").wait_until_ready()
    marks = [tasks.add.delay(n, n) for n in range(5)]
    assert [mark.get(timeout=30) for mark in marks] == [0, 2, 4, 6, 8]
    recovered = [result for result in results if result.id.encode() not in held[second]]
    assert [result.get(timeout=30) for result in recovered] == [0.5] * len(recovered)
    left = held_by(fleet, second)

    starts[second]("next-second").wait_until_ready()

    assert left == held[second]
    assert len(held["celery"]) == 6
    assert 2 <= len(held["umbel"]) <= 6
    assert [result.get(timeout=30) for result in results] == [0.5] * 12
    until(lambda: not fleet.waiting(), say=lambda: str(fleet.waiting()))


def held_by(fleet, house):
    """The ids of the tasks that workers of a house hold, dead ones too."""
    keys = {"celery": ["unacked"], "umbel": fleet.client.keys("umbel:i:*")}[house]
    values = [value for key in keys for value in fleet.client.hvals(key)]
    return {re.search(rb'"id": "([0-9a-f-]+)"', value)[1] for value in values}
