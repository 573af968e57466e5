"""Stamps of whole canvases reach the members; generators are sent while they are read."""

import importlib
import sys

import pytest

from umbel import AsyncResult, chain, chord, group
from umbel.canvas import StampingVisitor

pytestmark = pytest.mark.slow

TIMEOUT_S = 20


class Everywhere(StampingVisitor):
    """Has something to say at every place."""

    def on_signature(self, sig, **headers):
        return {"every": 1}

    def on_chain_start(self, sig, **headers):
        return {"in_chain": 2}

    def on_group_start(self, sig, **headers):
        return {"in_group": 3}

    def on_chord_header_start(self, sig, **headers):
        return {"in_header": 4}

    def on_chord_body(self, sig, **headers):
        return {"in_body": 5}

    def on_callback(self, callback, **headers):
        return {"in_callback": 6}


@pytest.fixture
def tasks(urls, monkeypatch, request):
    """The program of these tests, imported here as a producer."""
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(request.path.parent / "programs"))
    sys.modules.pop("stamped_tasks", None)
    module = importlib.import_module("stamped_tasks")
    yield module
    module.app.close()
    sys.modules.pop("stamped_tasks", None)


def test_stamps_of_a_canvas_reach_its_members(tasks, urls, start_worker):
    start_worker("stamped_tasks", "-c", "2", env=urls)
    linked = tasks.seen.s()
    linked.link(tasks.seen.s())
    every = {"every": 1}
    cases = {
        "task": (tasks.seen.s(), every),
        "chain": (chain(tasks.seen.s(), tasks.seen.s()), {**every, "in_chain": 2}),
        "group": (group(tasks.seen.s(), tasks.seen.s()), [{**every, "in_group": 3}] * 2),
        "retried in a group": (group(tasks.again.s()), [{**every, "in_group": 3}]),
        "replaced in a chain": (
            chain(tasks.seen.s(), tasks.replaced.s()),
            [{**every, "in_chain": 2}] * 2,
        ),
        "body": (chord([tasks.seen.s()], tasks.seen.s()), {**every, "in_body": 5}),
        "with a callback": (linked, every),
    }

    sent = {}
    for name, (sig, wanted) in cases.items():
        sig.stamp(visitor=Everywhere())
        sent[name] = (sig.apply_async(), wanted)

    found = {name: result.get(timeout=TIMEOUT_S) for name, (result, _) in sent.items()}
    assert found == {name: wanted for name, (_, wanted) in sent.items()}
    header = sent["body"][0].parent.results[0].get(timeout=TIMEOUT_S)
    assert header == {**every, "in_header": 4}
    callback = sent["with a callback"][0].children[0].get(timeout=TIMEOUT_S)
    assert callback == {**every, "in_callback": 6}


@pytest.mark.parametrize("kind", ["group", "chord"])
def test_the_first_members_run_while_the_generator_is_read(kind, tasks, urls, start_worker):
    start_worker("stamped_tasks", "-c", "1", env=urls)
    total, seen_early = 1500, []

    def members():
        for n in range(total):
            if n == 1000:
                first = AsyncResult("the-first-member", app=tasks.app)
                seen_early.append(first.get(timeout=TIMEOUT_S))
            yield tasks.number.s(n).set(task_id="the-first-member" if n == 0 else None)

    if kind == "group":
        found = group(members()).apply_async().get(timeout=60)
    else:
        found = chord(members(), tasks.number.s()).apply_async().get(timeout=60)

    assert seen_early == [0]
    assert found == list(range(total))
