"""Every message that Celery was seen to send, run by an umbel worker."""

import json
from collections import Counter

import pytest
from fleet import QUEUES
from likeness import CASES, FLOWS, RUNNABLE, compare, sort_out

pytestmark = [pytest.mark.redis, pytest.mark.slow]

# What is meant to differ, and why.
DIFFERENT = {
    "send_task_unregistered": "the record says what to do, as its traceback; Celery's has none",
}


def put(client, case):
    """Leave behind what the producer of a case left behind: its keys, its messages in order."""
    for key, entry in case["other_keys"].items():
        if entry["type"] == "set":
            client.sadd(key, *entry["value"])
        elif entry["type"] == "zset":
            client.zadd(key, dict(entry["value"]))
        else:
            assert entry["type"] == "string", entry
            client.set(key, entry["value"], ex=entry["ttl"] if entry["ttl"] > 0 else None)
    for entry in case["pushed"]:
        client.lpush(entry["key"], entry["raw"])


def test_every_vector_ends_on_an_umbel_worker_as_on_celerys(fleet, witness, capsys):
    for name in RUNNABLE:
        put(fleet.client, CASES[name])

    # One child, which takes them in the order in which Celery's worker did: who ends last decides
    # what the body of a chord says of its parent and root.
    fleet.start("umbel", "-Q", QUEUES, "-c", "1").wait_until_ready()
    fleet.settle()

    pushed = {
        name: [(entry["key"], json.loads(entry["raw"])) for entry in CASES[name]["pushed"]]
        for name in RUNNABLE
    }
    differing = judge(sort_out(pushed, witness.pushed, fleet.records()))
    with capsys.disabled():
        print(f"\numbel agrees on {len(RUNNABLE) - len(differing)} of {len(RUNNABLE)} vectors")
        for name, why in differing.items():
            print("   ", name, str(why)[:600])
    assert sorted(differing) == sorted(DIFFERENT), differing
    theirs = [key for name in RUNNABLE for key in FLOWS[name]["keys_after"]]
    ours = [key.decode() for key in fleet.client.keys("celery-taskset-meta-*")]
    assert Counter(key[-2:] for key in ours if key[-2] == ".") == Counter(
        key[-2:] for key in theirs if key[-2] == "."
    )
    assert {fleet.client.get(key) for key in ours if key.endswith(".c")} == {b"done"}
    # The one that no worker knows is kept, where Celery throws it away.
    assert fleet.client.zcard("umbel:dead") == 1


def judge(seen):
    """The cases that went otherwise, and how."""
    differing = {}
    for name, what in seen.items():
        try:
            compare(name, what)
        except AssertionError as difference:
            differing[name] = difference
    return differing
