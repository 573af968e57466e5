"""What umbel sends, run by a real Celery worker: the code of every captured case, word for word."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from fleet import QUEUES, STEPS
from likeness import CASES, RUNNABLE, compare, sort_out

import umbel

pytestmark = [pytest.mark.redis, pytest.mark.slow]

# What umbel does not send, or means to send in another way.
DIFFERENT = {
    "protocol_1": "umbel writes protocol 2 only, and says so",
    "protocol_1_full": "the same",
    "chord_header_group": "members keep their order, where Celery turns it",
    "group_in_group": "members are numbered through, where Celery uses a number twice",
}


class MyVisitor(umbel.canvas.StampingVisitor):
    """The visitor that the vectors were captured with."""

    def on_signature(self, sig, **headers):
        return {"mystamp": "value-1", "stamped_headers": ["mystamp"]}


def names_of(module):
    """What the code of the vectors may use."""
    topic = umbel.Exchange("ex_topic", "topic")
    return {
        **vars(module),
        **{name: getattr(umbel, name) for name in ("chain", "chord", "group", "signature")},
        "dt": dt,
        "UTC": dt.UTC,
        "Decimal": Decimal,
        "uuid": uuid,
        "future": lambda seconds: dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds),
        "stamped": lambda sig, **headers: sig.stamp(**headers),
        "MyVisitor": MyVisitor,
        "q_direct": umbel.Queue("q_direct", umbel.Exchange("ex_direct"), "rk_direct"),
        "q_topic": umbel.Queue("q_topic", topic, "feed.*.news"),
        "q_topic_all": umbel.Queue("q_topic_all", topic, "#"),
        "q_expires": umbel.Queue(
            "q_expires", umbel.Exchange("ex_expires", "topic"), "e.#", expires=600
        ),
    }


def pushed_by(fleet, code, names):
    """Run the code of a case; what it pushed, in order, taken out of the queues again."""
    eval(code, names)
    found = []
    for queue in QUEUES.split(","):
        for step in STEPS:
            key = f"{queue}{step}"
            while raw := fleet.client.rpop(key):
                found.append((key, raw))
    return found


def test_every_case_that_umbel_sends_ends_on_celerys_worker_as_celerys(fleet, witness, capsys):
    module = fleet.producer("umbel")
    names = names_of(module)
    raws, refused = {}, {}
    for name in RUNNABLE:
        module.app.conf.update({"task_protocol": 2, **CASES[name].get("conf", {})})
        try:
            raws[name] = pushed_by(fleet, CASES[name]["code"], names)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and compared
            refused[name] = error
    for key, raw in [entry for entries in raws.values() for entry in entries]:
        fleet.client.lpush(key, raw)

    fleet.start("celery", "-Q", QUEUES, "-c", "1", "--without-gossip", "--without-mingle")
    fleet.workers[0].wait_until_ready()
    fleet.settle()

    pushed = {
        name: [(key, json.loads(raw)) for key, raw in entries] for name, entries in raws.items()
    }
    differing = dict(refused)
    seen_of = sort_out(pushed, witness.pushed, fleet.records())
    for name, seen in seen_of.items():
        try:
            compare(name, seen)
        except AssertionError as difference:
            differing[name] = difference
    with capsys.disabled():
        print(f"\nCelery agrees on {len(RUNNABLE) - len(differing)} of {len(RUNNABLE)} cases")
        for name, why in differing.items():
            print("   ", name, repr(why)[:400])
    assert sorted(differing) == sorted(DIFFERENT)
    for name, values in (
        ("chord_header_group", [2, 4, 6, [2, 4, 6]]),
        ("group_in_group", [2, 4, 6]),
    ):
        assert values == sorted(
            (document["result"] for document in seen_of[name].records.values()), key=repr
        )
