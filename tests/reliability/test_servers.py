"""Servers come and go: worker and producer go on, nothing is lost, nothing spins."""

import threading
import time

import pytest
from rig import cpu_s, family, until
from sending import Sending

pytestmark = [pytest.mark.slow, pytest.mark.redis]
SETTINGS = {"broker_connection_timeout": 2.0}


@pytest.fixture
def bench(bench_of):
    return bench_of("redis", settings=SETTINGS)


def test_redis_is_killed_and_comes_back(bench):
    worker = bench.start_worker()

    with Sending(bench) as sending:
        for _ in range(2):
            bench.server.kill()
            threading.Event().wait(1.0)
            bench.server.start()
            before = len(sending.accepted)
            until(lambda before=before: len(sending.accepted) > before + 30)

    begun = sending.check()
    assert worker.is_running
    assert max(begun.values()) == 1
    assert worker.log.count("Connection to broker") <= 4  # lost and back, for each of two


def test_an_absent_redis_is_waited_for_without_spinning(bench):
    worker = bench.start_worker()
    bench.tasks.work.delay("before").get(timeout=10)
    bench.server.kill()
    until(lambda: "Connection to broker" in worker.log)
    processes = family(worker.pid)
    used = cpu_s(processes)
    lines = worker.log.count("\n")

    threading.Event().wait(5)

    assert cpu_s(processes) - used < 0.5
    assert worker.log.count("\n") - lines < 10
    bench.server.start()
    assert bench.tasks.work.delay("after", 0, 7).get(timeout=20) == 7
    assert worker.is_running


def test_redis_is_frozen_for_longer_than_every_lease(bench):
    worker = bench.start_worker()
    long_one = bench.tasks.work.delay("long", 18, "long")
    until(lambda: "long" in bench.trace.begun())
    processes = family(worker.pid)

    with Sending(bench) as sending:
        used = cpu_s(processes)
        bench.server.freeze()
        threading.Event().wait(15)
        bench.server.thaw()
        spent = cpu_s(processes) - used
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 20)

    begun = sending.check()
    assert long_one.get(timeout=20) == "long"
    assert bench.trace.begun()["long"] == 1
    assert max(begun.values()) == 1
    assert spent < 2


def test_connections_are_cut_again_and_again(bench):
    worker = bench.start_worker()

    with Sending(bench) as sending:
        for _ in range(16):
            bench.server.say("CLIENT KILL TYPE normal SKIPME yes")
            threading.Event().wait(0.2)

    begun = sending.check()
    assert worker.is_running
    assert max(begun.values()) == 1


def test_redis_is_full_for_a_while(bench):
    worker = bench.start_worker()

    with Sending(bench) as sending:
        used = bench.server.say("CONFIG SET maxmemory 1")
        assert used.startswith(b"+OK")
        until(lambda: len(sending.refused) > 3, 30)
        full = time.monotonic()
        processes = family(worker.pid)
        spent = cpu_s(processes)
        threading.Event().wait(3)
        spent = cpu_s(processes) - spent
        assert bench.server.say("CONFIG SET maxmemory 0").startswith(b"+OK")
        assert time.monotonic() - full >= 3
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 20)

    begun = sending.check()
    assert worker.is_running
    assert max(begun.values()) == 1
    assert spent < 2


def test_a_worker_starts_when_redis_is_not_there_yet(bench):
    bench.server.kill()
    worker = bench.start_worker(is_ready=False)
    threading.Event().wait(1.5)
    bench.server.start()

    worker.wait_until_ready()

    assert bench.tasks.work.delay("first", 0, 1).get(timeout=10) == 1


def test_redis_is_a_read_only_replica_for_a_while(bench):
    # As after a failover: the address is the same, but writes are refused until it is promoted.
    worker = bench.start_worker()

    with Sending(bench) as sending:
        bench.server.say("REPLICAOF 127.0.0.1 1")
        threading.Event().wait(3.0)
        bench.server.say("REPLICAOF NO ONE")
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 30)

    begun = sending.check()
    assert worker.is_running
    assert max(begun.values()) == 1


def test_a_worker_that_is_lost_in_an_outage_is_made_up_for_within_10_s_of_its_end(bench):
    lost = bench.start_worker(concurrency=1)
    long_ones = [bench.tasks.work.delay("lost", 0.5, "lost")]
    until(lambda: "lost" in bench.trace.begun())
    lost.freeze()
    healthy = bench.start_worker(concurrency=2)
    long_ones.append(bench.tasks.work.delay("healthy", 20, "healthy"))
    until(lambda: "healthy" in bench.trace.begun())

    bench.server.kill()
    lost.kill_all()
    # So long that the pauses between attempts are at their longest.
    threading.Event().wait(7)
    bench.server.start()
    back = time.monotonic()

    assert long_ones[0].get(timeout=30) == "lost"
    assert time.monotonic() - back < 10
    assert long_ones[1].get(timeout=30) == "healthy"
    assert bench.trace.begun() == {"lost": 2, "healthy": 1}
    assert healthy.log.count("Connection to broker") <= 2


def test_redis_is_loading_for_a_while(bench):
    # A big append-only file, read slowly: the server is there, and answers LOADING to everything.
    fill = "for i = 1, 20000 do redis.call('SET', 'fill:' .. i, 'x') end"
    bench.server.say(f'EVAL "{fill}" 0')
    bench.server.arguments += ("--key-load-delay", "150")
    bench.server.arguments += ("--loading-process-events-interval-bytes", "1024")
    worker = bench.start_worker()
    processes = family(worker.pid)

    with Sending(bench) as sending:
        bench.server.kill()
        spent, down = cpu_s(processes), time.monotonic()
        bench.server.start()
        loading_s = time.monotonic() - down
        spent = cpu_s(processes) - spent
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 30)

    begun = sending.check()
    assert loading_s > 2, "it was loaded too fast to tell"
    assert "LOADING" in worker.log
    assert worker.is_running
    assert max(begun.values()) == 1
    assert worker.log.count("Connection to broker") <= 2
    assert spent < loading_s / 4


def test_a_worker_starts_while_redis_is_loading(bench):
    fill = "for i = 1, 20000 do redis.call('SET', 'fill:' .. i, 'x') end"
    bench.server.say(f'EVAL "{fill}" 0')
    bench.server.arguments += ("--key-load-delay", "150")
    bench.server.arguments += ("--loading-process-events-interval-bytes", "1024")
    waiting = bench.tasks.work.delay("waiting", 0, 1)
    bench.server.kill()
    loading = threading.Thread(target=bench.server.start)
    loading.start()

    worker = bench.start_worker(is_ready=False)
    loading.join()
    worker.wait_until_ready()

    assert waiting.get(timeout=10) == 1
