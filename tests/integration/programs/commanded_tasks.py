"""An app with commands of its own, and tasks to be looked at and ended."""

import os
import time

from umbel import Celery
from umbel.control.commands import control_command, inspect_command
from umbel.exceptions import SoftTimeLimitExceeded

app = Celery("commanded_tasks")
app.conf.worker_pool_restarts = True
app.conf.worker_enable_remote_control = "DEAF" not in os.environ


@app.task
def add(x, y):
    return x + y


@app.task(rate_limit="1000/s")
def limited(x):
    return x


@app.task
def nap(seconds, value=None):
    time.sleep(seconds)
    return value


@app.task
def patient(seconds):
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "interrupted"
    return "undisturbed"


@app.task
def version():
    """What the file beside the database said when the app was imported."""
    return VERSION


def _version():
    path = os.environ.get("VERSION_FILE", "")
    return open(path).read() if path else ""


VERSION = _version()


@inspect_command(args=[("x", int)], signature="[X]")
def double(state, x=1):
    """Twice as much."""
    return {"x": 2 * x, "app": state.app.main, "node": state.hostname}


@control_command(name="raise_it")
def _raise_it(state, **_):
    raise ValueError("as asked")


@inspect_command
def odd(state):
    return {"odd": object, "pid": os.getpid()}
