"""Generated canvases of every kind in every other, against plain evaluation.

A canvas is generated as a tree; each node knows how to build its signature and what it gives for an
input. Tasks may be retried, may replace themselves by another canvas, may fail. Messages and joins
run in any order.
"""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import Again, Replace, Workshop, use, wired

from umbel.canvas import chain, chord, group, signature
from umbel.model import states
from umbel.model.request import running
from umbel.results import AsyncResult


class Wrong(Exception):
    """The evaluation of a canvas that fails."""


@dataclass
class Task:
    key: int
    how: str = "s"  # s, si, retried, failing

    def build(self, t):
        if self.how == "si":
            return t.wrap.si(None, self.key)
        return {"s": t.wrap, "retried": t.retried, "failing": t.failing}[self.how].s(self.key)

    def value(self, x):
        if self.how == "failing":
            raise Wrong
        return [self.key, None if self.how == "si" else x]


@dataclass
class Replaced:
    by: object

    def build(self, t):
        return t.replaced.s(wired(self.by.build(t)))

    def value(self, x):
        return self.by.value(x)


@dataclass
class Map:
    items: list

    def build(self, t):
        return t.wrap.starmap([(item, 0) for item in self.items])

    def value(self, x):
        return [[0, item] for item in self.items]


@dataclass
class Chain:
    steps: list
    piped: bool

    def build(self, t):
        sigs = [step.build(t) for step in self.steps]
        if not self.piped:
            return chain(*sigs)
        joined = sigs[0]
        for sig in sigs[1:]:
            joined = joined | sig
        return joined

    def value(self, x):
        for step in self.steps:
            x = step.value(x)
        return x


def spread_out(nodes, x):
    values = []
    for node in nodes:
        if isinstance(node, Group):
            values.extend(spread_out(node.members, x))
        else:
            values.append(node.value(x))
    return values


@dataclass
class Group:
    members: list
    streamed: bool

    def build(self, t):
        sigs = [member.build(t) for member in self.members]
        return group(sig for sig in sigs) if self.streamed else group(sigs)

    def value(self, x):
        return spread_out(self.members, x)


@dataclass
class Chord:
    header: list
    body: object
    streamed: bool

    def build(self, t):
        sigs = [member.build(t) for member in self.header]
        return chord((sig for sig in sigs) if self.streamed else sigs, self.body.build(t))

    def value(self, x):
        return self.body.value(spread_out(self.header, x))


def canvases(hows):
    leaf = st.one_of(
        st.builds(Task, st.integers(0, 99), st.sampled_from(hows)),
        st.builds(Map, st.lists(st.integers(0, 9), max_size=2)),
    )

    def nested(inner):
        return st.one_of(
            # A group of one, or of none, that is not first in a chain is another thing: see
            # test_nesting.
            st.builds(Chain, st.lists(inner, min_size=2, max_size=4), st.booleans()),
            st.builds(Group, st.lists(inner, min_size=2, max_size=3), st.booleans()),
            st.builds(Chord, st.lists(inner, max_size=3), inner, st.booleans()),
            st.builds(Replaced, inner),
        )

    return st.recursive(leaf, nested, max_leaves=12)


def workshop():
    app = use(Workshop())

    def wrap(x, key):
        return [key, x]

    def retried(x, key):
        if running.get()[-1].retries < 1:
            raise Again
        return [key, x]

    def failing(x, key):
        raise ValueError(key)

    def replaced(x, sig):
        raise Replace(signature(sig).clone((x,)))

    for fun in (wrap, retried, failing, replaced):
        app.task(fun)
    from types import SimpleNamespace

    return app, SimpleNamespace(
        **{name.rpartition(".")[2]: task for name, task in app.tasks.items()}
    )


def waited_for(result):
    if isinstance(result, AsyncResult):
        yield result.id
    else:
        for member in result:
            yield from waited_for(member)


def send(node, t, as_json):
    sig = node.build(t)
    return (signature(wired(sig)) if as_json else sig).apply_async((7,))


@settings(max_examples=300, deadline=None)
@given(node=canvases(["s", "s", "si", "retried"]), seed=st.integers(0, 9), as_json=st.booleans())
def test_any_canvas_gives_the_value_of_its_evaluation(node, seed, as_json):
    app, t = workshop()
    app.random = random.Random(seed)

    result = send(node, t, as_json)

    assert result.get() == node.value(7)
    assert set(app.sizes) == app.claimed
    assert all(r.status == states.SUCCESS for r in app.archive.kept.values())


@settings(max_examples=300, deadline=None)
@given(
    node=canvases(["s", "s", "si", "retried", "failing"]),
    seed=st.integers(0, 9),
    as_json=st.booleans(),
)
def test_any_canvas_with_failures_ends(node, seed, as_json):
    """Whoever waits is told, and no join is left open."""
    app, t = workshop()
    app.random = random.Random(seed)
    try:
        expected = node.value(7)
    except Wrong:
        expected = Wrong

    result = send(node, t, as_json)
    app.run()

    assert set(app.sizes) == app.claimed
    unknown = [i for i in waited_for(result) if i not in app.archive.kept]
    assert unknown == []
    if expected is Wrong:
        with pytest.raises(Exception, match="raised ValueError|^[0-9]+$"):
            result.get()
    else:
        assert result.get() == expected


@settings(max_examples=150, deadline=None)
@given(node=canvases(["s", "si"]).filter(lambda node: "Replaced" not in repr(node)))
def test_any_canvas_runs_eagerly_to_the_same_value(node):
    app, t = workshop()

    result = node.build(t).apply((7,))

    assert result.get() == node.value(7)
    assert app.sent == []


@settings(max_examples=150, deadline=None)
@given(node=canvases(["s", "si"]))
def test_any_canvas_can_be_frozen_and_sent(node):
    app, t = workshop()
    sig = node.build(t)

    frozen = sig.freeze()
    sent = sig.apply_async((7,))

    assert frozen.as_tuple() == sent.as_tuple()
    assert frozen.get() == node.value(7)
