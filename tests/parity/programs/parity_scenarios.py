"""What is compared: each scenario sends, yields while the workers work, and gives what it found.

What it gives is plain data without ids and dates, so that two houses can be compared. Run as a
program it prints all of it as JSON.
"""

import datetime as dt
import inspect
import json
import sys
import time
import uuid
from decimal import Decimal
from importlib import import_module
from io import StringIO

import parity_tasks as t
from parity_tasks import chain, chord, group, notes

SCENARIOS = {}
TIMEOUT_S = 40


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def value_of(result, timeout=TIMEOUT_S):
    """What ``get`` gives or raises.

    Without a look at the steps before: whether Celery raises the error of a chord's member, or the
    ``ChordError`` that it causes, depends on which it happens to see first.
    """
    alone = {"follow_parents": False} if isinstance(result, t.house.result.AsyncResult) else {}
    try:
        return result.get(timeout=timeout, **alone)
    except Exception as error:  # noqa: BLE001 - it is what is compared
        return f"{type(error).__name__}"


# - Replacing, in every place


def _places(x):
    """Where a task may stand: it gets 7 by name or from before."""
    yield "alone", x.clone((7,))
    yield "first in a chain", chain(x.clone((7,)), t.ident.s())
    yield "in a chain", chain(t.const.s(7), x, t.ident.s())
    yield "last in a chain", chain(t.const.s(7), x)
    yield "in a group", group(x.clone((7,)), t.add.s(1, 1))
    yield "in a header", chord([x.clone((7,)), t.const.s(1)], t.ident.s())
    yield "alone in a header", chord([x.clone((7,))], t.ident.s())
    yield "last of a chain in a header", chord([chain(t.const.s(7), x), t.const.s(1)], t.ident.s())
    yield "body", chord([t.const.s(3), t.const.s(4)], x)
    yield "body, and more", chain(chord([t.const.s(3), t.const.s(4)], x), t.ident.s())
    yield (
        "header in a header",
        chord([chord([x.clone((7,)), t.const.s(1)], t.ident.s()), t.const.s(2)], t.ident.s()),
    )
    yield "last, in a group, in a chain", chain(t.const.s(7), group(x, t.ident.s()))
    yield "in a group in a chain", chain(t.const.s(7), group(x, t.ident.s()), t.ident.s())


# Who waits for it on Celery waits for ever, so nobody does.
ENDLESS = {("celery", "failing", "header in a header")}


def _replacing(by):
    sent = {}
    for name, sig in _places(t.replaced.s(by=by)):
        if (t.house.__name__, by, name) not in ENDLESS:
            sent[name] = sig.apply_async()
    yield
    found = {name: value_of(result) for name, result in sent.items()}
    return found | {
        name: "never ends" for h, b, name in ENDLESS if (h, b) == (t.house.__name__, by)
    }


for _by in ("task", "chain", "group", "chord", "failing", "immutable", "again", "chain of group"):
    SCENARIOS[f"replaced by {_by}"] = lambda by=_by: _replacing(by)


# - Errbacks: how often, and of which kind


def _errors():
    """Canvases in which something fails, to which an errback is attached."""

    # Fresh ones each time: errbacks are put on the members themselves.
    def ok():
        return t.const.si(1)

    def bad():
        return t.fail.si()

    yield "task", bad()
    yield "first in a chain", chain(bad(), ok(), ok())
    yield "second in a chain", chain(ok(), bad(), ok())
    yield "last in a chain", chain(ok(), ok(), bad())
    yield "one of a group", group(bad(), ok())
    yield "two of a group", group(bad(), bad())
    yield "none of a group", group(ok(), ok())
    yield "one of a header", chord([bad(), ok()], t.tsum.s())
    yield "two of a header", chord([bad(), bad(), ok()], t.tsum.s())
    yield "body", chord([ok(), ok()], bad())
    yield "none of a chord", chord([ok(), ok()], t.tsum.s())
    yield "chain in a header", chord([chain(ok(), bad(), ok()), ok()], t.tsum.s())
    yield "header of a header", chord([chord([bad(), ok()], t.tsum.s()), ok()], t.tsum.s())
    yield "body of a header", chord([chord([ok(), ok()], bad()), ok()], t.tsum.s())
    yield "header in a chain", chain(ok(), chord([bad(), ok()], t.tsum.s()))
    yield "header in a chain, and more", chain(ok(), group(bad(), ok()), t.tsum.s(), t.ident.s())
    yield "group at the end of a chain", chain(ok(), group(bad(), ok()))
    yield "first, before a group", chain(bad(), group(ok(), ok()))
    yield "first of a chain body", chord([ok(), ok()], chain(bad(), ok()))
    yield "last of a chain body", chord([ok(), ok()], chain(ok(), bad()))
    yield "header, of a chain body", chord([bad(), ok()], chain(ok(), ok()))
    yield "header, of a group body", chord([bad(), ok()], group(ok(), ok()))
    yield "chord in a group", group(chord([bad(), ok()], t.tsum.s()), ok())
    yield "chain in a group", group(chain(ok(), bad()), ok())


def _errbacks(kind, attach, allow=False):
    """``attach`` puts the errback on and sends."""
    t.app.conf.task_allow_error_cb_on_chord_header = allow
    try:
        found = {}
        for number, (name, sig) in enumerate(_errors()):
            label = f"{kind}-{attach.__name__}-{allow}-{number}"
            errback = getattr(t, f"{kind}_errback").s(label=label)
            try:
                attach(sig.clone(), errback)
            except Exception as error:  # noqa: BLE001 - compared
                found[name] = type(error).__name__
            else:
                found[name] = label
    finally:
        t.app.conf.task_allow_error_cb_on_chord_header = False
    yield
    return {name: notes(f) if "-" in f else f for name, f in found.items()}


def on_error(sig, errback):
    sig.on_error(errback)
    sig.apply_async()


def link_error(sig, errback):
    sig.link_error(errback)
    sig.delay()


def option(sig, errback):
    sig.apply_async(link_error=errback)


for _kind in ("old", "new"):
    for _attach in (on_error, link_error, option):
        for _allow in (False, True):
            _name = f"{_kind} errbacks by {_attach.__name__}{', on headers' if _allow else ''}"
            SCENARIOS[_name] = lambda kind=_kind, attach=_attach, allow=_allow: _errbacks(
                kind, attach, allow
            )


@scenario
def callbacks_of_every_kind_are_called():
    sig = t.add.s(1, 2)
    sig.link(t.noted.s(label="links"))
    sig.link(chain(t.noted.s(label="links"), t.noted.s(label="links")))
    sig.link(group(t.noted.s(label="links"), t.noted.s(label="links")))
    sig.link(chord([t.noted.s(label="links"), t.noted.s(label="links")], t.noted.s(label="links")))
    result = sig.apply_async(link=t.noted.si(label="links"))
    yield
    return [value_of(result), notes("links")]


# - Canvases: values, and how they look


@scenario
def representations():
    sigs = [
        t.add.s(1, 2),
        t.add.s(1, y=2),
        t.add.si(1, 2),
        t.add.s(1) | t.mul.s(2),
        chain(t.add.s(1, 1), t.add.s(2), t.mul.s(3)),
        group(t.add.s(1, 1), t.mul.s(2, 2)),
        group([t.add.s(1, 1)]),
        group(),
        chord([t.add.s(1, 1), t.add.s(2, 2)], t.tsum.s()),
        chord([t.add.s(1, 1)], chain(t.tsum.s(), t.mul.s(2))),
        chord([t.add.s(1, 1)], group(t.tsum.s(), t.ident.s())),
        chord([t.add.s(1, 1)]),
        chain(t.add.s(1, 1), group(t.add.s(2), t.add.s(3)), t.tsum.s()),
        group(chain(t.add.s(1, 1), t.add.s(2)), t.add.s(3, 3)),
        t.add.map([1, 2]),
        t.add.starmap([(1, 2), (3, 4)]),
        group(t.add.s(i, i) for i in range(2)),
        t.ident.s("text"),
        t.add.s(1, 2).set(countdown=3),
    ]
    yield
    return [repr(sig) for sig in sigs]


@scenario
def skews():
    calls = [
        {},
        {"start": 1, "stop": 10},
        {"start": 0, "stop": 3},
        {"start": 1, "stop": 3, "step": 2},
        {"start": 5, "stop": 10, "step": 5},
        {"start": 1, "stop": 2, "step": 0.5},
        {"start": 2, "step": 3},
        {"stop": 1},
    ]
    yield
    found = []
    for call in calls:
        sig = group(t.add.s(i, i) for i in range(5)).skew(**call)
        found.append([float(task.options["countdown"]) for task in sig.tasks])
    return found


@scenario
def a_skewed_group_runs():
    result = group(t.add.s(i, i) for i in range(3)).skew(start=0, stop=1, step=0.2).apply_async()
    yield
    return value_of(result)


@scenario
def chunks_and_their_group():
    chunks = t.add.chunks(zip(range(10), range(10), strict=True), 3)
    made = chunks.group()
    countdowns = [s.options.get("countdown") for s in made.skew(start=1, stop=3).tasks]
    results = [
        t.add.chunks([(i, i) for i in range(5)], 2)(),
        t.add.chunks([(i, i) for i in range(5)], 2).apply_async(),
        t.add.chunks([(i, i) for i in range(5)], 2).group().apply_async(),
    ]
    yield
    looks = [type(made).__name__, len(made.tasks), made.tasks[0].task, repr(made.tasks[0])]
    return [looks, countdowns, [value_of(result) for result in results]]


@scenario
def the_type_of_a_signature_is_its_task():
    yield
    found = [t.add.s(1).type is t.app.tasks[t.add.name], t.app.signature("nobody.knows")]
    try:
        found[1] = repr(found[1].type)
    except Exception as error:  # noqa: BLE001 - compared
        found[1] = type(error).__name__
    return found


@scenario
def arguments_and_options_are_merged():
    sig = t.add.s(1, y=2).set(priority=3, link=t.ident.s())
    cases = [
        sig.clone((5,), {"z": 4}, countdown=1),
        sig.clone(immutable=True),
        t.add.si(1).clone((5,), {"z": 1}),
        t.add.si(1).clone((5,), priority=5),
        sig.replace(args=(9,)),
        sig.replace(kwargs={}, options={}),
        t.add.signature((1,), {"y": 2}, countdown=3),
        t.add.s(1).set(immutable=True),
        t.add.subtask((1, 2), priority=9, immutable=True),
    ]
    yield
    return [json.loads(json.dumps(case)) for case in cases]


@scenario
def partial_arguments_reach_what_runs_first():
    sent = [
        t.add.s(1).delay(2),
        t.ident.s().delay("x"),
        (t.add.s(1) | t.mul.s(3)).delay(2),
        group(t.add.s(1), t.add.s(2)).delay(10),
        chord([t.add.s(1), t.add.s(2)], t.tsum.s()).apply_async((10,)),
        (t.add.s(1) | group(t.add.s(1), t.add.s(2))).apply_async((10,)),
        t.add.s(y=1).apply_async(kwargs={"x": 5}),
        t.add.si(1, 1).apply_async((9, 9)),
    ]
    yield
    return [value_of(result) for result in sent]


@scenario
def four_deep_and_more():
    sig = chord([t.const.s(1), t.const.s(2)], t.tsum.s())
    for depth in range(6):
        sig = chord([sig, t.const.s(depth), chain(t.const.s(1), t.add.s(1))], t.tsum.s())
    last = chain(t.const.s(1), group(t.add.s(1), group(t.add.s(2), t.add.s(3))))
    sent = [
        sig.apply_async(),
        chord([last, t.const.s(5)], t.ident.s()).apply_async(),
        group(group(t.const.s(1), group(t.const.s(2))), t.const.s(3)).apply_async(),
        (group(t.const.s(1)) | t.tsum.s() | group(t.add.s(1), t.add.s(2)) | t.tsum.s()).delay(),
        chord((t.const.s(i) for i in range(9)), t.tsum.s()).apply_async(),
        chord([t.grows.s(), t.const.s(2)], t.tsum.s()).apply_async(),
        chord([t.flaky.s(2), t.const.s(2)], t.tsum.s()).apply_async(),
        group(t.place.s(), t.place.s(), t.place.s()).apply_async(),
    ]
    yield
    return [value_of(result) for result in sent]


# - Results


def _named(result, names):
    """A result as a word that does not depend on ids."""
    return names.get(str(result.id), type(result).__name__)


@scenario
def trees_of_children():
    top = t.sends.delay(2, 1)
    chained = (t.const.s(3) | t.add.s(1) | t.mul.s(2)).apply_async()
    grouped = (t.const.s(3) | group(t.add.s(1), t.add.s(2))).apply_async()
    yield
    value_of(top), value_of(chained), value_of(grouped)
    time.sleep(0.5)
    deps = [(parent is None or parent.result, child.result) for parent, child in top.iterdeps()]
    return {
        "children": len(top.children),
        "iterdeps": deps,
        "collect": [value for _, value in top.collect()],
        "leaf": top.get_leaf(),
        "chain collects": [v for _, v in chained.parent.parent.collect()],
        "group collects": [v for _, v in grouped.parent.collect() if not isinstance(v, list)],
        "list": len(chained.as_list()),
        "edges": sorted(str(len(e)) for e in dict(top.graph.items()).values()),
        "nodes": len(list(top.graph)),
    }


def _dot(result, names, **options):
    text = StringIO()
    result.build_graph(**options).to_dot(text)
    said = text.getvalue()
    for task_id, name in names.items():
        said = said.replace(str(task_id), name)
    return said.splitlines()


@scenario
def graphs_are_drawn():
    result = (t.const.s(1) | t.add.s(2) | t.add.s(3)).apply_async()
    top = t.sends.delay(1, 0)
    yield
    value_of(result), value_of(top)
    time.sleep(0.3)
    first = result.parent.parent
    names = {first.id: "first", result.parent.id: "second", result.id: "third"}
    names.update({top.id: "top", top.children[0].id: "child"})
    return {
        "dot of a chain": _dot(first, names),
        "dot of children": _dot(top, names),
        "of a last step": _dot(result, names),
        "intermediate": _dot(top, names, intermediate=True),
        "edges": [[names[str(e)] for e in first.graph.edges()]],
        "valency": first.graph.valency_of(first),
        "iterates": [names[str(node)] for node in first.graph],
        "repr": [line.split("(")[0] == "" or line[-3:] for line in repr(first.graph).splitlines()],
        "sorted": [names[str(node)] for node in first.graph.topsort()],
        "items": [
            (names[str(node)], [names[str(e)] for e in ends]) for node, ends in first.graph.items()
        ],
        "in": first in first.graph,
    }


@scenario
def a_graph_of_what_has_not_ended_says_so():
    result = t.add.apply_async((1, 2), countdown=3600)
    yield
    found = []
    for intermediate in (False, True):
        try:
            graph = result.build_graph(intermediate=intermediate)
        except Exception as error:  # noqa: BLE001 - compared
            found.append(type(error).__name__)
        else:
            found.append(len(list(graph)))
    return found


@scenario
def forgetting_goes_up_the_chain_and_over_groups():
    chained = (t.const.s(1) | t.add.s(2) | t.add.s(3)).apply_async()
    grouped = (t.const.s(1) | group(t.add.s(2), t.add.s(3))).apply_async()
    joined = chord([t.const.s(1), t.const.s(2)], t.tsum.s()).apply_async()
    yield
    found = []
    for result in (chained, grouped, joined):
        value_of(result)
        line = []
        node = result
        while node is not None:
            line += list(node.results) if hasattr(node, "results") else [node]
            node = node.parent
        ids = [node.id for node in line]
        result.forget()
        found.append([t.app.AsyncResult(task_id).state for task_id in ids])
    return found


@scenario
def groups_are_saved_and_restored():
    result = group(t.add.s(i, i) for i in range(3)).apply_async()
    result.save()
    yield
    again = t.app.GroupResult.restore(result.id)
    found = [value_of(again), again == result, len(again), again.successful(), again.ready()]
    found += [again.completed_count(), again.failed(), again.waiting()]
    result.delete()
    found.append(t.app.GroupResult.restore(result.id))
    return found


@scenario
def messages_and_callbacks_of_a_wait():
    one = t.add.delay(1, 2)
    many = group(t.add.s(i, i) for i in range(3)).apply_async()
    seen, called, joined = [], [], []
    yield
    slow = t.add.apply_async((2, 2), countdown=0.5)
    slow.get(timeout=TIMEOUT_S, on_message=seen.append)
    one.get(callback=lambda task_id, value: called.append([task_id == one.id, value]))
    many.get(callback=lambda task_id, value: joined.append(value))
    told = []
    one.then(lambda result: told.append(result.result))
    return [
        [m["status"] for m in seen if m["task_id"] == slow.id][-1:],
        called,
        sorted(joined),
        told,
        many.join(),
        [value_of(one), one.get(propagate=False)],
    ]


@scenario
def failures_of_members():
    result = group(t.const.s(1), t.fail.s()).apply_async()
    yield
    found = [value_of(result), type(result.get(propagate=False)[1]).__name__]
    return [*found, result.failed(), result.successful(), result.completed_count()]


@scenario
def waiting_within_a_task_is_refused():
    denied, allowed = t.waits_for_another.delay(), t.waits_allowed.delay()
    yield
    try:
        denied.get(timeout=TIMEOUT_S)
    except RuntimeError as error:
        said = str(error)
    return [said.split("\n")[0], value_of(allowed)]


@scenario
def tuples_of_results():
    result = (t.const.s(1) | group(t.add.s(1), t.add.s(2))).apply_async()
    yield
    from_tuple = import_module(f"{t.house.__name__}.result").result_from_tuple
    again = from_tuple(json.loads(json.dumps(result.as_tuple())), t.app)
    return [value_of(again), value_of(again.parent), type(again).__name__, again == result]


@scenario
def extended_results():
    result = t.flaky.apply_async((1,), {"value": 5}, queue="celery")
    yield
    value_of(result)
    found = [result.name, result.args, result.kwargs, result.retries, result.queue]
    return [*found, result.date_done is not None, result.worker.startswith("parity@")]


# - Stamps


def _visitor():
    stamping = import_module(f"{t.house.__name__}.canvas")

    class Everywhere(stamping.StampingVisitor):
        """Says at which hooks it was asked. Celery can't send what those of canvases give."""

        def __init__(self):
            self.asked = []

        def _ask(self, hook, sig, own=True):
            kind = type(sig).__name__.lstrip("_")
            self.asked.append(f"{hook} {kind} {sig.get('task').split('.')[-1]}")
            return {hook: hook} if own else {}

        def on_signature(self, sig, **headers):
            return self._ask("on_signature", sig)

        def on_group_start(self, sig, **headers):
            return self._ask("on_group_start", sig, own=False)

        def on_group_end(self, sig, **headers):
            self._ask("on_group_end", sig, own=False)

        def on_chain_start(self, sig, **headers):
            return self._ask("on_chain_start", sig, own=False)

        def on_chain_end(self, sig, **headers):
            self._ask("on_chain_end", sig, own=False)

        def on_chord_header_start(self, sig, **headers):
            self._ask("on_chord_header_start", sig, own=False)
            return super().on_chord_header_start(sig, **headers)

        def on_chord_header_end(self, sig, **headers):
            self._ask("on_chord_header_end", sig, own=False)
            super().on_chord_header_end(sig, **headers)

        def on_chord_body(self, sig, **headers):
            return self._ask("on_chord_body", sig, own=False)

        def on_callback(self, callback, **headers):
            return self._ask("on_callback", callback)

        def on_errback(self, errback, **headers):
            return self._ask("on_errback", errback)

    return Everywhere()


def _stampable(label):
    s = t.stamped.si(label=label)
    yield "task", s.clone()
    yield "chain", chain(s, s)
    yield "group", group(s, s)
    yield "chord", chord([s, s], s)
    yield "chord of chains", chord([chain(s, s), s], chain(s, s))
    yield "group in a chain", chain(s, group(s, s))
    yield "chord in a chain", chain(s, chord([s, s], s), s)
    linked = s.clone()
    linked.link(s.clone())
    yield "with a callback", linked
    failing = t.stamped_fail.si()
    failing.link_error(t.stamped_errback.s(label=label))
    yield "with an errback", failing
    yield "retried", t.stamped_retry.si(label=label)
    for by in ("task", "chain", "group"):
        yield f"replaced by {by}", t.stamped_replace.si(label=label, by=by)
    yield "in a chain, replaced", chain(s, t.stamped_replace.si(label=label, by="task"), s)


def _number():
    return sum(1 for _ in _stampable("x"))


@scenario
def stamps_by_name():
    found = {}
    for number in range(_number()):
        label = f"byname{number}"
        name, sig = list(_stampable(label))[number]
        sig.stamp(colour="red", weight=3)
        sig.apply_async()
        found[name] = label
    yield
    return {name: notes(label) for name, label in found.items()}


@scenario
def stamps_by_a_visitor():
    found, asked = {}, {}
    for number in range(_number()):
        label = f"visited{number}"
        name, sig = list(_stampable(label))[number]
        visitor = _visitor()
        sig.stamp(visitor=visitor)
        sig.apply_async()
        found[name] = label
        asked[name] = visitor.asked
    yield
    return {name: [asked[name], notes(label)] for name, label in found.items()}


@scenario
def stamps_again():
    sig = t.stamped.si(label="again")
    sig.stamp(colour="red")
    other = sig.clone()
    sig.stamp(colour="blue")
    other.stamp(append_stamps=True, colour="green")
    sent = [sig.apply_async(), other.apply_async()]
    yield
    return [[value_of(result) for result in sent], notes("again")]


@scenario
def stamps_of_a_call():
    result = t.stamped.apply_async(
        kwargs={"label": "call"}, colour="red", stamped_headers=["colour"]
    )
    yield
    return [value_of(result), notes("call")]


@scenario
def objects_that_json_does_not_know():
    when = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
    values = [
        t.Money(5),
        t.Point(3, 4),
        Decimal("1.50"),
        uuid.UUID(int=7),
        when,
        when.date(),
        when.time(),
        b"bytes",
    ]
    sent = [t.described.delay(value) for value in values]
    back = t.money.delay(7)
    piped = (t.ident.s(t.Point(5, 6)) | t.described.s()).apply_async()
    gathered = chord([t.ident.s(t.Money(n)) for n in range(2)], t.ident.s()).apply_async()
    yield
    paid = value_of(back)["paid"]
    found = [repr(value_of(result)) for result in [*sent, piped, gathered]]
    return [found, paid[0], [type(paid[1]).__name__, paid[1].x]]


@scenario
def what_is_kept_exists():
    result, later = t.add.delay(1, 2), t.add.apply_async((1, 2), countdown=3600)
    yield
    value_of(result)
    return [result.exists(), later.exists(), t.app.AsyncResult("nobody").exists()]


def main():
    started = {}
    found = {}
    wanted = sys.argv[1:] or list(SCENARIOS)
    for name in wanted:
        run = SCENARIOS[name]()
        assert inspect.isgenerator(run)
        try:
            next(run)
            started[name] = run
        except Exception as error:  # noqa: BLE001 - compared
            found[name] = f"sending: {type(error).__name__}: {error}"
    wait_for_quiet()
    for name, run in started.items():
        try:
            next(run)
        except StopIteration as end:
            found[name] = end.value
        except Exception as error:  # noqa: BLE001 - compared
            found[name] = f"reading: {type(error).__name__}: {error}"
    print(json.dumps(found))


def wait_for_quiet():
    """Until nobody has left a note for a while, and what was sent last has ended."""
    t.ident.apply_async(("last",)).get(timeout=120)
    before, since = -1, time.monotonic()
    while time.monotonic() - since < 3:
        with open(t.NOTES) as file:
            size = len(file.read())
        if size != before:
            before, since = size, time.monotonic()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
