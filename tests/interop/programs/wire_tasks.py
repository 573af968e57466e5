"""The tasks that the wire vectors name, for a worker of either kind.

The names (``wire_tasks.*``) are what the vectors contain. ``WIRE_HOUSE`` says whose app this is,
``umbel`` or ``celery``; nothing else differs, so that what differs in a test is the house.
"""

import base64
import json
import os
import signal
import time
import zlib
from importlib import import_module

house = import_module(os.environ.get("WIRE_HOUSE", "umbel"))
Celery, group = house.Celery, house.group
errors = import_module(f"{house.__name__}.exceptions")
Ignore, Reject = errors.Ignore, errors.Reject
serializers = {"celery": "kombu.serialization", "umbel": "umbel.serialization"}[house.__name__]
register = import_module(serializers).register
# One that writes text, and one that writes bytes.
register(
    "armoured",
    lambda value: base64.b64encode(json.dumps(value).encode()).decode(),
    lambda text: json.loads(base64.b64decode(text)),  # Celery hands it bytes of results
    content_type="application/x-armoured",
    content_encoding="utf-8",
)
register(
    "squeezed",
    lambda value: zlib.compress(json.dumps(value).encode()),
    lambda data: json.loads(zlib.decompress(data)),
    content_type="application/x-squeezed",
    content_encoding="binary",
)

app = Celery(
    "wire_tasks",
    broker=os.environ.get("WIRE_BROKER", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("WIRE_BACKEND", "redis://127.0.0.1:6379/0"),
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    accept_content=["json", "yaml", "pickle", "msgpack"],
    worker_send_task_events=False,
)
app.conf.update(json.loads(os.environ.get("WIRE_CONF", "{}")))


class WireError(Exception):
    """Two positional arguments, none of them the message."""

    def __init__(self, code, detail):
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class Outer:
    class Inner(Exception):
        """An exception whose qualified name has a dot."""


@app.task
def noop():
    return


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def neg(x):
    return -x


@app.task
def tsum(values):
    return sum(values)


@app.task
def ident(x=None):
    return x


@app.task
def const(x=99):
    return x


@app.task
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(bind=True)
def whoami(self):
    """What a task can see of its own request."""
    r = self.request
    return {
        "id": r.id,
        "root_id": r.root_id,
        "parent_id": r.parent_id,
        "group": r.group,
        "group_index": r.group_index,
        "retries": r.retries,
        "shadow": r.shadow,
        "headers": r.headers,
        "origin": r.origin,
        "timelimit": r.timelimit,
        "eta": r.eta,
        "expires": r.expires,
        "reply_to": r.reply_to,
        "correlation_id": r.correlation_id,
        "delivery_info": r.delivery_info,
        "ignore_result": r.ignore_result,
        "stamped_headers": r.stamped_headers,
        "stamps": r.stamps,
        "replaced_task_nesting": r.replaced_task_nesting,
        "hostname": r.hostname,
    }


@app.task
def fail(*args):
    raise ValueError(*(args or ("boom", 42)))


@app.task
def fail_key():
    raise KeyError("missing")


@app.task
def fail_custom():
    raise WireError(7, {"why": "custom"})


@app.task
def fail_inner():
    raise Outer.Inner("inner")


@app.task
def fail_noargs():
    raise RuntimeError


@app.task
def fail_object():
    raise ValueError("has object", object)


@app.task
def fail_cause():
    try:
        raise KeyError("first")
    except KeyError as exc:
        raise RuntimeError("second") from exc


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def flaky(self, n):
    """Fails once with a retry, then succeeds."""
    if self.request.retries < n:
        raise self.retry(exc=ValueError("not yet", self.request.retries), countdown=0)
    return {"retries": self.request.retries}


@app.task(bind=True, max_retries=1)
def flaky_eta(self):
    if self.request.retries < 1:
        raise self.retry(countdown=1)
    return {"retries": self.request.retries}


@app.task(bind=True, max_retries=0)
def exhausted(self):
    self.retry(countdown=0)


@app.task(bind=True, max_retries=0)
def exhausted_exc(self):
    self.retry(exc=ValueError("the real one"), countdown=0)


@app.task(
    autoretry_for=(ValueError,),
    retry_backoff=False,
    max_retries=1,
    default_retry_delay=0,
    retry_jitter=False,
)
def autoretry():
    raise ValueError("auto")


@app.task
def sleep_for(seconds):
    time.sleep(seconds)
    return seconds


@app.task(acks_late=True)
def sleep_late(seconds):
    time.sleep(seconds)
    return seconds


@app.task(acks_late=True, reject_on_worker_lost=True)
def sleep_lost(seconds):
    time.sleep(seconds)
    return seconds


@app.task(ignore_result=True)
def ignored(x):
    return x


@app.task(ignore_result=True)
def ignored_fail():
    raise ValueError("ignored failure")


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def ignored_fail_stored():
    raise ValueError("stored although ignored")


@app.task(track_started=True)
def started(seconds):
    time.sleep(seconds)
    return "done"


@app.task(bind=True)
def progress(self, seconds):
    self.update_state(state="PROGRESS", meta={"current": 3, "total": 10})
    time.sleep(seconds)
    return "done"


@app.task
def raise_ignore():
    raise Ignore()


@app.task(acks_late=True)
def raise_reject():
    raise Reject("no thanks", requeue=False)


@app.task(bind=True, acks_late=True)
def raise_requeue(self):
    """Rejects itself back to the queue once."""
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("again", requeue=True)
    return {"redelivered": True}


@app.task
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def parent(self, n):
    """Sends n children from inside a task."""
    for i in range(n):
        add.delay(i, i)
    return n


@app.task(bind=True)
def parent_group(self):
    group(add.s(1, 1), add.s(2, 2)).apply_async()
    return "spawned"


@app.task(bind=True)
def replace_with(self, x):
    return self.replace(add.s(x, 100))


@app.task(bind=True)
def replace_group(self, x):
    return self.replace(group(add.s(x, 1), add.s(x, 2)))


@app.task(bind=True)
def replace_chain(self, x):
    return self.replace(add.s(x, 1) | mul.s(10))


@app.task(bind=True)
def grow_chord(self):
    """Adds one more member to the chord it is part of."""
    self.add_to_chord(add.s(10, 10))
    return 1


@app.task
def errback(*args):
    return ["errback", [str(a) for a in args]]


@app.task
def errback_old(task_id):
    return ["errback_old", task_id]


@app.task
def errback_new(request, exc, traceback):
    """Called inside the worker, not sent: it has more than one parameter."""
    return


def _counters():
    import redis

    return redis.Redis.from_url(os.environ["WIRE_BROKER"])


@app.task
def only_once(run):
    """Succeeds the first time, and never again."""
    client = _counters()
    times = client.incr(f"test:{run}")
    client.close()
    if times > 1:
        raise ValueError("it was done already")
    return "done"


@app.task(acks_late=True)
def member(run, number, seconds=0.002):
    """Say who ran it, and count the run."""
    client = _counters()
    client.hincrby(f"test:{run}", f"member-{number}", 1)
    client.close()
    time.sleep(seconds)
    return [house.__name__, number]


@app.task(acks_late=True)
def hop(trail, run, number):
    """One step of a chain: add who ran it to what came before."""
    client = _counters()
    client.hincrby(f"test:{run}", f"step-{number}", 1)
    client.close()
    return [*trail, house.__name__]


@app.task(acks_late=True)
def gathered(parts, run):
    """The body of a chord: count the run and hand on the parts."""
    client = _counters()
    client.hincrby(f"test:{run}", "body", 1)
    client.close()
    return parts
