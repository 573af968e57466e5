"""What follows from the end of a task, case by case."""

import pytest
from workshop import request_of, wired

from umbel.canvas import chain, chord, continuation, group
from umbel.canvas.continuation import NOTHING, FailedStep, Part
from umbel.model.call import Call
from umbel.model.errors import ChordError, Reject, TaskRevokedError
from umbel.model.join import JoinGrowth, JoinOpening
from umbel.model.outcome import (
    Failed,
    Ignored,
    Rejected,
    Replaced,
    Retried,
    Revoked,
    Succeeded,
)
from umbel.model.request import Request

BOOM = ValueError("boom")


@pytest.fixture
def after(app):
    def after(request, outcome, **options):
        return continuation.after(request, outcome, new_id=app.new_id, tasks=app.tasks, **options)

    return after


@pytest.fixture
def after_join(app):
    def after_join(body, parts, root="root", parent="last"):
        claim = Request(task="umbel.join", root_id=root, parent_id=parent)
        return continuation.after_join(
            "gid", wired(body), parts, claim, new_id=app.new_id, tasks=app.tasks
        )

    return after_join


def first_request(app, sig, **options):
    """The request of the first call of a canvas."""
    sig.apply_async(**options)
    calls = [item for item in app.sent if isinstance(item, Call)]
    app.sent.clear()
    return request_of(calls[0])


def test_nothing_follows_from_a_task_with_nothing_attached(after):
    request = Request(id="i", root_id="i")

    assert after(request, Succeeded(1)) is NOTHING
    assert after(request, Failed(BOOM, "")) is NOTHING
    assert after(request, Revoked("revoked")) is NOTHING
    assert after(request, Ignored()) is NOTHING
    assert after(request, Rejected("no", requeue=False)) is NOTHING


def test_a_chain_that_the_task_has_cut_is_not_continued(app, t, after):
    request = first_request(app, chain(t.add.s(1, 1), t.neg.s()))

    request.chain = None

    assert after(request, Succeeded(2)) is NOTHING


def test_callbacks_come_before_the_chain_and_are_children_in_that_order(app, t, after):
    sig = chain(t.add.s(1, 1).set(link=t.neg.s()), t.mul.s(3))
    request = first_request(app, sig)

    steps = after(request, Succeeded(2))

    assert [call.task for call in steps.sends] == ["wire_tasks.neg", "wire_tasks.mul"]
    assert [call.args for call in steps.sends] == [(2,), (2, 3)]
    assert [child[0][0] for child in steps.children] == [call.id for call in steps.sends]
    assert {(c.root_id, c.parent_id) for c in steps.sends} == {(request.id, request.id)}


def test_a_callback_may_be_any_canvas(app, t, after):
    link = [group(t.add.s(1), t.add.s(2)), chord([t.add.s(1)], t.tsum.s()), t.neg.s()]
    request = first_request(app, t.add.s(1, 1), link=link)

    steps = after(request, Succeeded(5))

    calls = [call for call in steps.sends if isinstance(call, Call)]
    assert [(call.task, tuple(call.args)) for call in calls] == [
        ("wire_tasks.add", (5, 1)),
        ("wire_tasks.add", (5, 2)),
        ("wire_tasks.add", (5, 1)),
        ("wire_tasks.neg", (5,)),
    ]
    assert sum(isinstance(item, JoinOpening) for item in steps.sends) == 1


def test_an_error_is_sent_to_old_errbacks_and_handed_to_new_ones(app, t, after):
    request = first_request(
        app, t.fail.s(), link_error=[t.errback_old.s(), t.errback_new.s("extra"), t.const.si(5)]
    )

    steps = after(request, Failed(BOOM, "the trace"))

    assert [(call.task, tuple(call.args)) for call in steps.sends] == [
        ("wire_tasks.errback_old", (request.id,)),
        ("wire_tasks.const", (5,)),
    ]
    assert len({call.group_id for call in steps.sends}) == 1
    (called,) = steps.in_place
    assert (called.name, called.request, called.exc) == ("wire_tasks.errback_new", request, BOOM)
    assert called.args == (request, BOOM, "the trace", "extra")


def test_an_errback_that_is_not_known_here_is_sent(app, t, after):
    request = first_request(app, t.fail.s())
    request.errbacks = [{"task": "elsewhere.errback", "args": [], "kwargs": {}, "options": {}}]

    steps = after(request, Failed(BOOM, ""))

    assert [(call.task, tuple(call.args)) for call in steps.sends] == [
        ("elsewhere.errback", (request.id,))
    ]


def test_a_failure_reaches_every_result_that_somebody_may_wait_for(app, t, after):
    sig = chain(
        t.fail.s(),
        t.add.s(1),
        chord([t.add.s(1), t.add.s(2)], t.tsum.s()),
        group(t.neg.s(), t.neg.s()),
    )
    result = sig.apply_async()
    request = request_of(app.sent.pop())

    steps = after(request, Failed(BOOM, ""))

    failed = {step.task_id for step in steps.failures}
    assert failed == {
        result.results[0].id,
        result.results[1].id,
        result.parent.id,
        result.parent.parent.parent.id,
    }
    assert steps.error is BOOM
    assert steps.sends == ()


def test_a_failure_counts_for_the_join_of_a_later_step(app, t, after):
    sig = chord([chain(t.fail.s(), t.add.s(1), t.neg.s()), t.add.s(1, 1)], t.tsum.s())
    request = first_request(app, sig)
    *_, last = request.chain[:1]

    steps = after(request, Failed(BOOM, ""))

    (part,) = steps.parts
    assert part == Part(
        last["options"]["group_id"],
        last["options"]["task_id"],
        0,
        "FAILURE",
        BOOM,
        last["options"]["chord"],
    )
    assert [step.task_id for step in steps.failures][-1] == part.task_id


def test_a_revoked_member_fails_its_join_and_what_was_to_follow_without_errbacks(app, t, after):
    sig = chord([t.add.s(1, 1)], t.tsum.s())
    request = first_request(app, sig)
    request.errbacks = [wired(t.errback_old.s())]
    request.chain = [wired(t.neg.s().set(task_id="later"))]

    steps = after(request, Revoked("expired"))

    (part,) = steps.parts
    assert part.state == "REVOKED"
    assert isinstance(part.value, TaskRevokedError)
    assert steps.failures == (FailedStep("later", None, None),)
    assert steps.sends == ()


def test_a_rejected_member_does_not_leave_its_join_waiting(app, t, after):
    request = first_request(app, chord([t.add.s(1, 1)], t.tsum.s()))

    steps = after(request, Rejected("no thanks", requeue=False))
    put_back = after(request, Rejected("later", requeue=True))

    assert isinstance(steps.parts[0].value, Reject)
    assert steps.parts[0].state == "FAILURE"
    assert put_back is NOTHING


def test_a_retry_is_the_same_call_again_and_counts_for_nothing(app, t, after):
    request = first_request(app, chord([t.flaky.s(1)], t.tsum.s()))
    request.added_sends, request.added_growth = [object()], [JoinGrowth("g", 1)]
    again = Call("wire_tasks.flaky", (1,), {}, request.id)

    steps = after(request, Retried(again, None, "", ""))

    assert steps == NOTHING._replace(sends=(again,))


def test_what_was_added_to_a_chord_is_sent_and_counted_with_the_members_end(app, t, after):
    request = first_request(app, chord([t.grow_chord.s()], t.tsum.s()))
    added = Call("wire_tasks.add", (1, 1), {}, "added")
    request.added_sends, request.added_growth = [added], [JoinGrowth(request.group, 1)]

    for outcome in (Succeeded(1), Failed(BOOM, "")):
        steps = after(request, outcome)

        assert steps.sends == (added,)
        assert steps.grows == (JoinGrowth(request.group, 1),)
        assert len(steps.parts) == 1


def test_a_replaced_task_leaves_its_consequences_to_its_replacement(app, t, after):
    request = first_request(app, chord([t.add.s(1, 1)], t.tsum.s()), link=t.neg.s())
    other = Call("wire_tasks.add", (1, 1), {}, request.id)

    steps = after(request, Replaced([other]))

    assert steps == NOTHING._replace(sends=(other,))


def test_priority_and_stamps_are_handed_on(app, t, after):
    sig = chain(t.add.s(1, 1).stamp(trace="x"), t.neg.s(), t.neg.s())
    request = first_request(app, sig)

    steps = after(request, Succeeded(2), priority=7)

    (call,) = steps.sends
    assert call.options == {"priority": 7, "trace": "x", "stamped_headers": ["trace"]}


def test_a_join_gives_its_body_the_values_in_order(t, after_join):
    steps = after_join(t.tsum.s().set(task_id="body", group_id="gid"), [
        ("a", "SUCCESS", 1),
        ("b", "SUCCESS", 2),
    ])  # fmt: skip

    (call,) = steps.sends
    assert (call.id, tuple(call.args), call.group_id) == ("body", ([1, 2],), "gid")
    assert (call.root_id, call.parent_id) == ("root", "last")
    assert call.chord is None


def test_an_immutable_body_gets_no_values(t, after_join):
    steps = after_join(t.const.si(7), [("a", "SUCCESS", 1)])

    assert [call.args for call in steps.sends] == [[7]]


def test_a_member_that_failed_fails_the_body_and_names_itself(t, after_join):
    body = t.tsum.s().set(task_id="body", group_id="gid", link_error=[t.errback_old.s()])

    steps = after_join(body, [("a", "SUCCESS", 1), ("b", "FAILURE", BOOM), ("c", "REVOKED", BOOM)])

    assert isinstance(steps.error, ChordError)
    assert str(steps.error) == "Dependency b raised ValueError('boom')"
    (failure,) = steps.failures
    assert (failure.task_id, failure.group_id) == ("body", None)
    (errback,) = steps.sends
    assert (errback.task, tuple(errback.args)) == ("wire_tasks.errback_old", ("body",))
    assert (errback.root_id, errback.parent_id) == ("body", "body")
    assert [child[0][0] for child in failure.children] == [errback.group_id]


def test_a_failed_join_reaches_the_join_around_it(app, t, after_join):
    inner = chord([t.fail.s()], t.tsum.s())
    request = first_request(app, chord([inner, t.add.s(1, 1)], t.ident.s()))

    steps = after_join(request.chord, [(request.id, "FAILURE", BOOM)])

    (part,) = steps.parts
    assert part.task_id == request.chord["options"]["task_id"]
    assert part.group_id == request.chord["options"]["group_id"]
    assert isinstance(part.value, ChordError)


def test_a_failed_join_fails_all_members_of_a_group_as_its_body(app, t, after_join):
    body = group(t.tsum.s(), t.ident.s().on_error(t.errback_old.s()))
    request = first_request(app, chord([t.fail.s()], body))

    steps = after_join(request.chord, [(request.id, "FAILURE", BOOM)])

    ids = [task["options"]["task_id"] for task in request.chord["kwargs"]["tasks"]]
    assert [step.task_id for step in steps.failures] == ids
    assert [tuple(call.args) for call in steps.sends] == [(ids[1],)]


def test_a_failed_join_fails_what_was_to_follow_in_the_chain(app, t, after_join):
    sig = chain(chord([t.fail.s()], t.tsum.s()), t.neg.s(), group(t.neg.s(), t.neg.s()))
    result = sig.apply_async()
    request = request_of([item for item in app.sent if isinstance(item, Call)][0])

    steps = after_join(request.chord, [(request.id, "FAILURE", BOOM)])

    assert {step.task_id for step in steps.failures} == {
        result.parent.parent.id,
        result.parent.id,
        *(member.id for member in result),
    }


def test_a_new_errback_of_a_body_is_called_with_a_request_of_it(t, after_join):
    body = t.tsum.s().set(task_id="body", link_error=[t.errback_new.s()])

    steps = after_join(body, [("a", "FAILURE", BOOM)])

    (called,) = steps.in_place
    assert called.request.id == "body"
    assert called.request.task == "wire_tasks.tsum"
    assert called.args == (called.request, called.exc, None)


def test_everything_that_follows_is_plain_data_for_the_next_message(app, t, after):
    """A group made of a generator, linked to a task, is a list in the message."""
    request = first_request(
        app,
        t.add.s(1, 1),
        link=group(t.neg.s() for _ in range(2)),
    )

    steps = after(request, Succeeded(1))

    assert [call.task for call in steps.sends] == ["wire_tasks.neg", "wire_tasks.neg"]


def test_a_group_that_celery_froze_into_a_chord_is_waited_for_by_what_follows(app, t, after_join):
    """Celery sends chord(h, group) | group like this; its members are marked as of the header."""
    following = wired(group(t.ident.s(), t.tsum.s()))
    for at, task in enumerate(following["kwargs"]["tasks"]):
        task["options"] = {"task_id": f"end-{at}", "group_index": at}
    following["options"] = {"task_id": "ends"}
    body = wired(group(t.tsum.s(), t.ident.s()))
    for at, task in enumerate(body["kwargs"]["tasks"]):
        task["options"] = {"task_id": f"mid-{at}", "group_id": "gid", "group_index": at}
    body["options"] = {"task_id": "mids", "group_id": "gid", "chain": [following]}

    steps = after_join(body, [("a", "SUCCESS", 1)])

    first, opening, second = steps.sends
    assert (first.id, second.id, opening.size) == ("mid-0", "mid-1", 2)
    assert first.group_id == second.group_id == opening.group_id == "mids"
    assert first.chord["options"]["task_id"] == "ends"
