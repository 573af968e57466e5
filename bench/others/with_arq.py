"""arq as its guide sets it up: two worker processes at their defaults, which look every 0.5 s.

Its clients look for results too; every 0.5 s by default, here every millisecond.
"""

import asyncio
import os

from arq import create_pool, func
from arq.connections import RedisSettings

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_BROKER"])
IS_KEPT = os.environ["BENCH_RESULTS"] == "yes"


async def noop(_context):
    return None


async def ignored(_context):
    return None


async def add(_context, x, y):
    return x + y


class WorkerSettings:
    redis_settings = SETTINGS
    functions = [noop if IS_KEPT else func(noop, keep_result=0), func(ignored, keep_result=0), add]


class Side:
    async def open(self):
        self.pool = await create_pool(SETTINGS)

    async def queue(self, number):
        for first in range(0, number, 100):
            count = min(100, number - first)
            await asyncio.gather(*(self.pool.enqueue_job("noop") for _ in range(count)))

    async def send(self):
        await self.pool.enqueue_job("ignored")

    async def call(self, x, y):
        job = await self.pool.enqueue_job("add", x, y)
        return await job.result(timeout=60, poll_delay=0.001)

    async def group(self, number):
        jobs = []
        for first in range(0, number, 100):
            wave = range(first, min(number, first + 100))
            jobs += await asyncio.gather(*(self.pool.enqueue_job("add", i, i) for i in wave))
        return [await job.result(timeout=300, poll_delay=0.001) for job in jobs]
