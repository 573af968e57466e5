"""SAQ as its guide sets it up: two worker processes at their defaults.

Its clients look for results; every 0.5 s by default, here every millisecond, and every 20 ms where
each look reads a thousand.
"""

import asyncio
import os

from saq import Queue

queue = Queue.from_url(os.environ["BENCH_BROKER"])
# -1 keeps nothing of a job that has ended.
TTL = {} if os.environ["BENCH_RESULTS"] == "yes" else {"ttl": -1}


async def noop(_context):
    return None


async def add(_context, *, x, y):
    return x + y


settings = {"queue": queue, "functions": [noop, add]}


class Side:
    async def open(self):
        await queue.connect()

    async def queue(self, number):
        for first in range(0, number, 100):
            count = min(100, number - first)
            await asyncio.gather(*(queue.enqueue("noop", **TTL) for _ in range(count)))

    async def send(self):
        await queue.enqueue("noop", ttl=-1)

    async def call(self, x, y):
        return await queue.apply("add", timeout=60, poll_interval=0.001, x=x, y=y)

    async def group(self, number):
        members = [{"x": i, "y": i} for i in range(number)]
        return await queue.map("add", members, timeout=300, poll_interval=0.02)
