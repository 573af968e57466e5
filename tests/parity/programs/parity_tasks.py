"""The tasks that both houses run, each with its own worker; ``PARITY_HOUSE`` says which this is."""

import os
from importlib import import_module

house = import_module(os.environ["PARITY_HOUSE"])
import_module(f"{house.__name__}.result")
Celery, chain, chord, group = house.Celery, house.chain, house.chord, house.group

SERIALIZATION = {"celery": "kombu.utils.json", "umbel": "umbel.serialization"}


class Money:
    """Goes through JSON by its own word, and comes out as what that is."""

    def __init__(self, amount):
        self.amount = amount

    def __json__(self):
        return {"amount": self.amount}


class Point:
    """Goes through JSON as a registered type, and comes out as itself."""

    def __init__(self, x, y):
        self.x, self.y = x, y


import_module(SERIALIZATION[house.__name__]).register_type(
    Point, "point", lambda point: [point.x, point.y], lambda pair: Point(*pair)
)

app = Celery(
    "parity_tasks", broker=os.environ["PARITY_BROKER"], backend=os.environ["PARITY_BACKEND"]
)
app.conf.update(broker_connection_retry_on_startup=True, result_extended=True)

NOTES = os.environ["PARITY_NOTES"]


def note(label, text):
    """Leave one line behind, in one write."""
    with open(NOTES, "a") as file:
        file.write(f"{label} {text}\n")


def notes(label):
    """What was left behind under a label, sorted."""
    with open(NOTES) as file:
        return sorted(
            line.split(" ", 1)[1].strip() for line in file if line.startswith(f"{label} ")
        )


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def tsum(values):
    return sum(values)


@app.task
def ident(value=None):
    return value


@app.task
def const(value):
    return value


@app.task
def fail(*_ignored, **_also):
    raise ValueError("boom")


@app.task
def noted(*args, label):
    note(label, f"ran {args!r}")
    return args[0] if args else None


@app.task
def old_errback(task_id, *, label):
    note(label, "old")


@app.task
def new_errback(request, exc, traceback, label=None):
    note(label, f"new {type(exc).__name__}")


@app.task(bind=True, max_retries=5)
def flaky(self, failures, value=None):
    if self.request.retries < failures:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return self.request.retries if value is None else value


@app.task(bind=True)
def replaced(self, *given, by):
    """Replaced by another; gets 7 or what came before."""
    x = given[-1] if given else 7
    if isinstance(x, list):
        x = sum(x)
    return self.replace(
        {
            "task": lambda: add.s(x, 100),
            "chain": lambda: chain(add.s(x, 1), mul.s(10)),
            "group": lambda: group(add.s(x, 1), add.s(x, 2)),
            "chord": lambda: chord([add.s(x, 1), add.s(x, 2)], tsum.s()),
            "failing": lambda: fail.s(x),
            "immutable": lambda: add.si(x, 1000),
            "again": lambda: replaced.s(x, by="task"),
            "chain of group": lambda: chain(const.s(x), group(add.s(1), add.s(2))),
        }[by]()
    )


def stamps_seen(request):
    """The stamps of a request, without those that a house adds of its own."""
    stamps = request.stamps or {}
    return {
        name: sorted(stamps[name]) if isinstance(stamps[name], list) else stamps[name]
        for name in sorted(stamps)
    }


@app.task(bind=True)
def stamped(self, *_given, label):
    note(label, f"stamps {stamps_seen(self.request)}")
    return 1


@app.task(bind=True, max_retries=2)
def stamped_retry(self, *_given, label):
    note(label, f"try {self.request.retries} {stamps_seen(self.request)}")
    if not self.request.retries:
        raise self.retry(countdown=0)
    return 1


@app.task(bind=True)
def stamped_replace(self, *_given, label, by):
    note(label, f"before {stamps_seen(self.request)}")
    instead = {
        "task": lambda: stamped.s(label=label),
        "chain": lambda: chain(stamped.s(label=label), stamped.s(label=label)),
        "group": lambda: group(stamped.s(label=label), stamped.s(label=label)),
    }[by]()
    return self.replace(instead)


@app.task
def stamped_fail(*_given):
    raise ValueError("boom")


@app.task(bind=True)
def stamped_errback(self, task_id, *, label):
    note(label, f"errback {stamps_seen(self.request)}")


@app.task
def sends(n, depth=1):
    """Has children, and they have some."""
    for number in range(n):
        if depth:
            sends.delay(n, depth - 1)
        else:
            add.delay(number, number)
    return f"sent {n} at {depth}"


@app.task
def waits_for_another():
    return add.delay(1, 1).get()


@app.task
def waits_allowed():
    return add.delay(1, 1).get(disable_sync_subtasks=False, timeout=10)


@app.task(bind=True)
def grows(self, *_given):
    self.add_to_chord(add.s(10, 10))
    return 1


@app.task
def quiet():
    return 1


@app.task(bind=True)
def place(self, *_given):
    """Where the task stands in its group."""
    return self.request.group_index


@app.task
def described(value):
    """What came, and back."""
    return [type(value).__name__, value.x if isinstance(value, Point) else value]


@app.task
def money(amount):
    return {"paid": [Money(amount), Point(amount, 2)]}
