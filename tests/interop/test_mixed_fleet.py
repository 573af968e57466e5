"""Workers of both houses on one queue: chords and chains that run partly here, partly there.

Every member, every step and every body leaves a count of its runs in Redis, so that what was lost
and what ran twice shows, whatever the result says.
"""

import re
import time

import celery
import pytest
from fleet import Fleet, until

import umbel

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CHORDS = 20
MEMBERS = 20
CHAINS = 20
STEPS = 12
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def mixed(_producers, redis_server, tmp_path_factory):
    """One worker of each house, for all tests of this module."""
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("mixed"))
    fleet.start("celery", "-c", "2", "--without-gossip", "--without-mingle", name="theirs")
    fleet.start("umbel", "-c", "2", name="ours")
    for worker in fleet.workers:
        worker.wait_until_ready()
    yield fleet
    fleet.close()


def runs_of(fleet, run):
    """How often each piece of a run has run."""
    counts = fleet.client.hgetall(f"test:{run}")
    return {name.decode(): int(count) for name, count in counts.items()}


def values_of(results):
    """The values of all results, within the patience for all of them together."""
    limit = time.monotonic() + PATIENCE_S
    return [result.get(timeout=max(limit - time.monotonic(), 0.1)) for result in results]


@pytest.mark.parametrize("house", [celery, umbel], ids=lambda house: house.__name__)
def test_chords_split_over_both_end_once(mixed, house):
    tasks = mixed.producer(house.__name__)

    results = [
        house.chord(
            (tasks.member.s(f"chord-{house.__name__}-{n}", place) for place in range(MEMBERS)),
            tasks.gathered.s(f"chord-{house.__name__}-{n}"),
        ).apply_async()
        for n in range(CHORDS)
    ]
    values = values_of(results)

    for parts in values:
        assert [place for _, place in parts] == list(range(MEMBERS))
    expected = {f"member-{place}": 1 for place in range(MEMBERS)} | {"body": 1}
    for n in range(CHORDS):
        assert runs_of(mixed, f"chord-{house.__name__}-{n}") == expected
    split = [parts for parts in values if {who for who, _ in parts} == {"celery", "umbel"}]
    assert len(split) >= CHORDS // 2, "the chords were not split"
    until(lambda: not mixed.waiting(), say=lambda: str(mixed.waiting()))


@pytest.mark.parametrize("house", [celery, umbel], ids=lambda house: house.__name__)
def test_a_chord_with_members_that_fail_in_either_house_fails_once(mixed, house):
    tasks = mixed.producer(house.__name__)

    results = [
        house.chord(
            [
                *(tasks.member.s(f"failing-{house.__name__}-{n}", place) for place in range(8)),
                tasks.fail.s("no"),
            ],
            tasks.gathered.s(f"failing-{house.__name__}-{n}").on_error(tasks.errback_old.s()),
        ).apply_async()
        for n in range(8)
    ]

    limit = time.monotonic() + PATIENCE_S
    for n, result in enumerate(results):
        # Without propagate: Celery may raise the member's error while it waits for the body's.
        error = result.get(timeout=max(limit - time.monotonic(), 0.1), propagate=False)
        assert type(error).__name__ == "ChordError"
        assert re.fullmatch(r"Dependency .* raised ValueError\('no'\)", str(error))
        assert result.state == "FAILURE"
        assert "body" not in runs_of(mixed, f"failing-{house.__name__}-{n}")
    mixed.settle()
    failed = {result.id for result in results}
    told = [
        record["result"][1]
        for record in mixed.records().values()
        if isinstance(record["result"], list) and record["result"][0] == "errback_old"
    ]
    told = [task_id for task_id in told if task_id in failed]
    assert sorted(told) == sorted(failed)


@pytest.mark.parametrize("house", [celery, umbel], ids=lambda house: house.__name__)
def test_chains_hop_between_both(mixed, house):
    tasks = mixed.producer(house.__name__)

    results = [
        house.chain(
            tasks.hop.s([], f"chain-{house.__name__}-{n}", 0),
            *(tasks.hop.s(f"chain-{house.__name__}-{n}", step) for step in range(1, STEPS)),
        ).apply_async()
        for n in range(CHAINS)
    ]
    trails = values_of(results)

    for n, trail in enumerate(trails):
        assert len(trail) == STEPS
        assert runs_of(mixed, f"chain-{house.__name__}-{n}") == {
            f"step-{step}": 1 for step in range(STEPS)
        }
    hops = [set(trail) for trail in trails]
    assert {"celery", "umbel"} in hops, "no chain ran in both"


@pytest.mark.parametrize("house", [celery, umbel], ids=lambda house: house.__name__)
def test_nested_workflows_end_in_a_mixed_fleet(mixed, house):
    tasks = mixed.producer(house.__name__)
    add, mul, tsum, ident = tasks.add, tasks.mul, tasks.tsum, tasks.ident
    chain, chord, group = house.chain, house.chord, house.group
    flows = {
        "chord in chord": (chord([chord([add.s(1, 1)], tsum.s()), add.s(3, 3)], tsum.s()), 8),
        "chord in chain": (chain(add.s(1, 1), chord([add.s(2), add.s(3)], tsum.s()), mul.s(2)), 18),
        "chain in header": (chord([add.s(1, 1) | mul.s(5), add.s(2, 2)], tsum.s()), 14),
        "body is a chain": (chord([add.s(1, 1), add.s(2, 2)], tsum.s() | mul.s(10)), 60),
        "task, group, task": (add.s(1, 1) | group(mul.s(2), mul.s(3)) | tsum.s(), 10),
        "retry in header": (chord([tasks.flaky.s(1), add.s(2, 2)], ident.s()), [{"retries": 1}, 4]),
        "replace in header": (chord([tasks.replace_with.s(1), add.s(2, 2)], tsum.s()), 105),
        "replace by a group": (tasks.replace_group.s(1), [2, 3]),
        "replace by a chain": (tasks.replace_chain.s(1), 20),
        "map": (tasks.neg.map([1, 2]), [-1, -2]),
        "starmap": (add.starmap([(1, 2), (3, 4)]), [3, 7]),
    }  # fmt: skip

    results = [(name, sig.apply_async(), value) for name, (sig, value) in flows.items()]
    grown = [chord([tasks.grow_chord.s(), add.s(2, 2)], ident.s()).apply_async() for _ in range(4)]

    limit = time.monotonic() + PATIENCE_S
    for name, result, value in results:
        assert result.get(timeout=max(limit - time.monotonic(), 0.1)) == value, name
    for result in grown:
        assert sorted(result.get(timeout=5)) == [1, 4, 20]
