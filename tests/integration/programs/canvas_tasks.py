"""The app that the integration tests run: broker and results come from the environment."""

import os
import time

from umbel import Celery, chain, chord, group

app = Celery("canvas_tasks")


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
def const(x):
    return x


@app.task
def fail(message="boom"):
    raise ValueError(message)


@app.task
def note(path, text):
    """Leave a trace of the run: one line, in one write."""
    with open(path, "a", buffering=1) as file:
        file.write(f"{os.getpid()} {text}\n")
    return text


@app.task
def nap(seconds, value=None):
    time.sleep(seconds)
    return value


@app.task
def say(text):
    print(f"hello {text}")


@app.task(bind=True, max_retries=3)
def flaky(self, failures):
    if self.request.retries < failures:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return self.request.retries


@app.task(bind=True)
def flaky_later(self):
    raise self.retry(exc=ValueError("not yet"), countdown=1)


@app.task(bind=True)
def replaced_by_task(self, x):
    return self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_chain(self, x):
    return self.replace(chain(add.s(x, 1), mul.s(10)))


@app.task(bind=True)
def replaced_by_group(self, x):
    return self.replace(group(add.s(x, 1), add.s(x, 2)))


@app.task(bind=True)
def replaced_by_chord(self, x):
    return self.replace(chord([add.s(x, 1), add.s(x, 2)], tsum.s()))


@app.task(bind=True)
def grows(self):
    self.add_to_chord(add.s(10, 10))
    return 1


@app.task(bind=True)
def whoami(self):
    request = self.request
    return {"id": request.id, "hostname": request.hostname, "pid": os.getpid()}


@app.task
def children(n):
    for i in range(n):
        add.delay(i, i)
    return n


@app.task
def die():
    """Poison: kills the process that runs it."""
    os.kill(os.getpid(), 9)


@app.task
def die_once(path):
    """Kills its process the first time."""
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        os.kill(os.getpid(), 9)
    return "survived"


@app.task(acks_late=False)
def die_early(path):
    """At most once, and it dies."""
    with open(path, "a") as file:
        file.write("run\n")
    os.kill(os.getpid(), 9)


@app.task(time_limit=1)
def too_long():
    time.sleep(60)


@app.task(bind=True, soft_time_limit=0.5)
def soft_limited(self):
    from umbel.exceptions import SoftTimeLimitExceeded

    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"
