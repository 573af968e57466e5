"""Sends all the time, in all shapes, until it is killed: ``storm_producer.py <name> <log>``.

The log has a line before each call and one behind it: what is said to be sent has been accepted.
"""

import os
import sys
from itertools import count

from storm_tasks import step, total, work

if os.environ.get("STORM_SYSTEM") == "celery":
    from celery import chain, chord, group
else:
    from umbel import chain, chord, group

WIDTH = 40


def canvas_of(key, kind):
    """A call of a kind; its first tasks are named ``<key>-0``, ``<key>-1`` and so on."""
    if kind == "task":
        return work.si(f"{key}-0", 0, 1)
    if kind == "chain":
        return chain(work.si(f"{key}-0", 0, 1), *[step.s(f"{key}-step-{n}") for n in "abc"])
    header = [work.si(f"{key}-{n}", 0, n) for n in range(WIDTH)]
    return group(header) if kind == "group" else chord(header, total.s(f"{key}-body"))


def main():
    name, path = sys.argv[1:]
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for number in count():
        kind = ("task", "group", "chain", "chord")[number % 4]
        key = f"{name}-{number}-{kind}"
        os.write(log, f"try {key}\n".encode())
        canvas_of(key, kind).apply_async()
        os.write(log, f"sent {key}\n".encode())


if __name__ == "__main__":
    main()
