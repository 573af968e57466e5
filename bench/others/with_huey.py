"""Huey as its guide sets it up: RedisHuey and a consumer of two processes.

Results are announced where a client waits for one; by default it would look, every 0.1 s and more.
"""

import os

from huey import RedisHuey

huey = RedisHuey(
    "bench",
    url=os.environ["BENCH_BROKER"],
    results=os.environ["BENCH_RESULTS"] == "yes",
    store_none=True,
    notify_result=os.environ["BENCH_WAITED"] == "yes",
)


@huey.task()
def noop():
    return None


@huey.task()
def add(x, y):
    return x + y


class Side:
    async def open(self):
        pass

    async def queue(self, number):
        for _ in range(number):
            noop()

    async def send(self):
        noop()

    async def call(self, x, y):
        return add(x, y).get(blocking=True, timeout=60)

    async def group(self, number):
        return add.map([(i, i) for i in range(number)]).get(blocking=True, timeout=300)
