"""Call the tasks in the manners that Celery's user guide teaches, and print what comes of it."""

from datetime import UTC, datetime, timedelta

from celery import chain, chord, group, signature
from celery.canvas import StampingVisitor
from celery.exceptions import MaxRetriesExceededError, TimeoutError
from celery.result import AsyncResult, GroupResult, allow_join_result, result_from_tuple
from tasks import (
    add,
    always_fails,
    annotated,
    app,
    boom,
    cleans_up,
    decorated,
    encode_film,
    fails_twice,
    forgets,
    handle_error,
    has_a_state_of_its_own,
    import_feed,
    mul,
    process_rows,
    replaced,
    shared,
    stamps_of,
    tells,
    untyped,
    uploads,
    who_am_i,
    xsum,
)

PATIENCE_S = 60


def got(result):
    try:
        return result.get(timeout=PATIENCE_S)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def kept(task_id):
    return got(AsyncResult(task_id, app=app))


def calling():
    yield "delay", got(add.delay(2, 2))
    yield "apply_async", got(add.apply_async((2,), {"y": 3}))
    yield "called", add(4, 4)
    yield "apply", add.apply((5, 5)).get()
    yield "countdown", got(add.apply_async((1, 1), countdown=0.2))
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    yield "eta", got(add.apply_async((1, 2), eta=soon))
    late = add.apply_async((1, 2), countdown=1, expires=0.1)
    yield "expired", got(late).partition(":")[0]
    yield "send_task", got(app.send_task("tasks.add", (3, 4)))
    yield "link", got_children(add.apply_async((2, 2), link=add.s(16)))
    failing = boom.apply_async(link_error=handle_error.s())
    yield "link_error", [got(failing), kept(f"error-of-{failing.id}")]
    yield "serializer", got(add.apply_async((1, 5), serializer="json", compression="zlib"))
    policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
    yield "retry_policy", got(add.apply_async((1, 6), retry=True, retry_policy=policy))
    with app.connection_for_write() as connection:
        yield "connection", got(add.apply_async((1, 7), connection=connection))
    with app.producer_or_acquire() as producer:
        yield "producer", got(add.apply_async((1, 8), producer=producer))
    with app.pool.acquire(block=True) as connection:
        yield "pool", got(add.apply_async((1, 9), connection=connection))
    yield "task_id", add.apply_async((1, 1), task_id="my-own-id").id
    yield "wrong call", refusal(lambda: add.delay(1))
    yield "untyped", got(untyped.delay(1))
    yield "ignored", forgets.delay().get(timeout=1)


def got_children(result):
    value = got(result)
    return [value, [got(child) for child in result.children]]


def refusal(call):
    try:
        return call()
    except TypeError as error:
        return f"TypeError: {str(error).partition('(')[0].rpartition('.')[2]}"


def tasks():
    yield "request", got(who_am_i.delay(1, key="b"))
    yield "request of a call", who_am_i.run.__name__
    yield "retry", got(fails_twice.delay("done"))
    yield "autoretry", got(always_fails.delay())
    yield "too many", isinstance(MaxRetriesExceededError("no"), Exception)
    yield "annotation", got(annotated.delay())
    yield "progress", got(uploads.delay(["a", "b"]))
    yield "own state", own_state(has_a_state_of_its_own.delay())
    yield "soft limit", got(cleans_up.delay())
    yield "base", got(process_rows.delay())
    fine, bad = tells.delay(2), tells.delay(0)
    yield "hooks", [got(fine), kept(f"done-{fine.id}"), got(bad), kept(f"failed-{bad.id}")]
    yield "wraps", [got(decorated.delay(1)), decorated.__name__]
    yield "shared", got(shared.delay(1))
    yield "replace", got(replaced.delay(1))
    yield "names", sorted(name for name in app.tasks if name.startswith("guide."))


def own_state(result):
    while result.state != "SKIPPED":
        pass
    return [result.state, result.info]


def canvas():
    yield "signature", got(signature("tasks.add", args=(2, 2), countdown=0.1).delay())
    yield "partial", got(add.s(2).delay(4))
    yield "immutable", got((add.s(2, 2) | mul.si(3, 3)).delay())
    yield "invert", ~add.s(2, 2)
    yield "repr", repr(chain(add.s(1, 2), add.s(4)))
    yield "dict", got(signature(dict(add.s(2, 2))).delay())
    res = chain(add.s(4, 4), mul.s(8), mul.s(10))()
    yield "chain", [got(res), got(res.parent), got(res.parent.parent)]
    yield "group", got(group(add.s(i, i) for i in range(10))())
    skewed = group(add.s(i, i) for i in range(3)).skew()
    yield "skew", [sig.options["countdown"] for sig in skewed.tasks]
    yield "chord", got(chord((add.s(i, i) for i in range(10)), xsum.s())())
    yield "upgraded", got((group(add.s(i, i) for i in range(5)) | xsum.s()).delay())
    yield (
        "chord after chord",
        got(chain(add.s(1, 1), group(add.s(i) for i in range(3)), xsum.s(), mul.s(2))()),
    )
    broken = chord([add.s(1, 1), boom.s()], xsum.s())()
    error = broken.get(timeout=PATIENCE_S, propagate=False)
    yield "chord error", [type(error).__name__, "ValueError('boom')" in str(error), broken.state]
    yield "on_error", got(chord([add.s(1, 1)], xsum.s().on_error(handle_error.s())).delay())
    yield "map", got(xsum.map([list(range(10)), list(range(100))]).delay())
    yield "starmap", got(add.starmap(zip(range(5), range(5), strict=True)).delay())
    yield "chunks", got(add.chunks(zip(range(10), range(10), strict=True), 5)())
    yield "chunk group", got(add.chunks(zip(range(4), range(4), strict=True), 2).group()())
    yield "stamp", got_stamp({"header": "value"})
    yield "visitor", got_visited()
    collected = chain(add.s(1, 1), mul.s(3))()
    got(collected)
    yield "collect", [value for _, value in collected.collect()]
    yield "graph", len(collected.graph.topsort())
    add_link = add.s(2, 2)
    add_link.link(mul.s(10))
    yield "sig.link", got_children(add_link.apply_async())


def got_stamp(stamps):
    sig = stamps_of.s()
    sig.stamp(**stamps)
    return got(sig.delay())


class Monitoring(StampingVisitor):
    def on_signature(self, sig, **headers) -> dict:
        return {"monitoring_id": "m1", "stamped_headers": ["monitoring_id"]}


def got_visited():
    sig = group(stamps_of.s(), stamps_of.s())
    sig.stamp(visitor=Monitoring())
    return got(sig.delay())


def results():
    saved = group(add.s(1, 1), add.s(2, 2)).apply_async()
    saved.save()
    restored = GroupResult.restore(saved.id, app=app)
    yield "restore", [got(restored), restored.successful(), restored.completed_count()]
    yield "tuple", got(result_from_tuple(saved.as_tuple(), app=app))
    single = add.delay(9, 9)
    got(single)
    facts = single.name, single.args, single.kwargs, single.retries, single.queue
    yield "extended", [str(fact) for fact in facts]
    yield "state", [single.state, single.ready(), single.successful(), single.failed()]
    single.forget()
    yield "forgotten", AsyncResult(single.id, app=app).state
    with allow_join_result():
        yield "join", group(add.s(1, 1)).delay().join(timeout=PATIENCE_S)
    yield "timeout", issubclass(TimeoutError, Exception)


def routing():
    yield "glob", got(encode_film.delay())
    yield "router", got(import_feed.delay())
    yield "queue", got(add.apply_async((1, 2), queue="feeds"))
    yield "selected", got(add.apply_async((3, 4), queue="extra.dq"))
    router = app.amqp.router
    yield "asked", [router.route({}, "guide.encode_x")["queue"].name, sorted(app.amqp.queues)[:2]]


def workers():
    inspect = app.control.inspect(timeout=3)
    node = next(iter(inspect.ping()))
    yield "ping", app.control.ping(timeout=3)[0][node]
    yield "registered", "tasks.add" in inspect.registered()[node]
    yield "queues", sorted(queue["name"] for queue in inspect.active_queues()[node])
    yield "active", inspect.active()[node]
    answer = app.control.rate_limit("tasks.add", "200/m", reply=True, timeout=3)
    yield "rate_limit", list(answer[0][node])
    answer = app.control.time_limit("tasks.add", soft=60, hard=120, reply=True, timeout=3)
    yield "time_limit", list(answer[0][node])
    waiting = add.apply_async((1, 1), countdown=2)
    waiting.revoke()
    yield "revoke", got(waiting)
    yield "stats", sorted({"pid", "total", "pool", "broker"} & set(inspect.stats()[node]))


if __name__ == "__main__":
    for part in (calling, tasks, canvas, results, routing, workers):
        for name, value in part():
            print(f"{part.__name__}: {name}: {value!r}", flush=True)
