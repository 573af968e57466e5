"""Servers come and go: worker and producer go on, nothing is lost, nothing spins."""

import threading
import time

import pytest
from rig import cpu_s, family, until
from sending import Sending

from umbel import chord

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


def test_connections_are_cut_again_and_again_while_chords_run(bench):
    bench.start_worker()
    bench.start_worker()
    flows = [
        chord(
            [bench.tasks.work.si(f"c{place}-{n}", 0.01, n) for n in range(60)],
            bench.tasks.total.s(f"c{place}-body"),
        ).apply_async()
        for place in range(5)
    ]

    while not all(flow.ready() for flow in flows):
        bench.server.say("CLIENT KILL TYPE normal SKIPME yes")
        threading.Event().wait(0.05)
        assert len(bench.trace.begun()) <= 5 * 61

    assert [flow.get(timeout=10) for flow in flows] == [sum(range(60))] * 5
    assert set(bench.trace.begun().values()) == {1}
    assert not any(bench.depth())


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


def test_a_master_fails_over_to_its_replica(bench_of, start_redis, tmp_path):
    master = start_redis("--appendonly", "no", "--repl-diskless-sync-delay", "0")
    replica = start_redis("--replicaof", "127.0.0.1", str(master.port))
    until(lambda: b"master_link_status:up" in replica.say("INFO replication"))
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds mymaster 500\n"
        "sentinel failover-timeout mymaster 2000\n"
    )
    sentinel = start_redis("--sentinel", config=config)
    until(lambda: b"num-slaves" in sentinel.say("SENTINEL MASTERS"))
    until(lambda: f"{replica.port}".encode() in sentinel.say("SENTINEL REPLICAS mymaster"), 30)
    url = f"sentinel://127.0.0.1:{sentinel.port}/0"
    options = {"master_name": "mymaster"}
    bench = bench_of(
        "redis",
        settings={
            **SETTINGS,
            "broker_url": url,
            "result_backend": url,
            "broker_transport_options": options,
            "result_backend_transport_options": options,
        },
    )
    worker = bench.start_worker()
    long_one = bench.tasks.work.delay("long", 8, "long")

    with Sending(bench) as sending:
        # What the master has told nobody is lost with it: let the replica have all of it.
        sending.pause_s = 0.5
        threading.Event().wait(1.0)
        master.kill()
        until(lambda: b"role:master" in replica.say("INFO replication"), 30)
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 5, 60)

    begun = sending.check()
    assert long_one.get(timeout=30) == "long"
    assert max(begun.values()) == 1
    assert worker.is_running


JUMP = """
local time = redis.call('TIME')
redis.call('SET', 'umbel:swept', time[1] + ARGV[1])
for _, consumer in ipairs(redis.call('ZRANGE', 'umbel:consumers', 0, -1)) do
  redis.call('ZADD', 'umbel:consumers', time[1] - 3600, consumer)
end
"""


def test_the_clock_of_the_server_jumps_and_nobody_is_given_up(bench):
    # The last sweep lies in the future, and then long ago; all leases have passed by this clock.
    bench.start_worker()
    bench.start_worker()
    long_one = bench.tasks.work.delay("long", 9, "long")
    until(lambda: "long" in bench.trace.begun())
    script = " ".join(JUMP.split())

    for ahead_s in (3600, -3600):
        bench.server.say(f'EVAL "{script}" 0 {ahead_s}')
        threading.Event().wait(2.5)

    assert long_one.get(timeout=20) == "long"
    assert bench.trace.begun() == {"long": 1}
