"""Every primitive inside every other, on real workers, on each engine and in each pool."""

import pytest

from umbel import chain, chord, group

TIMEOUT_S = 30


def leaves(t):
    """(name, canvas that needs no input, value), for each primitive."""
    return [
        ("task", t.add.si(1, 2), 3),
        ("chain", chain(t.add.si(1, 2), t.mul.s(3)), 9),
        ("group", group(t.add.si(1, 1), t.add.si(2, 2)), [2, 4]),
        ("chord", chord([t.add.si(1, 1), t.add.si(2, 2)], t.tsum.s()), 6),
        ("map", t.neg.map([1, 2, 3]), [-1, -2, -3]),
        ("starmap", t.add.starmap([(1, 2), (3, 4)]), [3, 7]),
        ("chunks", t.add.chunks([(1, 1), (2, 2), (3, 3)], 2), [[2, 4], [6]]),
    ]


def continuations(t):
    """(name, canvas that takes a list of numbers, its value as a function)."""
    return [
        ("task", t.tsum.s(), sum),
        ("chain", chain(t.tsum.s(), t.mul.s(2)), lambda v: sum(v) * 2),
        ("group", group(t.tsum.s(), t.ident.s()), lambda v: [sum(v), v]),
        ("chord", chord([t.tsum.s(), t.tsum.s()], t.tsum.s()), lambda v: 2 * sum(v)),
    ]


def nestings(t):
    """(name, canvas, value) for every pair, and some deep ones."""
    for name, leaf, value in leaves(t):
        yield f"{name} alone", leaf, value
        yield f"{name} in chain", chain(leaf, t.ident.s()), value
        yield f"{name} second in chain", chain(t.const.si(0), leaf, t.ident.s()), value
        yield f"{name} last in chain", chain(t.const.si(0), leaf), value
        spread = value if name == "group" else [value]
        yield f"{name} in group", group(leaf, t.add.si(5, 5)), [*spread, 10]
        yield f"{name} in header", chord([leaf, t.add.si(5, 5)], t.ident.s()), [*spread, 10]
        yield f"{name} alone in header", chord([leaf], t.ident.s()), spread
        yield (
            f"{name} ends a chain in a header",
            chord([chain(t.const.si(0), leaf), t.add.si(5, 5)], t.ident.s()),
            [value, 10],
        )
    for name, body, expected in continuations(t):
        header = [t.add.si(1, 1), t.add.si(2, 2)]
        yield f"{name} as body", chord(header, body), expected([2, 4])
        yield f"group, then {name}", group(*header) | body, expected([2, 4])
        yield f"chord, then {name}", chord(header, t.ident.s()) | body, expected([2, 4])
    inner = chord([t.add.si(1, 1), t.add.si(2, 2)], t.tsum.s())
    for depth in range(2, 5):
        inner = chord([inner, t.add.si(depth, 0)], t.tsum.s())
    yield "chords four deep", inner, 6 + 2 + 3 + 4
    yield (
        "chord of chains of chords",
        chord(
            [chain(t.add.si(i, i), chord([t.mul.s(2), t.mul.s(3)], t.tsum.s())) for i in range(4)],
            t.tsum.s(),
        ),
        sum(2 * i * 5 for i in range(4)),
    )
    yield "group of one", group(t.add.si(1, 1)), [2]
    yield "empty header", chord([], t.ident.s()), []
    yield "retry in a header", chord([t.flaky.si(2), t.add.si(1, 1)], t.tsum.s()), 4
    yield "replaced in a chain", chain(t.replaced_by_task.s(1), t.mul.s(2)), 202
    yield "replaced by a chain", chain(t.replaced_by_chain.s(1), t.mul.s(2)), 40
    yield "replaced by a group in a chain", chain(t.replaced_by_group.s(1), t.tsum.s()), 5
    yield "replaced in a header", chord([t.replaced_by_chord.s(1), t.neg.si(1)], t.tsum.s()), 4
    yield "a grown chord", chord([t.grows.si(), t.add.si(1, 1)], t.tsum.s()), 23
    yield "a generator header", chord((t.add.si(i, i) for i in range(7)), t.tsum.s()), 42


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_every_nesting_gives_the_value_of_its_plain_evaluation(pool, urls, program, start_worker):
    start_worker("canvas_tasks", "-P", pool, "-c", "2", env=urls)

    started = [(name, sig.apply_async(), value) for name, sig, value in nestings(program)]
    found = [(name, result.get(timeout=TIMEOUT_S), value) for name, result, value in started]

    assert [row for row in found if row[1] != row[2]] == []
