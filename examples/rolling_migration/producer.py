"""A producer: sends orders of all kinds at a constant rate until it is told to stop (SIGTERM).

    python producer.py NAME RATE BOOK

Into the file BOOK goes a line of JSON for everything that was accepted: the pieces of work that it
consists of, the value that it must give, and when it may begin. Now and then the producer waits for
a result itself, and ends with exit code 1 where that is not what it should be.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from pathlib import Path

from celery import chain, chord, group
from tasks import order, step, stubborn, total

PATIENCE_S = 60
# How often one sends what.
SHARES = {"plain": 8, "eta": 3, "retried": 2, "chain": 3, "chord": 3, "nested": 1}


def plain(key, dice):
    number = dice.randrange(1000)
    return order.si(key, number, dice.choice([0, 0.01, 0.1])), [key], number


def retried(key, dice):
    number = dice.randrange(1000)
    return stubborn.si(key, number), [key], number


def in_a_row(key, dice):
    """A chain."""
    pieces = [f"{key}.{place}" for place in range(dice.randint(3, 6))]
    first, *rest = pieces
    steps = (step.s(piece, dice.choice([0, 0.02])) for piece in rest)
    return chain(order.si(first, 0), *steps), pieces, len(rest)


def gathered(key, dice):
    """A chord; one member is a chain, one retries itself."""
    members = [f"{key}.{place}" for place in range(dice.randint(1, 5))]
    header = [
        *(order.si(piece, 1, dice.choice([0, 0.02])) for piece in members),
        chain(order.si(f"{key}.a", 1), step.s(f"{key}.b")),
        stubborn.si(f"{key}.again", 1),
    ]
    pieces = [*members, f"{key}.a", f"{key}.b", f"{key}.again", f"{key}.body"]
    return chord(header, total.s(f"{key}.body")), pieces, len(members) + 3


def nested(key, dice):
    """A chain with a chord in its middle."""
    members = [f"{key}.{place}" for place in range(dice.randint(2, 4))]
    pieces = [f"{key}.first", *members, f"{key}.body", f"{key}.last"]
    flow = chain(
        order.si(f"{key}.first", 1),
        group(step.s(piece) for piece in members),
        total.s(f"{key}.body"),
        step.s(f"{key}.last"),
    )
    return flow, pieces, 2 * len(members) + 1


MAKERS = {
    "plain": plain,
    "eta": plain,
    "retried": retried,
    "chain": in_a_row,
    "chord": gathered,
    "nested": nested,
}


def send_one(key, dice):
    """Send something; gives its line for the book, and its result."""
    [kind] = dice.choices(list(SHARES), SHARES.values())
    flow, pieces, value = MAKERS[kind](key, dice)
    delay_s = dice.uniform(1, 8) if kind == "eta" else 0
    at = time.time()
    result = flow.apply_async(countdown=delay_s) if delay_s else flow.apply_async()
    line = {"key": key, "kind": kind, "pieces": pieces, "value": value, "id": result.id}
    return {**line, "at": at, "due": at + delay_s}, result


def main(name, rate, path):
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    dice = random.Random(name)
    started = time.monotonic()
    with Path(path).open("w", buffering=1) as book:
        number = 0
        while not is_over.is_set():
            number += 1
            line, result = send_one(f"{name}-{number}", dice)
            book.write(json.dumps(line) + "\n")
            # What ends soon: while it waits, nothing is sent.
            if number % 10 == 0 and line["kind"] in ("plain", "chain"):
                found = result.get(timeout=PATIENCE_S)
                if found != line["value"]:
                    sys.exit(f"{line} gave {found}")
            behind_s = time.monotonic() - started - number / rate
            if behind_s > 0:
                started += behind_s  # what waiting has cost is not made up for
            is_over.wait(-behind_s)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
