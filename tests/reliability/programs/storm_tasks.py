"""The app of the storm and of the table of guarantees, for umbel and, to compare, for Celery.

Everything comes from the environment. Each run of a task leaves a line in the trace at its begin
and at its end: one write each, so that a kill loses no more than what came after it.
"""

import json
import os
import signal
import time

if os.environ.get("STORM_SYSTEM") == "celery":
    from celery import Celery
else:
    from umbel import Celery

app = Celery("storm_tasks")
app.conf.update(json.loads(os.environ.get("STORM_SETTINGS") or "{}"))

_trace = os.open(os.environ["STORM_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def leave(kind, request, key):
    """One line: what, when, which task, whether it is a repetition, key."""
    delivery = request.delivery_info or {}
    again = int(bool(delivery.get("redelivered")))
    line = f"{kind} {time.time():.6f} {request.id} {request.retries} {again} {key}\n"
    os.write(_trace, line.encode())


@app.task(bind=True)
def work(self, key, seconds=0.0, value=None):
    leave("begin", self.request, key)
    time.sleep(seconds)
    leave("end", self.request, key)
    return value


@app.task(bind=True)
def step(self, value, key, seconds=0.0):
    """One more than what came from the step before."""
    leave("begin", self.request, key)
    time.sleep(seconds)
    leave("end", self.request, key)
    return value + 1


@app.task(bind=True)
def hop(self, value, key):
    """A step that is always short, so that the next one may begin before it is settled."""
    leave("begin", self.request, key)
    leave("end", self.request, key)
    return value + 1


@app.task(bind=True)
def total(self, values, key):
    """The body of a chord."""
    leave("begin", self.request, key)
    leave("end", self.request, key)
    return sum(values)


@app.task(bind=True, max_retries=3)
def stubborn(self, key, failures, value):
    """Succeeds after some retries."""
    leave("begin", self.request, key)
    if self.request.retries < failures:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    leave("end", self.request, key)
    return value


@app.task(bind=True)
def fragile(self, key, value, marker):
    """Kills its process at the first run."""
    leave("begin", self.request, key)
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        leave("end", self.request, key)
    return value


@app.task(bind=True)
def poison(self, key):
    """Kills its process at each run."""
    leave("begin", self.request, key)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def poison_tree(self, key):
    """Kills the whole worker at each run."""
    leave("begin", self.request, key)
    top = os.getpid()
    while True:
        with open(f"/proc/{top}/stat") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
        # Its processes share their folder with nobody; their titles may be changed.
        if os.readlink(f"/proc/{parent}/cwd") != os.getcwd():
            break
        top = parent
    os.kill(top, signal.SIGKILL)
    time.sleep(60)


@app.task(bind=True)
def fail(self, key):
    """Fails at each run."""
    leave("begin", self.request, key)
    raise ValueError(key)


@app.task
def deadly_errback(request, error, traceback, key):
    """An error callback, called where its task has failed, that kills who calls it."""
    leave("errback", request, key)
    os.kill(os.getpid(), signal.SIGKILL)


def die_of_reading():
    """What a pickled ``Deadly`` does when it is read."""
    os.write(_trace, f"read {time.time():.6f} - 0 0 deadly\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """An argument that kills who decodes it."""

    def __reduce__(self):
        return die_of_reading, ()


@app.task(bind=True, acks_late=False)
def once(self, key, seconds=0.0):
    """Runs at most once."""
    leave("begin", self.request, key)
    time.sleep(seconds)
    leave("end", self.request, key)


@app.task
def errback(request, error, traceback, key):
    """An error callback, called where its task has failed."""
    leave("errback", request, f"{key} {type(error).__name__}")
