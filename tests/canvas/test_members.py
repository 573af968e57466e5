"""The members of a group of a generator: read once, kept small, and the same when looked at."""

import gc

import pytest

from umbel.canvas import Signature, chord, group


def signatures_alive():
    gc.collect()
    return sum(type(found) is Signature for found in gc.get_objects())


@pytest.mark.parametrize("shape", ["group", "chord"])
def test_a_group_that_was_sent_keeps_no_signature_of_its_members(app, t, shape):
    members = (t.add.s(i, i) for i in range(1_000))
    canvas = group(members) if shape == "group" else chord(members, t.tsum.s())
    before = signatures_alive()

    canvas.apply_async()

    assert signatures_alive() - before <= 2


def test_it_is_sent_again_as_it_was(app, t):
    canvas = group(t.add.s(i, i) for i in range(5))

    canvas.apply_async()
    canvas.apply_async()

    sent = [(call.task, tuple(call.args)) for call in app.sent]
    assert sent[:5] == sent[5:] == [(t.add.name, (i, i)) for i in range(5)]


def test_members_of_all_kinds_are_given_again_as_they_were(app, t):
    made = [
        t.add.s(1, 1),
        t.add.s(2, 2),
        t.add.si(3, 3),
        t.add.s(4, y=4),
        t.add.s(5, 5).set(queue="slow"),
        t.tsum.s([1]),
        t.add.s(6, 6) | t.add.s(1),
        group(t.add.s(7, 7)),
    ]
    canvas = group(sig for sig in made)

    canvas.apply_async()

    assert list(canvas.tasks) == made
    assert [type(sig) for sig in canvas.tasks] == [type(sig) for sig in made]
    assert [sig.app for sig in canvas.tasks] == [sig.app for sig in made]
    assert [sig._type for sig in canvas.tasks] == [sig._type for sig in made]


def test_what_is_done_to_a_member_that_was_looked_at_stays(app, t):
    canvas = group(t.add.s(i, i) for i in range(3))
    canvas.apply_async()

    canvas.tasks[1].set(queue="slow")

    assert [sig.options for sig in canvas.tasks] == [{}, {"queue": "slow"}, {}]
    assert canvas.tasks[0] is canvas.tasks[0]


def test_two_readers_at_once_each_get_all(t):
    tasks = group(t.add.s(i, i) for i in range(4)).tasks
    one, other = iter(tasks), iter(tasks)

    got = [next(one), next(other), next(other), next(one), *other, *one]

    assert sorted(sig.args for sig in got) == sorted([(i, i) for i in range(4)] * 2)
