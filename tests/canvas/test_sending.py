"""How canvases reach the app: in which order, in how many batches, read how far."""

import copy
import pickle

import pytest
from workshop import FakeTask

from umbel.canvas import Signature, chain, chord, group, maybe_signature, signature, xmap
from umbel.model.call import Call
from umbel.model.join import JoinOpening
from umbel.model.request import Request, running
from umbel.results import AsyncResult, GroupResult


def test_a_generator_is_read_while_its_members_are_sent(app, t):
    read = []

    class Slow(type(app)):
        def send(self, items):
            for count, item in enumerate(items, 1):
                assert len(read) <= count + 1
                self.sent.append(item)

    app.__class__ = Slow

    def members():
        for i in range(100):
            read.append(i)
            yield t.add.s(i, i)

    result = group(members()).apply_async()
    read.clear()
    chord(members(), t.tsum.s()).apply_async()

    assert len(result) == 100
    assert len(app.sent) == 201


def test_the_number_of_parts_is_told_right_before_the_last_member(app, t):
    chord((t.add.s(i, i) for i in range(3)), t.tsum.s()).apply_async()

    assert [type(item) for item in app.sent] == [Call, Call, JoinOpening, Call]
    assert app.sent[2].size == 3


def test_nested_joins_are_opened_before_the_last_member(app, t):
    inner = chord([t.add.s(1, 1), t.add.s(2, 2)], t.tsum.s())
    chord([t.add.s(0, 0), inner], t.tsum.s()).apply_async()

    kinds = [type(item) for item in app.sent]
    assert kinds == [Call, Call, JoinOpening, JoinOpening, Call]


def test_a_canvas_of_many_is_one_send(app, t):
    group(t.add.s(i, i) for i in range(1000)).apply_async()

    assert app.batches == 1


def test_options_reach_whom_they_are_meant_for(app, t):
    header = [t.add.s(1, 1), t.mul.s(2, 2).set(queue="own")]
    group(header).apply_async(queue="q", countdown=5)
    assert [call.options for call in app.sent] == [{"queue": "q", "countdown": 5}] * 2
    app.sent.clear()

    chord(header, t.tsum.s()).apply_async(queue="q", countdown=5)
    calls = [item for item in app.sent if isinstance(item, Call)]
    assert {call.options["countdown"] for call in calls} == {5}
    assert calls[0].chord["options"]["queue"] == "q"
    assert "countdown" not in calls[0].chord["options"]
    app.sent.clear()

    chain(t.add.s(1, 1), t.mul.s(2)).apply_async(queue="q", countdown=5)
    (call,) = app.sent
    assert call.options == {"queue": "q", "countdown": 5}
    assert set(call.chain[0]["options"]) == {"task_id"}


def test_arguments_of_the_call_go_to_whatever_runs_first(app, t):
    for sig in (
        chain(t.add.s(1), t.neg.s()),
        group(t.add.s(1), t.add.si(2, 2)),
        chord([t.add.s(1), t.add.si(2, 2)], t.tsum.s()),
        chain(t.add.s(1), t.neg.s()).clone((10,)),
    ):
        app.sent.clear()
        sig.apply_async(() if sig.args else (10,), {})
        calls = [item for item in app.sent if isinstance(item, Call)]
        assert tuple(calls[0].args) == (10, 1)
        assert [tuple(call.args) for call in calls[1:]] in ([], [(2, 2)])


def test_the_id_that_was_asked_for_is_that_of_the_result(app, t):
    for sig in (
        chain(t.add.s(1, 1), t.neg.s()),
        chord([t.add.s(1, 1)], t.tsum.s()),
        chord([t.add.s(1, 1)], t.tsum.s() | t.neg.s()),
        chain(t.add.s(1, 1), chord([t.add.s(1)], t.tsum.s() | t.neg.s())),
        chain(t.add.s(1, 1), group(t.neg.s(), t.neg.s()), t.tsum.s()),
        group(t.add.s(1, 1)),
    ):
        result = sig.apply_async(task_id="wanted")

        assert result.id == "wanted"
        result.get()
        app.archive.kept.clear()


def test_a_link_of_a_chain_is_called_at_its_end(app, t):
    for sig, expected in (
        (chain(t.add.s(1, 1), t.neg.s()), 2),
        (chain(t.add.s(1, 1), chord([t.add.s(1), t.add.s(2)], t.tsum.s())), -7),
        (chord([t.add.s(1, 1)], t.tsum.s() | t.neg.s()), 2),
        (chain(t.add.s(1, 1), chord([t.add.s(1)], t.tsum.s() | t.neg.s())), 3),
    ):
        app.ran.clear()
        sig.apply_async(link=t.neg.s())
        app.run()

        assert app.archive.kept[app.ran[-1].id].result == expected


def test_a_link_at_the_end_of_a_group_is_refused(app, t):
    with pytest.raises(TypeError, match="use a chord"):
        chain(t.add.s(1, 1), group(t.neg.s(), t.neg.s())).apply_async(link=t.neg.s())
    with pytest.raises(TypeError, match="use a chord"):
        group(t.neg.s(1)).apply_async(link=t.neg.s())


def test_an_error_in_any_step_of_a_chain_reaches_its_errback(app, t):
    for at in range(3):
        steps = [t.add.s(1, 1), t.neg.s(), t.ident.s()]
        steps[at] = t.fail.s()
        app.ran.clear()
        chain(*steps).on_error(t.errback_old.s()).apply_async()
        app.run()

        assert [call.task for call in app.ran].count("wire_tasks.errback_old") == 1


def test_a_canvas_sent_by_a_task_has_it_as_parent_and_is_among_its_children(app, t):
    request = Request(id="task", root_id="root", called_directly=False)
    token = running.set((request,))
    try:
        sent = [
            group(t.add.s(1, 1), t.add.s(2, 2)).apply_async(),
            chain(t.add.s(1, 1), t.neg.s()).apply_async(),
            chord([t.add.s(1, 1)], t.tsum.s()).apply_async(),
            group(t.add.s(3, 3)).apply_async(add_to_parent=False),
        ]
    finally:
        running.reset(token)

    calls = [item for item in app.sent if isinstance(item, Call)]
    assert {(call.root_id, call.parent_id) for call in calls} == {("root", "task")}
    assert [child[0][0] for child in request.children] == [
        sent[0].id,
        sent[1].parent.id,
        sent[2].parent.id,
    ]


def test_a_member_with_an_apply_async_of_its_own_is_sent_through_it(app, t):
    seen = []

    class Own(FakeTask):
        overrides_apply_async = True

        def apply_async(self, args=None, kwargs=None, **options):
            seen.append((tuple(args), options, len(app.sent)))
            return super().apply_async(args, kwargs, **options)

    own = app.tasks["own"] = Own(app, lambda x: x, "own")

    members = [t.add.s(1, 1), own.s(5).set(queue="q"), t.add.s(2, 2), own.s(6)]
    result = chord(members, t.ident.s()).apply_async()

    assert result.get() == [2, 5, 4, 6]
    assert [args for args, _, _ in seen] == [(5,), (6,)]
    assert seen[0][1]["queue"] == "q"
    assert seen[0][1]["group_index"] == 1
    # The opening was handed to the app before the last member was.
    assert [sent for _, _, sent in seen] == [1, 4]


def test_the_results_of_ignored_members_are_not_waited_for(app, t):
    result = group(t.ignored.s(1), t.add.s(1, 1)).apply_async()
    last = chain(t.add.s(1, 1), t.ignored.s()).apply_async()
    by_option = group(t.add.s(1, 1).set(ignore_result=True)).apply_async()
    app.keep = lambda task_id, *rest: (
        None if task_id in {result[0].id, last.id, by_option[0].id} else type(app).keep(
            app, task_id, *rest
        )
    )  # fmt: skip

    assert result.get() == [None, 2]
    assert last.get() is None
    assert by_option.get() == [None]


def test_a_chord_without_a_body_says_what_to_do(app, t):
    with pytest.raises(ValueError, match="without a body"):
        chord([t.add.s(1, 1)]).apply_async()
    assert chord([t.add.s(1, 1)])(t.tsum.s()).get() == 2


def test_a_task_that_is_not_known_here_is_sent_by_its_name(app, t):
    signature("elsewhere.task", (1,), {"k": 2}, queue="q").apply_async((0,), {"j": 3})
    group(signature("elsewhere.task", (1,)), t.add.s(1, 1)).apply_async()

    assert app.sent[0][:3] == ("elsewhere.task", (0, 1), {"k": 2, "j": 3})
    assert app.sent[0].options == {"queue": "q"}
    assert [call.task for call in app.sent[1:]] == ["elsewhere.task", "wire_tasks.add"]


def test_an_empty_chain_sends_nothing(app):
    assert chain().apply_async() is None
    assert chain()() is None
    assert app.sent == []


def test_a_long_chain_needs_no_deep_stack(app, t):
    result = chain([t.add.s(0, 0), *[t.add.s(1) for _ in range(3000)]]).apply_async()

    assert len(result.as_list()) == 3001
    assert len(app.sent[0].chain) == 3000


def test_skew_counts_down_one_after_the_other(t):
    skewed = group(t.add.s(i, i) for i in range(4)).skew(start=1, stop=3)

    assert [task.options["countdown"] for task in skewed.tasks] == [1, 2, 3, 3]


def test_signatures_are_values(app, t):
    sig = t.add.s(1, y=2).set(queue="q", link=[t.neg.s()])

    assert sig == t.add.s(1, y=2).set(queue="q", link=[t.neg.s()])
    assert sig.clone() == sig
    assert copy.copy(sig) == copy.deepcopy(sig) == pickle.loads(pickle.dumps(sig)) == sig
    clone = sig.clone()
    clone.link(t.mul.s(2))
    clone.set(priority=1)
    clone.kwargs["z"] = 1
    assert sig == t.add.s(1, y=2).set(queue="q", link=[t.neg.s()])
    assert sig.replace(args=(9,)).args == (9,)
    assert [link.task for link in clone.flatten_links()] == [
        "wire_tasks.add",
        "wire_tasks.neg",
        "wire_tasks.mul",
    ]
    assert not hasattr(sig, "election")


def test_canvases_are_values(t):
    header = [t.add.s(1, 1), t.add.s(2, 2)]
    for sig in (
        chain(*header),
        group(header),
        chord(header, t.tsum.s()),
        t.neg.map([1]),
        t.add.chunks([(1, 1)], 1),
    ):
        assert sig.clone() == sig
        assert type(copy.deepcopy(sig)) is type(sig)
        assert copy.deepcopy(sig) == sig
        assert pickle.loads(pickle.dumps(sig)) == sig
        assert signature(sig) is not sig
        assert maybe_signature(sig) is sig
    assert isinstance(t.neg.map([1]), xmap)


def test_a_signature_runs_here_when_it_is_called(app, t):
    assert t.add.s(1)(2) == 3
    assert t.add.si(1, 2)(5) == 3
    assert t.add.s(1).apply((2,)).get() == 3
    assert ~t.add.s(1, 2) == 3
    assert t.add.s(1).delay(2).get() == 3


def test_one_link_is_kept_once(t):
    sig = t.add.s(1, 1)

    sig.link(t.neg.s())
    sig.link(t.neg.s())
    sig.on_error(t.errback.s()).on_error(t.errback.s())

    assert sig.options["link"] == [t.neg.s()]
    assert sig.options["link_error"] == [t.errback.s()]


def test_results_are_of_the_kind_that_celery_gives(app, t):
    assert type(t.add.s(1, 1).apply_async()) is AsyncResult
    assert type(group(t.add.s(1, 1)).apply_async()) is GroupResult
    result = chord([t.add.s(1, 1)], t.tsum.s()).apply_async()
    assert type(result) is AsyncResult
    assert type(result.parent) is GroupResult
    assert isinstance(t.add.s(1, 1), Signature)


def test_a_canvas_of_a_generator_belongs_to_the_app_of_its_members():
    from umbel import Celery

    mine = Celery("mine", broker="memory://of-a-generator", set_as_current=False)
    add = mine.task(lambda x: x, name="add")

    assert group(add.s(i) for i in range(3)).app is mine
    assert chord((add.s(i) for i in range(3)), add.s()).app is mine
    assert group(iter(())).app is not mine
