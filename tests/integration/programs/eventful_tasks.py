"""Tasks that end in every way, for tests that watch their events."""

import os
import time

from umbel import Celery
from umbel.model.errors import Ignore, Reject

app = Celery("eventful", set_as_current=False)
app.conf.task_send_sent_event = bool(os.environ.get("SENT_EVENTS"))
app.conf.worker_redirect_stdouts = False


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.fail")
def fail():
    raise ValueError("boom", 42)


@app.task(name="t.flaky", bind=True)
def flaky(self):
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return self.request.retries


@app.task(name="t.reject")
def reject():
    raise Reject("no thanks", requeue=False)


@app.task(name="t.ignore")
def ignore():
    raise Ignore()


@app.task(name="t.sleep")
def sleep(seconds):
    time.sleep(seconds)


@app.task(name="t.progress", bind=True)
def progress(self):
    self.send_event("task-progress", done=3)
    return "done"


@app.task(name="t.quiet", send_events=False)
def quiet():
    return "nobody hears of it"


@app.task(name="t.die")
def die():
    os._exit(1)
