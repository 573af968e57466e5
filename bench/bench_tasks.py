"""The tasks of the benchmarks, the same for Celery and umbel: BENCH_SYSTEM names the package."""

import importlib
import os
import time

system = importlib.import_module(os.environ.get("BENCH_SYSTEM", "umbel"))
group, chain, chord = system.group, system.chain, system.chord

app = system.Celery(
    "bench_tasks",
    broker=os.environ.get("BENCH_BROKER", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("BENCH_BACKEND", "redis://127.0.0.1:6379/0"),
)


@app.task
def noop():
    return None


@app.task(ignore_result=True)
def ignored():
    return None


@app.task
def add(x, y):
    return x + y


@app.task
def tsum(values):
    return sum(values)


@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds
