"""Many results: one question, one wait, values in order."""

import io
import pickle
import sys

import pytest

from umbel.model.errors import TimeoutError
from umbel.ports.current import set_current_app
from umbel.results import AsyncResult, EagerResult, GroupResult, ResultSet
from umbel.results.progress import Bar, NoBar, progress_of

BOOM = ValueError("boom")


@pytest.fixture
def group(app):
    return GroupResult("g", [AsyncResult(i, app=app) for i in "abc"], app=app)


def test_values_come_in_the_order_of_the_members(shelf, group):
    for task_id, value in (("c", 3), ("a", 1), ("b", 2)):
        shelf.later(task_id, value)

    assert group.get(timeout=5) == [1, 2, 3]
    assert shelf.waits == [(["a", "b", "c"], 5)]
    assert group.get() == group.join() == group.join_native() == [1, 2, 3]
    assert len(shelf.waits) == 1


def test_thousands_of_members_are_one_wait_and_one_read(shelf, app):
    group = GroupResult("g", [AsyncResult(str(i), app=app) for i in range(5000)], app=app)
    for i in reversed(range(5000)):
        shelf.later(str(i), i)

    assert not group.ready()
    assert group.get() == list(range(5000))
    assert group.successful()
    assert (len(shelf.waits), len(shelf.reads)) == (1, 1)


def test_groups_in_groups_keep_their_shape_and_are_one_wait(shelf, app):
    inner = GroupResult("h", [AsyncResult("x", app=app), AsyncResult("y", app=app)], app=app)
    group = GroupResult("g", [AsyncResult("a", app=app), inner], app=app)
    for task_id, value in (("y", 3), ("a", 1), ("x", 2)):
        shelf.later(task_id, value)

    assert group.get() == [1, [2, 3]]
    assert len(shelf.waits) == 1


def test_a_member_that_failed_raises_as_soon_as_that_is_known(shelf, group):
    shelf.later("b", BOOM, "FAILURE")

    with pytest.raises(ValueError, match="boom"):
        group.get(timeout=1)
    with pytest.raises(TimeoutError):
        group.get(timeout=1, propagate=False)


def test_without_propagation_an_exception_stands_in_its_place(shelf, group):
    shelf.later("b", BOOM, "FAILURE")
    shelf.later("a", 1)
    shelf.later("c", 3)

    assert group.get(propagate=False) == [1, BOOM, 3]
    with pytest.raises(ValueError, match="boom"):
        group.get()
    with pytest.raises(ValueError, match="boom"):
        group.maybe_throw()


def test_an_early_step_that_failed_raises_in_the_get_of_a_group(shelf, app):
    group = GroupResult(
        "g", [AsyncResult("a", app=app)], app=app, parent=AsyncResult("first", app=app)
    )
    shelf.later("first", BOOM, "FAILURE")

    with pytest.raises(ValueError, match="boom"):
        group.get(timeout=1)


def test_callbacks_are_called_on_arrival_by_get_and_in_order_by_join(shelf, app, group):
    for task_id, value in (("c", 3), ("a", 1), ("b", 2)):
        shelf.later(task_id, value)
    arrived, joined = [], []

    assert group.get(callback=lambda *pair: arrived.append(pair)) == []
    assert group.join(callback=lambda *pair: joined.append(pair)) == []

    assert arrived == [("c", 3), ("a", 1), ("b", 2)]
    assert joined == [("a", 1), ("b", 2), ("c", 3)]


def test_iterating_gives_what_arrives(shelf, app, group):
    for task_id, value in (("c", 3), ("a", 1), ("b", 2)):
        shelf.later(task_id, value)

    assert [(i, meta["result"]) for i, meta in group.iter_native()] == [
        ("c", 3),
        ("a", 1),
        ("b", 2),
    ]
    assert list(group.iterate()) == [1, 2, 3]


def test_one_id_may_be_there_twice(shelf, app):
    results = ResultSet([AsyncResult("a", app=app), AsyncResult("a", app=app)], app=app)
    shelf.later("a", 1)

    assert results.get() == [1, 1]


def test_what_is_known_of_all_is_asked_in_one_read(shelf, group):
    shelf.put("a", 1)
    shelf.put("b", BOOM, "FAILURE")

    assert (group.ready(), group.waiting(), group.successful(), group.failed()) == (
        False,
        True,
        False,
        True,
    )
    assert group.completed_count() == 1
    assert shelf.reads == [["a", "b", "c"], *[["c"]] * 4]


def test_members_can_be_added_and_taken_out(app):
    results = ResultSet([], app=app)
    a, b = AsyncResult("a", app=app), AsyncResult("b", app=app)

    results.add(a)
    results.add(a)
    results.update([a, b])
    assert (results.results, len(results), results[1]) == ([a, b], 2, b)
    results.remove("a")
    with pytest.raises(KeyError):
        results.remove("a")
    results.discard("a")
    assert list(results) == [b]
    results.clear()
    assert list(results) == []


def test_eager_results_are_members_like_others(shelf, app):
    group = GroupResult("g", [EagerResult("e", 1, "SUCCESS"), AsyncResult("a", app=app)], app=app)
    shelf.later("a", 2)

    assert group.get() == [1, 2]
    assert GroupResult("g", [EagerResult("e", 1, "SUCCESS")]).ready()


def test_an_empty_group_needs_no_wait(shelf, app):
    group = GroupResult("g", [], app=app)

    assert group.get() == []
    assert group.ready()
    assert group.successful()
    assert shelf.waits == []


def test_a_group_is_saved_and_restored(shelf, app, group):
    group.save()

    again = GroupResult.restore("g", app=app)

    assert again == group
    assert type(again) is GroupResult
    group.delete()
    set_current_app(app)
    try:
        assert GroupResult.restore("g") is None
    finally:
        set_current_app(None)


def test_then_is_called_when_all_are_known(shelf, group):
    told = []
    group.then(told.append)
    for task_id in "abc":
        shelf.put(task_id, 1)

    group.ready()

    assert told == [group]


def test_forget_and_revoke_are_one_request(shelf, group):
    group.revoke()
    group.forget()

    assert shelf.revoked == [(["a", "b", "c"], False, None, False, None)]
    assert shelf.forgotten == [["a", "b", "c"]]


def test_a_group_result_is_its_id(group):
    assert repr(group) == "<GroupResult: g [a, b, c]>"
    assert repr(ResultSet(group.results)) == "<ResultSet: [a, b, c]>"
    assert str(group) == "g"
    assert hash(group) == hash("g")
    assert group == "g"
    assert group != GroupResult("g", [])
    assert pickle.loads(pickle.dumps(group)) == group
    assert bool(group)
    assert group.children == group.results


def test_progress_shows_nothing_without_a_terminal(shelf, group, capsys):
    for task_id in "abc":
        shelf.later(task_id, 1)

    assert group.get(progress=True) == [1, 1, 1]

    assert capsys.readouterr() == ("", "")
    assert type(progress_of(3, wanted=True)) is NoBar


def test_progress_on_a_terminal_counts_done_and_failed(shelf, group, monkeypatch):
    console = pytest.importorskip("rich.console")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert type(progress_of(3, wanted=True)) is Bar
    assert type(progress_of(3, wanted=False)) is NoBar
    bar = Bar(3, console.Console(file=terminal, force_terminal=True, width=100))
    with bar:
        bar.ended(failed=False)
        bar.ended(failed=True)

    shown = terminal.getvalue()
    assert "2/3" in shown
    assert "1 failed" in shown
