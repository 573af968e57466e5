"""Dramatiq as its guide sets it up: Redis broker, results middleware, two processes, 16 threads."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["BENCH_BROKER"]
IS_KEPT = os.environ["BENCH_RESULTS"] == "yes"
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=IS_KEPT)
def noop():
    return None


@dramatiq.actor
def ignored():
    return None


@dramatiq.actor(store_results=True)
def add(x, y):
    return x + y


class Side:
    async def open(self):
        pass

    async def queue(self, number):
        for _ in range(number):
            noop.send()

    async def send(self):
        ignored.send()

    async def call(self, x, y):
        return add.send(x, y).get_result(block=True, timeout=60_000)

    async def group(self, number):
        members = dramatiq.group(add.message(i, i) for i in range(number)).run()
        return list(members.get_results(block=True, timeout=300_000))
