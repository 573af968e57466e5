"""An app that writes down each signal that its processes send, and what comes with it."""

import json
import os

from umbel import Celery, Task
from umbel.app import signals

app = Celery("telling_tasks")


def write(signal, sender, **facts):
    told = {"signal": signal.name, "pid": os.getpid(), "arguments": sorted(facts)}
    for name in (
        "sig",
        "how",
        "exitcode",
        "name",
        "id",
        "task_id",
        "terminated",
        "expired",
        "state",
    ):
        if name in facts:
            told[name] = facts[name]
    request = facts.get("request")
    told["request"] = getattr(request, "id", None) and [request.id, getattr(request, "name", None)]
    told["sender"] = getattr(sender, "name", None) or str(sender)
    with open(os.environ["UMBEL_TEST_TOLD"], "a") as file:
        file.write(json.dumps(told, default=str) + "\n")


HEARD = [
    each
    for each in vars(signals).values()
    if isinstance(each, signals.Signal) and each.name != "setup_logging"
]
for each in HEARD:
    each.connect(write, weak=False)


def fall_silent():
    """Write nothing more: for a test's process, which goes on with other apps."""
    for each in HEARD:
        each.disconnect(write)


class Leaving(Task):
    def on_success(self, *facts):
        raise SystemExit("in a hook")


@app.task
def succeeds():
    return 1


@app.task
def fails():
    raise ValueError


@app.task(bind=True, max_retries=1)
def retries(self):
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task(base=Leaving)
def leaves():
    return 1
