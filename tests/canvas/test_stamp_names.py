"""Stamps stand among a signature's options: which names they may have, and whose come first."""

import pytest

from umbel.canvas import chain


@pytest.mark.parametrize("name", ["chain", "task_id", "link"])
def test_a_stamp_can_not_have_the_name_of_what_holds_a_workflow_together(t, name):
    with pytest.raises(ValueError, match=f"can't be called '{name}'"):
        t.add.s(1, 2).stamp(**{name: "red"})


def test_a_step_has_its_own_stamps_and_those_of_its_chain(app, t):
    step = t.add.s(1).stamp(colour="red", size=1)
    whole = chain(t.add.s(1, 1), step)
    whole.set(colour="blue", place=2, stamped_headers=["colour", "place"])

    whole.apply_async()

    first, last = app.sent[-1], app.sent[-1].chain[0]
    assert (first.options["colour"], first.options["stamped_headers"]) == (
        "blue",
        ["colour", "place"],
    )
    assert last["options"]["colour"] == "red"
    assert last["options"]["stamped_headers"] == ["colour", "size", "place"]
