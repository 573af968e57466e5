"""What ``a | b`` and the constructors give, against what Celery 5.7 gives for the same code."""

import json
from pathlib import Path

import pytest
from workshop import Workshop, canvas_names, plain, use, wire_tasks

from umbel.canvas import chain, chord, group, signature

HERE = Path(__file__).parent
PIPES = json.loads((HERE / "data" / "pipes.json").read_text())["cases"]
SIGNATURES = json.loads((HERE.parent / "vectors" / "signatures.json").read_text())["signatures"]
# A generator that is looked at is shown by the name of the class that remembers it.
ADDRESS = "<chain@"


@pytest.fixture(scope="module")
def names():
    return canvas_names(wire_tasks(use(Workshop())))


def shown(text):
    """A repr, whether members are kept in a list or a tuple."""
    return text.replace("(", "[").replace(")", "]")


@pytest.mark.parametrize("case", PIPES, ids=[case["code"] for case in PIPES])
def test_a_combination_has_celerys_shape(case, names):
    made = eval(case["code"], names)

    assert plain(made) == case["json"]
    if not case["repr"].startswith(ADDRESS):
        assert shown(repr(made)) == shown(case["repr"])


PLAIN = [case for case in SIGNATURES if not case["code"].startswith("FROZEN")]


@pytest.mark.parametrize("case", PLAIN, ids=[case["code"] for case in PLAIN])
def test_a_signature_is_the_json_that_celery_writes(case, names):
    made = eval(case["code"], names)

    assert plain(made) == case["decoded"]
    assert repr(made) == case["repr"]


@pytest.mark.parametrize("case", SIGNATURES, ids=[case["code"] for case in SIGNATURES])
def test_a_signature_survives_json(case):
    made = signature(case["decoded"])

    assert plain(made) == case["decoded"]
    assert type(made).__name__ in ("Signature", "chain", "group", "chord") + (
        "xmap", "xstarmap", "chunks",
    )  # fmt: skip


def test_a_frozen_canvas_has_its_ids_where_celery_puts_them(names):
    frozen = {}
    for code in ("chain(add.s(1, 2), mul.s(3))", "group(add.s(1, 1), add.s(2, 2))"):
        frozen[code] = eval(code, names)
        frozen[code].freeze()
    steps = frozen["chain(add.s(1, 2), mul.s(3))"]
    members = frozen["group(add.s(1, 1), add.s(2, 2))"]
    joined = chord([names["add"].s(1, 1)], names["tsum"].s())
    joined.freeze()

    assert steps.id == steps.tasks[-1].id is not None
    assert [task.options["group_index"] for task in members.tasks] == [0, 1]
    assert all(task.id for task in members.tasks)
    assert joined.tasks.id == joined.id
    assert joined.body.id not in (None, joined.id)
    assert repr(joined) == "%wire_tasks.tsum(group([add(1, 1)]))"


def test_the_parts_of_a_combination_are_shared_and_not_changed(names):
    add, tsum = names["add"], names["tsum"]
    first, second, header = add.s(1, 1), add.s(2), group(add.s(1, 1), add.s(2, 2))
    before = plain([first, second, header])

    (first | second).apply_async()
    (header | tsum.s() | add.s(1)).apply_async(queue="q", link=add.s(3))
    chain(first, header, tsum.s()).apply_async(task_id="the-id")

    assert plain([first, second, header]) == before


def test_a_dictionary_can_be_piped(names):
    data = plain(names["mul"].s(3))

    assert repr(names["add"].s(1, 2) | data) == "wire_tasks.add(1, 2) | mul(3)"
    assert repr(data | names["add"].s(1)) == "wire_tasks.mul(3) | add(1)"


def test_what_is_no_signature_cannot_be_piped(names):
    with pytest.raises(TypeError, match="unsupported operand"):
        names["add"].s(1) | 5
    with pytest.raises(TypeError, match="made of signatures"):
        chain(names["add"].s(1), None)
    with pytest.raises(TypeError, match="made of signatures"):
        group(5)
