"""RQ as its guide sets it up: a pool of two workers, each of which forks for every job."""

import os

import rq_tasks
from redis import Redis
from rq import Queue

IS_KEPT = os.environ["BENCH_RESULTS"] == "yes"


class Side:
    async def open(self):
        self.jobs = Queue(connection=Redis.from_url(os.environ["BENCH_BROKER"]))

    async def queue(self, number):
        ttl = None if IS_KEPT else 0
        for first in range(0, number, 1000):
            count = min(1000, number - first)
            self.jobs.enqueue_many(
                [Queue.prepare_data(rq_tasks.noop, result_ttl=ttl) for _ in range(count)]
            )

    async def send(self):
        self.jobs.enqueue(rq_tasks.noop, result_ttl=0)

    async def call(self, x, y):
        return value(self.jobs.enqueue(rq_tasks.add, x, y))

    async def group(self, number):
        jobs = self.jobs.enqueue_many(
            [Queue.prepare_data(rq_tasks.add, args=(i, i)) for i in range(number)]
        )
        return [value(job) for job in jobs]


def value(job):
    return job.latest_result(timeout=60).return_value
