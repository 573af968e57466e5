"""One result: what it knows, how it waits, what it raises."""

import copy
import pickle
from datetime import UTC, datetime

import pytest

from umbel.model.errors import IncompleteStream, TaskRevokedError, TimeoutError
from umbel.model.request import Request, running
from umbel.ports.current import set_current_app
from umbel.results import (
    AsyncResult,
    EagerResult,
    GroupResult,
    allow_join_result,
    denied_join_result,
    result_from_tuple,
)

BOOM = ValueError("boom")


@pytest.fixture
def result(app):
    return AsyncResult("i", app=app)


def chained(app, *task_ids):
    """The result of a chain, whose steps have these ids."""
    result = None
    for task_id in task_ids:
        result = AsyncResult(task_id, app=app, parent=result)
    return result


def test_a_task_that_nobody_has_heard_of_is_pending(result):
    assert result.state == result.status == "PENDING"
    assert (result.ready(), result.successful(), result.failed()) == (False, False, False)
    assert result.result is result.info is result.traceback is result.children is None


def test_a_task_that_has_ended_is_read_once(shelf, result):
    shelf.put("i", 5)

    assert (result.state, result.result, result.get()) == ("SUCCESS", 5, 5)
    assert result.ready()
    assert result.successful()
    assert not result.failed()
    assert shelf.reads == [["i"]]
    assert shelf.waits == []


def test_a_task_that_has_not_ended_is_asked_for_again(shelf, result):
    shelf.put("i", {"done": 3}, "PROGRESS")

    assert (result.state, result.info) == ("PROGRESS", {"done": 3})
    shelf.put("i", 5)
    assert result.info == 5


def test_get_waits_and_gives_the_value(shelf, result):
    seen = []
    shelf.later("i", None, "STARTED")
    shelf.later("i", 5)

    value = result.get(timeout=3, on_message=seen.append, callback=lambda *a: seen.append(a))

    assert value == 5
    assert shelf.waits == [(["i"], 3)]
    assert [m["status"] for m in seen[:2]] == ["STARTED", "SUCCESS"]
    assert seen[2] == ("i", 5)


def test_get_raises_what_the_task_has_raised(shelf, result):
    shelf.later("i", BOOM, "FAILURE", traceback="the trace")

    with pytest.raises(ValueError, match="boom"):
        result.get()

    assert result.failed()
    assert result.traceback == "the trace"
    assert result.get(propagate=False) is BOOM
    assert result.maybe_throw(propagate=False) == "FAILURE"
    with pytest.raises(ValueError, match="boom"):
        result.maybe_reraise()
    with pytest.raises(ValueError, match="boom"):
        result.throw()


def test_get_raises_for_a_revoked_task(shelf, result):
    shelf.later("i", TaskRevokedError("revoked"), "REVOKED")

    with pytest.raises(TaskRevokedError):
        result.get()


def test_a_wait_that_is_too_long_raises(result):
    with pytest.raises(TimeoutError):
        result.get(timeout=0.1)
    with pytest.raises(AsyncResult.TimeoutError):
        result.get(timeout=0.1)


def test_an_early_step_that_failed_raises_in_the_get_of_the_last(shelf, app):
    result = chained(app, "a", "b", "c")
    shelf.later("a", BOOM, "FAILURE")

    with pytest.raises(ValueError, match="boom"):
        result.get(timeout=1)

    assert shelf.waits[0][0] == ["c"]


def test_who_wants_to_hear_of_each_state_waits_for_each_step(shelf, app):
    heard = []
    for name in "abc":
        shelf.later(name, name)

    chained(app, "a", "b", "c").get(on_message=heard.append)

    assert [message["task_id"] for message in heard] == ["a", "b", "c"]


def test_early_steps_are_not_followed_where_that_is_not_wanted(shelf, app):
    shelf.later("a", BOOM, "FAILURE")
    shelf.later("c", 5)

    assert chained(app, "a", "b", "c").get(follow_parents=False) == 5
    assert chained(app, "a", "b", "c").get(propagate=False) == 5


def test_steps_that_succeed_first_change_nothing(shelf, app):
    for task_id in "abc":
        shelf.later(task_id, task_id)

    assert chained(app, "a", "b", "c").get() == "c"


def test_members_of_a_header_are_not_followed(shelf, app):
    header = GroupResult("g", [AsyncResult("m", app=app)], app=app, parent=chained(app, "a"))
    result = AsyncResult("body", app=app, parent=header)
    shelf.later("m", BOOM, "FAILURE")
    shelf.later("body", 5)

    assert result.get() == 5
    assert (shelf.reads[0], shelf.waits[0][0]) == (["a"], ["body"])


def test_a_task_that_keeps_no_result_is_not_waited_for(shelf, result):
    result.ignored = True

    assert result.get() is None
    assert shelf.waits == []


def test_get_is_refused_within_a_task(shelf, result):
    shelf.put("i", 5)
    token = running.set((Request(id="outer", called_directly=False),))
    try:
        with pytest.raises(RuntimeError, match="Never call result.get"):
            result.get()
        with pytest.raises(RuntimeError, match="Never call result.get"):
            GroupResult("g", [result]).get()
        with allow_join_result():
            assert result.get() == 5
        assert result.get(disable_sync_subtasks=False) == 5
    finally:
        running.reset(token)
    with denied_join_result(), pytest.raises(RuntimeError):
        result.get()


def test_get_is_allowed_in_a_function_that_was_called_or_applied(shelf, result):
    shelf.put("i", 5)
    for request in (Request(), Request(called_directly=False, is_eager=True)):
        token = running.set((request,))
        try:
            assert result.get() == 5
        finally:
            running.reset(token)


def test_children_are_results(shelf, app, result):
    group = [["g", None], [[["x", None], None], [["y", None], None]]]
    shelf.put("i", 1, children=[[["a", None], None], group])
    for task_id, value in (("a", 2), ("x", 3), ("y", 4)):
        shelf.put(task_id, value)

    one, many = result.children

    assert (one, many.id, many.results) == ("a", "g", ["x", "y"])
    found = [(r.id, v) for r, v in result.collect()]
    assert found == [("i", 1), ("a", 2), ("g", [3, 4]), ("x", 3), ("y", 4)]
    assert result.get_leaf() == 4


def test_a_tree_that_is_not_complete_says_so(shelf, result):
    shelf.put("i", 1, children=[[["a", None], None]])

    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    assert [node for _, node in result.iterdeps(intermediate=True)] == ["i", "a"]


def test_extended_records_are_attributes(shelf, result):
    extended = {
        "name": "t",
        "args": [1],
        "kwargs": {"k": 1},
        "worker": "w@h",
        "retries": 2,
        "queue": "q",
    }
    shelf.put("i", 1, date_done="2026-01-02T03:04:05+00:00", extended=extended)

    assert {name: getattr(result, name) for name in extended} == extended
    assert result.date_done == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_then_is_called_when_the_result_is_known(shelf, app, result):
    told = []
    result.then(told.append)
    shelf.put("i", 1)
    assert told == []

    result.ready()
    assert told == [result]

    failed = AsyncResult("f", app=app).then(told.append, on_error=told.append)
    shelf.put("f", BOOM, "FAILURE")
    failed.ready()
    assert told == [result, BOOM]
    failed.then(told.append, told.append)
    assert told == [result, BOOM, BOOM]


def test_forget_deletes_the_steps_before_it_too(shelf, app):
    result = chained(app, "a", "b", "c")

    result.forget()

    assert shelf.forgotten == [["c", "b", "a"]]


def test_revoke_is_passed_on(shelf, result):
    result.revoke(terminate=True, signal="SIGKILL")
    result.revoke_by_stamped_headers({"customer": "a"}, wait=True, timeout=2)

    assert shelf.revoked == [
        (["i"], True, "SIGKILL", False, None),
        ({"customer": "a"}, False, None, True, 2),
    ]


def test_a_result_is_its_id(app, result):
    assert result == AsyncResult("i") == "i"
    assert result != AsyncResult("j")
    assert result != 5
    assert {result: 1}[AsyncResult("i")] == 1
    assert (str(result), repr(result), result.task_id) == ("i", "<AsyncResult: i>", "i")
    assert copy.copy(result) == pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(ValueError, match="valid id"):
        AsyncResult(None)


def test_a_result_finds_the_current_app(shelf, app):
    set_current_app(app)
    try:
        shelf.put("i", 5)
        assert AsyncResult("i").get() == 5
        assert AsyncResult("i").backend is shelf
    finally:
        set_current_app(None)


def test_result_tuples_go_there_and_back(app):
    group = GroupResult(
        "g",
        [AsyncResult("x"), GroupResult("h", [AsyncResult("y")])],
        parent=chained(app, "a", "b"),
    )
    result = AsyncResult("c", app=app, parent=group)

    again = result_from_tuple(result.as_tuple(), app)

    assert again.as_tuple() == result.as_tuple()
    assert (again.parent, again.parent.parent.parent) == (group, "a")
    assert result.as_list() == ["c", "g", "b", "a", "x", "h", "y"]
    assert result_from_tuple(result) is result
    assert result_from_tuple("i", app) == "i"


def test_a_chain_longer_than_the_stack_is_deep_goes_there_and_back(app):
    result = chained(app, *map(str, range(5000)))

    assert result_from_tuple(result.as_tuple(), app).as_list() == result.as_list()


def test_an_eager_result_is_there_already():
    result = EagerResult("i", 5, "SUCCESS", name="t")
    failed = EagerResult("f", BOOM, "FAILURE", traceback="the trace")

    assert (result.get(), result.state, result.ready(), result.name) == (5, "SUCCESS", True, "t")
    assert repr(result) == "<EagerResult: i>"
    assert (failed.failed(), failed.traceback, failed.get(propagate=False)) == (
        True,
        "the trace",
        BOOM,
    )
    with pytest.raises(ValueError, match="boom"):
        failed.get(timeout=1)
    assert pickle.loads(pickle.dumps(result)).get() == 5
    result.forget()
    result.revoke()
    assert result.state == "REVOKED"
