"""Every canvas gives what plain evaluation of it gives, whatever runs first."""

import pytest

from umbel.canvas import chain, chord, group


def cases(t):
    header = [t.add.si(1, 1), t.add.si(2, 2)]
    yield "task", t.add.s(1, 2), 3
    yield "chain", chain(t.add.s(1, 2), t.mul.s(3), t.neg.s()), -9
    yield "chain of one", chain(t.add.s(1, 2)), 3
    yield "chain of a chain", chain(t.add.s(1, 2) | t.mul.s(3) | t.neg.s()), -9
    yield "group", group(*header), [2, 4]
    yield "group of one", group(t.add.s(1, 1)), [2]
    yield "empty group", group([]), []
    yield "group in group", group(group(*header), t.add.s(3, 3)), [2, 4, 6]
    yield "generator", group(t.add.s(i, i) for i in range(4)), [0, 2, 4, 6]
    yield "group of chains", group(t.add.s(1, 1) | t.mul.s(2), t.add.s(3, 3)), [4, 6]
    yield "group ending in groups", group(t.add.s(1, 1) | group(t.mul.s(2), t.mul.s(3))), [[4, 6]]
    yield "chord", chord(header, t.tsum.s()), 6
    yield "empty chord", chord([], t.ident.s()), []
    yield "chord of one", chord([t.add.s(1, 1)], t.ident.s()), [2]
    yield "immutable body", chord(header, t.const.si(7)), 7
    yield "empty chord, immutable body", chord([], t.const.si(7)), 7
    yield "body chain", chord(header, t.tsum.s() | t.mul.s(10)), 60
    yield "body group", chord(header, group(t.tsum.s(), t.ident.s())), [6, [2, 4]]
    yield "body chord", chord(header, chord([t.tsum.s(), t.ident.s()], t.ident.s())), [6, [2, 4]]
    yield "body chain to group", chord(header, t.tsum.s() | group(t.mul.s(2), t.neg.s())), [12, -6]
    yield "header group", chord([group(*header), t.add.s(3, 3)], t.ident.s()), [2, 4, 6]
    yield (
        "chain ending in a group in a header",
        chord([t.add.s(1, 1) | group(t.mul.s(2), t.mul.s(3)), t.neg.si(1)], t.ident.s()),
        [[4, 6], -1],
    )
    yield (
        "chord ending in a group in a header",
        chord([chord(header, group(t.tsum.s(), t.ident.s())), t.neg.si(1)], t.ident.s()),
        [[6, [2, 4]], -1],
    )
    yield "task, group, task", t.add.s(1, 1) | group(t.mul.s(2), t.mul.s(3)) | t.tsum.s(), 10
    yield (
        "group, group, task",
        group(*header) | group(t.tsum.s(), t.ident.s()) | t.ident.s(),
        [
            6,
            [2, 4],
        ],
    )
    yield (
        "three groups",
        group(*header) | group(t.tsum.s(), t.tsum.s()) | group(t.tsum.s(), t.ident.s()),
        [12, [6, 6]],
    )
    yield (
        "chord with body group, then task",
        chain(chord(header, group(t.tsum.s(), t.tsum.s())), t.tsum.s()),
        12,
    )
    yield "chord in chain", chain(t.add.s(1, 1), chord([t.add.s(2), t.add.s(3)], t.tsum.s())), 9
    yield (
        "chords in a row",
        chain(t.add.s(1, 1), chord([t.add.s(2), t.add.s(3)], t.tsum.s()))
        | chord([t.mul.s(2), t.mul.s(3)], t.tsum.s() | t.neg.s())
        | t.neg.s(),
        45,
    )
    yield "map", t.neg.map([1, 2, 3]), [-1, -2, -3]
    yield "starmap", t.add.starmap([(1, 2), (3, 4)]), [3, 7]
    yield "chunks", t.add.chunks([(1, 1), (2, 2), (3, 3)], 2), [[2, 4], [6]]
    yield "chunks of a generator", t.add.chunks(((i, i) for i in range(3)), 2), [[0, 2], [4]]
    yield "chunks as a group", t.add.chunks([(1, 1), (2, 2), (3, 3)], 2).group(), [[2, 4], [6]]
    yield "chunks, then task", chain(t.add.chunks([(1, 1), (2, 2)], 1), t.ident.s()), [[2], [4]]
    yield "chunks in a group", group(t.add.chunks([(1, 1)], 1), t.neg.s(1)), [[[2]], -1]
    yield (
        "chunks in a header",
        chord([t.add.chunks([(1, 1)], 1), t.neg.s(1)], t.ident.s()),
        [[[2]], -1],
    )
    yield "map in a header", chord([t.neg.map([1, 2]), t.neg.s(1)], t.ident.s()), [[-1, -2], -1]
    yield "task, map", chain(t.add.s(1, 1), t.neg.map([1, 2]), t.ident.s()), [-1, -2]
    yield "task, group of one", chain(t.add.s(1, 1), group(t.mul.s(5)), t.neg.s()), -10
    yield "empty chain in a header", chord([chain(), t.add.s(1, 1)], t.ident.s()), [2]
    yield "empty group in a header", chord([group([]), t.add.s(1, 1)], t.ident.s()), [2]
    yield "header of nothing but empty groups", chord([group([]), group([])], t.ident.s()), []
    yield "empty group, then task", group([]) | t.ident.s(), []
    yield (
        "empty chords in a header",
        chord([chord([], t.ident.s()), chord([], t.tsum.s())], t.ident.s()),
        [[], 0],
    )
    deep = chord(header, t.tsum.s())
    for depth in range(2, 6):
        deep = chord([deep, t.add.s(depth, 0)], t.tsum.s())
    yield "chords five deep", deep, 6 + 2 + 3 + 4 + 5
    yield (
        "chord of chains of chords",
        chord(
            (chain(t.add.s(i, i), chord([t.mul.s(2), t.mul.s(3)], t.tsum.s())) for i in range(4)),
            t.tsum.s(),
        ),
        sum(10 * i for i in range(4)),
    )
    yield "long chain", chain([t.add.s(0, 0), *[t.add.s(1) for _ in range(60)]]), 60
    yield (
        "in a header, a chord whose body is a chord that goes on",
        chord(
            [chain(group(header), group(t.tsum.s(), t.ident.s()), t.ident.s(), t.ident.s())],
            t.ident.s(),
        ),
        [[6, [2, 4]]],
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_nesting_gives_its_value_in_any_order_of_running(app, t, seed):
    wrong = []
    for name, sig, value in cases(t):
        app.random.seed(seed)

        found = app.value_of(sig)

        if found != value:
            wrong.append((name, found, value))
    assert wrong == []
    assert app.sent == []
    assert set(app.sizes) == app.claimed


def test_every_nesting_can_be_sent_by_somebody_who_reads_it_from_json(app, t):
    from workshop import wired

    from umbel.canvas import signature

    wrong = []
    for name, sig, value in cases(t):
        found = app.value_of(signature(wired(sig)))
        if found != value:
            wrong.append((name, found, value))

    assert wrong == []


def test_every_nesting_can_be_sent_twice(app, t):
    wrong = []
    for name, sig, value in cases(t):
        first, second = sig.apply_async(), sig.apply_async()
        if (first.get(), second.get()) != (value, value) or first.id == second.id:
            wrong.append(name)

    assert wrong == []


def test_every_nesting_runs_eagerly(app, t):
    app.conf.task_always_eager = True
    wrong = []
    for name, sig, value in cases(t):
        if name in ("task", "map", "starmap"):
            continue  # their apply_async is the task's
        found = sig.apply_async().get()
        if found != value:
            wrong.append((name, found, value))

    assert wrong == []
    assert app.sent == []


def test_a_frozen_canvas_is_sent_with_the_ids_of_its_result(app, t):
    wrong = []
    for name, sig, value in cases(t):
        if "chunks" in name and name.startswith("chunks"):
            continue  # chunks are frozen as their group
        frozen = sig.freeze()
        sent = sig.apply_async()
        if frozen.id != sent.id or sent.get() != value or frozen.get() != value:
            wrong.append((name, frozen, sent))

    assert wrong == []
