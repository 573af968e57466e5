"""The shop's tasks. Nothing here knows whose worker runs them, or whose producer has sent them.

Where broker and results are is said by the environment (``CELERY_BROKER_URL`` and
``CELERY_RESULT_BACKEND``). Each task writes into a journal what it has done, on the same Redis, so
that what was lost and what was done twice shows, whatever the results say.
"""

from __future__ import annotations

import functools
import json
import os
import time

import redis
from celery import Celery

JOURNAL = "shop:journal"

app = Celery("shop")
app.conf.update(
    broker_connection_retry_on_startup=True,
    # What Celery's manual advises for work that must not be lost. The timeout is longer than any
    # eta here: Celery runs a task twice that waits for its eta longer than that.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"visibility_timeout": 3600},
    result_expires=3600,
)


@functools.cache
def journal():
    """A connection of this process; made at its first task, so that no fork shares it."""
    return redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])


def write_down(task, piece, seconds=0.0):
    """Work for so long, then note that a piece of work is done, by whom, and when."""
    time.sleep(seconds)
    journal().rpush(JOURNAL, json.dumps([piece, task.request.hostname, time.time()]))


@app.task(bind=True)
def order(self, piece, number, seconds=0.0):
    """A task that stands alone, or at the head of a chain, or in a chord."""
    write_down(self, piece, seconds)
    return number


@app.task(bind=True)
def step(self, number, piece, seconds=0.0):
    """A step of a chain: one more than what came before."""
    write_down(self, piece, seconds)
    return number + 1


@app.task(bind=True, max_retries=5)
def stubborn(self, piece, number):
    """Asks twice to be tried again."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.5)
    write_down(self, piece)
    return number


@app.task(bind=True)
def total(self, numbers, piece):
    """The body of a chord."""
    write_down(self, piece)
    return sum(numbers)
