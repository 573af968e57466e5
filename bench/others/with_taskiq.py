"""taskiq as its guide sets it up: acknowledged streams, results in Redis, two worker processes.

Its clients look for results; every 0.2 s by default, here every millisecond.
"""

import asyncio
import os

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["BENCH_BROKER"]
broker = RedisStreamBroker(URL)
if os.environ["BENCH_RESULTS"] == "yes":
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL))


@broker.task
async def noop() -> None:
    return None


@broker.task
async def add(x: int, y: int) -> int:
    return x + y


class Side:
    async def open(self):
        await broker.startup()

    async def queue(self, number):
        for first in range(0, number, 100):
            await asyncio.gather(*(noop.kiq() for _ in range(min(100, number - first))))

    async def send(self):
        await noop.kiq()

    async def call(self, x, y):
        return await value(await add.kiq(x, y), 60)

    async def group(self, number):
        sent = []
        for first in range(0, number, 100):
            wave = range(first, min(number, first + 100))
            sent += await asyncio.gather(*(add.kiq(i, i) for i in wave))
        return [await value(task, 300) for task in sent]


async def value(task, timeout):
    result = await task.wait_result(check_interval=0.001, timeout=timeout)
    return result.return_value
