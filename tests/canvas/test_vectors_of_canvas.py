"""What we send for a canvas, and send on, against what Celery was seen to send.

Ids are compared up to renaming. Options that Celery writes into frozen signatures without meaning
anything by them (nulls, ``reply_to``, ``add_to_parent``, an empty ``chain``, the root) are left
out. Where we mean to differ, the case says so.
"""

import json
import re
from pathlib import Path

import pytest
from workshop import Workshop, canvas_names, place_of, plain, request_of, use, wire_tasks

from umbel.canvas import continuation
from umbel.model.call import Call
from umbel.model.join import JoinOpening
from umbel.results import AsyncResult

VECTORS = Path(__file__).parents[1] / "vectors"
MESSAGES = {
    case["name"]: case for case in json.loads((VECTORS / "messages.json").read_text())["cases"]
}
FLOWS = {flow["name"]: flow for flow in json.loads((VECTORS / "flows.json").read_text())["flows"]}

CASES = [
    "link_one",
    "link_two",
    "link_immutable",
    "link_error",
    "link_error_old",
    "link_error_new",
    "link_error_immutable",
    "link_nested",
    "stamp_header",
    "stamp_visitor",
    "stamp_group",
    "stamp_link",
    "partial",
    "immutable",
    "group",
    "group_of_one",
    "group_args",
    "group_generator",
    "chain",
    "chain_immutable",
    "chain_options",
    "chain_fail",
    "chain_countdown",
    "chord",
    "chord_one",
    "chord_empty",
    "chord_fail",
    "chord_fail_errback",
    "chord_body_immutable",
    "chord_body_chain",
    "chord_body_group",
    "chord_header_chain",
    "chord_ignored_member",
    "chord_grow",
    "chord_retry_member",
    "group_then_task",
    "task_group_task",
    "task_group",
    "group_chain_members",
    "chord_in_group",
    "chord_in_chain",
    "chord_in_chord",
    "map",
    "starmap",
    "chunks",
    "chunks_task",
    "retry",
    "children_group",
    "replace",
    "replace_group",
    "replace_chain",
    "replace_in_chain",
    "replace_in_chord",
]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOISE = ("reply_to", "add_to_parent", "root_id", "parent_id")


def tidy(value):
    """Without what means nothing."""
    if isinstance(value, dict):
        if "task" in value and "options" in value:
            options = {
                k: tidy(v)
                for k, v in value["options"].items()
                if k not in NOISE and v is not None and v != []
            }
            for name in ("link", "link_error"):
                if isinstance(options.get(name), dict):
                    options[name] = [options[name]]
            return {**{k: tidy(v) for k, v in value.items()}, "options": options}
        return {k: tidy(v) for k, v in value.items()}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    return value


class Renaming:
    """Their ids and ours, one to one."""

    def __init__(self):
        self.ours = {}
        self.theirs = {}

    def same(self, theirs, ours, where=""):
        if isinstance(theirs, dict) and isinstance(ours, dict):
            assert sorted(theirs) == sorted(ours), where
            for key in theirs:
                self.same(theirs[key], ours[key], f"{where}.{key}")
        elif isinstance(theirs, list) and isinstance(ours, list):
            assert len(theirs) == len(ours), (where, theirs, ours)
            for at, pair in enumerate(zip(theirs, ours, strict=True)):
                self.same(*pair, f"{where}[{at}]")
        elif isinstance(theirs, str) and isinstance(ours, str) and UUID.search(theirs):
            for a, b in zip(UUID.finditer(theirs), UUID.finditer(ours), strict=True):
                assert self.ours.setdefault(a[0], b[0]) == b[0], where
                assert self.theirs.setdefault(b[0], a[0]) == a[0], where
        else:
            assert theirs == ours, (where, theirs, ours)


def their_message(entry):
    headers = entry["envelope"]["headers"]
    args, kwargs, embed = entry["body"]
    return {
        "queue": entry["key"].partition("\x06")[0],
        "headers": {
            name: headers.get(name)
            for name in ("task", "id", "root_id", "parent_id", "group", "group_index")
        },
        "retries": headers["retries"],
        "nesting": headers["replaced_task_nesting"],
        "stamps": {name: headers["stamps"][name] for name in headers["stamped_headers"] or ()},
        "args": args,
        "kwargs": kwargs,
        "embed": {name: tidy(value) or None for name, value in embed.items()},
    }


def our_message(call):
    request = request_of(call)
    return {
        "queue": call.options.get("queue", "celery"),
        "headers": {
            name: getattr(request, name)
            for name in ("task", "id", "root_id", "parent_id", "group", "group_index")
        },
        "retries": request.retries,
        "nesting": request.replaced_task_nesting,
        "stamps": request.stamps,
        "args": request.args,
        "kwargs": request.kwargs,
        "embed": {
            name: tidy(getattr(request, name)) or None
            for name in ("callbacks", "errbacks", "chain", "chord")
        },
    }


def sent_for(name):
    """The app after the code of a case has run in it, the calls and the joins that it opened."""
    app = use(Workshop())
    names = canvas_names(wire_tasks(app))
    result = eval(MESSAGES[name]["code"], {**names, "app": app})
    calls = [item for item in app.sent if isinstance(item, Call)]
    sizes = {item.group_id: item.size for item in app.sent if isinstance(item, JoinOpening)}
    return app, result, calls, sizes


def their_sizes(case):
    return {
        key.removeprefix("celery-taskset-meta-").removesuffix(".s"): int(entry["value"])
        for key, entry in case["other_keys"].items()
        if key.endswith(".s")
    }


@pytest.mark.parametrize("name", CASES)
def test_a_canvas_is_sent_as_celery_sends_it(name):
    case = MESSAGES[name]

    _, result, calls, sizes = sent_for(name)

    ids = Renaming()
    pushed = [their_message(entry) for entry in case["pushed"]]
    ids.same(pushed, [our_message(call) for call in calls], name)
    ids.same(case["result"], plain(result.as_tuple()), "result")
    ids.same(
        sorted(their_sizes(case).values()),
        sorted(sizes.values()),
        "parts",
    )
    for theirs in their_sizes(case):
        assert ids.ours[theirs] in sizes


@pytest.mark.parametrize("name", CASES)
def test_a_worker_sends_on_what_celerys_worker_sends(name):
    case, flow = MESSAGES[name], FLOWS[name]
    app, _, calls, _ = sent_for(name)
    ids = Renaming()
    ids.same([their_message(e) for e in case["pushed"]], [our_message(c) for c in calls])

    # Messages are run in the order of Celery's worker, which the order of what it sent shows.
    waiting = [their_message(entry) for entry in flow["sent_by_worker"]]
    app.random = None
    app.run()

    ours = [our_message(call) for call in app.ran[len(calls) :]]
    ids.same(waiting, ours, name)
    for task_id, record in flow["results"].items():
        kept = app.archive.kept[ids.ours.get(task_id, task_id)]
        assert kept.status == record["status"], record
        if record["status"] == "SUCCESS" and name not in ("stamp_header", "stamp_visitor"):
            ids.same(record["result"], kept.result, "value")
        if record["status"] == "FAILURE":
            assert type(kept.result).__name__ == record["result"]["exc_type"]
            ids.same(record["result"]["exc_message"], plain(list(kept.result.args)), "error")
        ids.same(record.get("group_id"), kept.group_id, "group_id")
        ids.same(record["children"], children_of(kept), "children")


def children_of(kept):
    return [
        plain(child.as_tuple() if isinstance(child, AsyncResult) else child)
        for child in kept.children
    ]


def test_groups_in_a_header_keep_their_order_where_celery_turns_it():
    _, _, calls, sizes = sent_for("chord_header_group")

    assert [(call.args, call.group_index) for call in calls] == [
        ((1, 1), 0),
        ((2, 2), 1),
        ((3, 3), 2),
    ]
    assert sizes == {calls[0].group_id: 3}


def test_members_of_a_group_in_a_group_are_numbered_through():
    _, result, calls, _ = sent_for("group_in_group")

    assert [call.group_index for call in calls] == [0, 1, 2]
    assert {call.group_id for call in calls} == {result.id}
    assert [member.id for member in result] == [call.id for call in calls]


def test_links_on_a_group_are_refused_with_celerys_words():
    with pytest.raises(TypeError, match="do that on individual tasks"):
        sent_for("group_link_error")


def test_a_saved_group_is_kept_as_celery_keeps_it():
    app, _, _, _ = sent_for("group_saved")
    case = MESSAGES["group_saved"]
    (kept,) = [v for k, v in case["other_keys"].items() if "taskset" in k]

    (ours,) = app.archive.groups.values()

    Renaming().same(json.loads(kept["value"])["result"], ours)


def test_the_body_of_a_chord_sent_by_celery_is_understood():
    """embed.chord as it stands in captured messages, joined by our continuation."""
    app = use(Workshop())
    wire_tasks(app)
    wrong = []
    for name, case in MESSAGES.items():
        for entry in case.get("pushed", ()):
            embed = entry["body"][2] if isinstance(entry["body"], list) else {}
            body = (embed or {}).get("chord")
            if not body:
                continue
            steps = continuation.after_join(
                "gid",
                body,
                [("a", "SUCCESS", 1), ("b", "SUCCESS", 2)],
                request_of(Call("umbel.join", (), {}, "claim", "root", "member")),
                new_id=app.new_id,
                tasks=app.tasks,
            )
            if not steps.sends or steps.sends[0].parent_id != "member":
                wrong.append(name)

    assert wrong == []
    assert place_of(continuation.Part("g", "t", None, "SUCCESS", 1, {}))[0]
