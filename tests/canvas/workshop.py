"""An app in memory for tests of the canvas, and a runner of what it sends.

The app records what is sent. The runner takes calls in any order (a seed decides), runs plain
functions, and carries out what ``continuation`` says, as a worker would: through JSON, so that
nothing survives that a message would not carry.
"""

import json
import random
from collections import deque
from types import SimpleNamespace

from umbel.canvas import Signature, chunks, continuation, replacing, signature, xmap, xstarmap
from umbel.canvas.shapes import listed
from umbel.model import ids, states
from umbel.model.call import Call
from umbel.model.errors import TimeoutError
from umbel.model.join import JoinOpening
from umbel.model.outcome import Failed, Ignored, Replaced, Retried, Succeeded
from umbel.model.record import Record
from umbel.model.request import Request, running
from umbel.ports.current import set_current_app
from umbel.results import AsyncResult, EagerResult


class Archive:
    """Records in a dictionary; waiting runs the workshop until nothing is left."""

    def __init__(self):
        self.kept = {}
        self.groups = {}
        self.waits = []
        self.revoked = []
        self.work = lambda: None

    def records(self, task_ids):
        return [self.kept.get(i) or Record(i, states.PENDING) for i in task_ids]

    def get_task_meta(self, task_id):
        record = self.records([task_id])[0]
        return {
            "status": record.status,
            "result": record.result,
            "traceback": record.traceback,
            "children": record.children,
            "task_id": task_id,
            "date_done": record.date_done,
        }

    def wait_for(self, task_ids, timeout_s, on_interval=None, on_message=None):
        self.waits.append(list(task_ids))
        self.work()
        if on_interval is not None:
            on_interval()
        given = set()
        for task_id in [i for i in self.kept if i in set(task_ids)]:
            record = self.kept[task_id]
            if record.status in states.READY_STATES:
                given.add(task_id)
                if on_message is not None:
                    on_message({"task_id": task_id, "status": record.status})
                yield record
        if given != set(task_ids):
            raise TimeoutError(f"{len(set(task_ids) - given)} tasks have not ended")

    def forget(self, task_ids):
        for task_id in task_ids:
            self.kept.pop(task_id, None)

    def save_group(self, group_id, result):
        self.groups[group_id] = json.loads(json.dumps(result))

    def restore_group(self, group_id):
        return self.groups.get(group_id)

    def delete_group(self, group_id):
        self.groups.pop(group_id, None)

    def revoke(self, task_ids, *, terminate=False, signal=None):
        self.revoked.append((list(task_ids), terminate, signal))


class FakeTask:
    """A function with the part of a task's surface that the canvas uses."""

    overrides_apply_async = False

    def __init__(self, app, fun, name, *, accepts_error_request=False, ignore_result=False):
        self.app = app
        self.fun = fun
        self.name = name
        self.accepts_error_request = accepts_error_request
        self.ignore_result = ignore_result

    def __call__(self, *args, **kwargs):
        return self.fun(*args, **kwargs)

    def s(self, *args, **kwargs):
        return Signature(self, args, kwargs, app=self.app)

    def si(self, *args, **kwargs):
        return Signature(self, args, kwargs, app=self.app, immutable=True)

    def signature(self, args=None, kwargs=None, **options):
        return Signature(self, args, kwargs, app=self.app, **options)

    subtask = signature

    def map(self, it):
        return xmap(self, it, app=self.app)

    def starmap(self, it):
        return xstarmap(self, it, app=self.app)

    def chunks(self, it, n):
        return chunks(self, it, n, app=self.app)

    def delay(self, *args, **kwargs):
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args=None,
        kwargs=None,
        task_id=None,
        producer=None,
        link=None,
        link_error=None,
        shadow=None,
        **options,
    ):
        place = {
            k: options.pop(k, None)
            for k in (
                "root_id",
                "parent_id",
                "group_id",
                "group_index",
                "chord",
                "chain",
                "add_to_parent",
            )
        }
        call = Call(
            self.name, tuple(args or ()), kwargs or {}, task_id or self.app.new_id(),
            place["root_id"], place["parent_id"], place["group_id"], place["group_index"],
            place["chord"], place["chain"], listed(link), listed(link_error), options,
        )  # fmt: skip
        self.app.send([call])
        return AsyncResult(call.id, app=self.app)

    def apply(self, args=None, kwargs=None, task_id=None, **options):
        try:
            value = self.fun(*(args or ()), **(kwargs or {}))
        except Exception as error:
            return EagerResult(task_id or self.app.new_id(), error, states.FAILURE)
        return EagerResult(task_id or self.app.new_id(), value, states.SUCCESS)


class Workshop:
    """The app: registry, archive, and the messages that were sent."""

    def __init__(self):
        self.tasks = {}
        self.archive = Archive()
        self.conf = SimpleNamespace(task_always_eager=False)
        self.sent = []
        self.batches = 0
        self.archive.work = self.run
        self.random = random.Random(0)
        self.ran = []
        self.parts = {}
        self.sizes = {}
        self.grown = {}
        self.claimed = set()
        self.joins = deque()
        self.in_place = []
        self.after_each = None
        self._builtins()

    new_id = staticmethod(ids.new_id)

    def send(self, items):
        self.batches += 1
        self.sent.extend(items)

    def send_task(self, name, args=None, kwargs=None, **options):
        self.send([Call(name, args or (), kwargs or {}, self.new_id(), options=options)])
        return AsyncResult(self.sent[-1].id, app=self)

    def task(self, fun=None, **options):
        def register(fun):
            name = options.pop("name", f"wire_tasks.{fun.__name__}")
            self.tasks[name] = FakeTask(self, fun, name, **options)
            return self.tasks[name]

        return register(fun) if fun is not None else register

    def _builtins(self):
        def xmap_(task, it):
            fun = self.tasks[task["task"]]
            return [fun(item) for item in it]

        def xstarmap_(task, it):
            fun = self.tasks[task["task"]]
            return [fun(*item) for item in it]

        def accumulate(*args, **kwargs):
            index = kwargs.get("index")
            return args[index] if index is not None else args

        self.task(xmap_, name="celery.map")
        self.task(xstarmap_, name="celery.starmap")
        self.task(accumulate, name="celery.accumulate")

    # -- running

    def run(self):
        """Run until nothing is left; calls and full joins in any order."""
        while self.sent or self.joins:
            at = self.random.randrange(len(self.sent) + len(self.joins)) if self.random else 0
            if at >= len(self.sent):
                self.joins.rotate(-(at - len(self.sent)))
                self._join(*self.joins.popleft())
                continue
            item = self.sent.pop(at)
            if isinstance(item, JoinOpening):
                self.sizes[item.group_id] = item.size
                self._full(item.group_id)
            else:
                self.perform(item)

    def perform(self, call):
        """Run one call, and do what follows."""
        request = request_of(call)
        self.ran.append(call)
        outcome = self._attempt(request)
        if self.after_each is not None:
            self.after_each(request, outcome)
        steps = continuation.after(request, outcome, new_id=self.new_id, tasks=self.tasks)
        children = [*(request._children or ()), *steps.children]
        if isinstance(outcome, Succeeded):
            self.keep(request.id, states.SUCCESS, outcome.value, request, children)
        elif isinstance(outcome, Failed):
            self.keep(request.id, states.FAILURE, outcome.error, request, children)
        self.carry_out(steps, request)
        return steps

    def _attempt(self, request):
        token = running.set((request,))
        try:
            return Succeeded(plain(self.tasks[request.task](*request.args, **request.kwargs)))
        except Replace as replace:
            sends = replacing.replacement(replace.sig, request, new_id=self.new_id)
            return Replaced(sends)
        except Again:
            return Retried(retry_of(request), None, "", "")
        except Forgotten:
            return Ignored()
        except Exception as error:
            return Failed(error, "Traceback ...")
        finally:
            running.reset(token)

    def keep(self, task_id, state, value, request, children=()):
        self.archive.kept[task_id] = Record(
            task_id, state, value, children=list(children), group_id=request.group,
            parent_id=request.parent_id,
        )  # fmt: skip

    def carry_out(self, steps, request):
        for step in steps.failures:
            request_of_it = Request(group=step.group_id, parent_id=step.parent_id)
            self.keep(step.task_id, states.FAILURE, steps.error, request_of_it, step.children)
        for growth in steps.grows:
            self.grown[growth.group_id] = self.grown.get(growth.group_id, 0) + growth.by
        self.sent.extend(steps.sends)
        for part in steps.parts:
            parts = self.parts.setdefault(part.group_id, {})
            parts[part.task_id, part.position] = (part, request)
            self._full(part.group_id)
        for errback in steps.in_place:
            self.in_place.append(errback)
            self.tasks[errback.name](*errback.args, **errback.kwargs)

    def _full(self, group_id):
        size, parts = self.sizes.get(group_id), self.parts.get(group_id, {})
        if size is None:
            return
        size += self.grown.get(group_id, 0)
        if len(parts) < size or group_id in self.claimed:
            return
        assert len(parts) == size, f"{len(parts)} parts of {size}"
        self.claimed.add(group_id)
        self.joins.append((group_id, list(parts.values())[-1]))

    def _join(self, group_id, last):
        part, request = last
        parts = sorted((p for p, _ in self.parts[group_id].values()), key=place_of)
        claim = Request(
            task="umbel.join", root_id=request.root_id or request.id, parent_id=request.id
        )
        steps = continuation.after_join(
            group_id,
            wired(part.body),
            [(p.task_id, p.state, p.value) for p in parts],
            claim,
            new_id=self.new_id,
            tasks=self.tasks,
        )
        self.carry_out(steps, claim)

    def value_of(self, sig, *args, **options):
        """Send a canvas, run everything, and give its value."""
        result = sig.apply_async(*args, **options)
        return None if result is None else result.get()


def place_of(part):
    """Where a part stands in the list that the body is given; ties as they arrived."""
    return part.position is None, part.position or 0


class Replace(Exception):
    def __init__(self, sig):
        self.sig = sig


class Again(Exception):
    pass


class Forgotten(Exception):
    pass


def plain(value):
    """A value as it comes out of JSON; integers stay integers."""
    return json.loads(json.dumps(value, default=lambda o: o.__json__()))


def wired(sig):
    """A signature as another process reads it."""
    return plain(sig)


def request_of(call):
    """The request of a call, as it comes out of a message."""
    body = plain([call.args, call.kwargs, call.link, call.link_error, call.chain, call.chord])
    args, kwargs, link, link_error, chain, chord = body
    options = dict(call.options)
    stamped = options.get("stamped_headers")
    return Request(
        id=call.id,
        task=call.task,
        args=args,
        kwargs=kwargs,
        root_id=call.root_id or call.id,
        parent_id=call.parent_id,
        group=call.group_id,
        group_index=call.group_index,
        callbacks=link,
        errbacks=link_error,
        chain=chain,
        chord=chord,
        retries=options.get("retries", 0),
        replaced_task_nesting=options.get("replaced_task_nesting", 0),
        stamped_headers=stamped,
        stamps={name: options[name] for name in stamped or ()},
        called_directly=False,
    )


def retry_of(request):
    """The call that ``Task.retry`` makes."""
    return Call(
        request.task, request.args, request.kwargs, request.id, request.root_id,
        request.parent_id or request.id, request.group, request.group_index, request.chord,
        request.chain, request.callbacks, request.errbacks, {"retries": request.retries + 1},
    )  # fmt: skip


def use(app):
    """Make it the current app of this thread."""
    set_current_app(app)
    return app


def wire_tasks(app):
    """The tasks that the captured vectors name."""

    def fail(*args):
        raise ValueError(*(args or ("boom", 42)))

    def flaky(n):
        request = running.get()[-1]
        if request.retries < n:
            raise Again
        return {"retries": request.retries}

    def replace_with(x):
        raise Replace(app.tasks["wire_tasks.add"].s(x, 100))

    def replace_group(x):
        from umbel.canvas import group

        add = app.tasks["wire_tasks.add"]
        raise Replace(group(add.s(x, 1), add.s(x, 2)))

    def replace_chain(x):
        raise Replace(app.tasks["wire_tasks.add"].s(x, 1) | app.tasks["wire_tasks.mul"].s(10))

    def grow_chord():
        request = running.get()[-1]
        sig = app.tasks["wire_tasks.add"].s(10, 10)
        sends, growth, results = replacing.addition(sig, request, new_id=app.new_id)
        request.added_sends, request.added_growth = sends, [growth]
        request.children.extend(results)
        return 1

    for fun in (
        fail, flaky, replace_with, replace_group, replace_chain, grow_chord,
    ):  # fmt: skip
        app.task(fun)

    def parent_group():
        from umbel.canvas import group

        add = app.tasks["wire_tasks.add"]
        group(add.s(1, 1), add.s(2, 2)).apply_async()
        return "spawned"

    app.task(parent_group)
    app.task(lambda task, it, n: chunks.apply_chunks(task, it, n).as_tuple(), name="celery.chunks")
    app.task(lambda: None, name="wire_tasks.noop")
    app.task(lambda x, y: x + y, name="wire_tasks.add")
    app.task(lambda x, y: x * y, name="wire_tasks.mul")
    app.task(lambda x: -x, name="wire_tasks.neg")
    app.task(lambda values: sum(values), name="wire_tasks.tsum")
    app.task(lambda x=None: x, name="wire_tasks.ident")
    app.task(lambda x=99: x, name="wire_tasks.const")
    app.task(lambda x: x, name="wire_tasks.ignored", ignore_result=True)
    app.task(lambda: None, name="wire_tasks.whoami")
    app.task(
        lambda *args: ["errback", [str(a) for a in args]],
        name="wire_tasks.errback",
        accepts_error_request=True,
    )
    app.task(lambda task_id: ["errback_old", task_id], name="wire_tasks.errback_old")
    app.task(
        lambda request, exc, traceback: None,
        name="wire_tasks.errback_new",
        accepts_error_request=True,
    )
    names = {name.partition(".")[2]: task for name, task in app.tasks.items()}
    return SimpleNamespace(**{k: v for k, v in names.items() if k})


def canvas_names(tasks):
    """What the code of the vectors may use."""
    from umbel import canvas

    def stamped(sig, **headers):
        return sig.stamp(**headers)

    class MyVisitor(canvas.StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"mystamp": "value-1", "stamped_headers": ["mystamp"]}

    return {
        **vars(tasks),
        **{name: getattr(canvas, name) for name in canvas.__all__},
        "stamped": stamped,
        "MyVisitor": MyVisitor,
        "signature": signature,
    }
