"""The SQLite file itself: where it is, what goes wrong with it, who shares it."""

import gc
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from umbel.engines.opening import open_pair
from umbel.engines.sqlite import location
from umbel.engines.sqlite.connection import SCHEMA_VERSION, Connection
from umbel.engines.sqlite.location import location_of
from umbel.engines.sqlite.queries import SQL
from umbel.model.clock import monotonic_s
from umbel.model.errors import ImproperlyConfigured, LeaseLost, OperationalError, QueueNotFound
from umbel.model.history import deaths
from umbel.model.lease import Loss
from umbel.model.settlement import Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions
from umbel.testing.conformance.harness import (
    document,
    drain,
    lease,
    message,
    messages,
    names,
)

OPTIONS = EngineOptions()
IMPATIENT = EngineOptions(reply_timeout_s=0.2)
POLICY = SweepPolicy(lease_s=60, interval_s=1, max_deliveries=5, poison=b"p", begun=b"b")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "umbel.db"


@pytest.fixture
def connect(path):
    """Open a pair on the file of this test; all are closed with it."""
    pairs = []

    def connect(options=OPTIONS, query=""):
        url = f"sqlite:///{path}{query}"
        pairs.append(open_pair(url, url, options, options))
        return pairs[-1]

    yield connect
    for pair in pairs:
        pair.broker.close()
        pair.store.close()


def run_in_child(step):
    """Fork, run a function there, and give the exit code: 0 if it returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            step()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# - Where it is


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///some.db", "some.db"),
        ("sqlite:///folder/some.db", "folder/some.db"),
        ("sqlite://", "umbel.db"),
        ("sqlite:///with%20blank.db", "with blank.db"),
        ("sqlite:////absolute/some.db", "/absolute/some.db"),
        ("sqlite:///some.db?synchronous=normal", "some.db"),
    ],
)
def test_a_url_names_a_file(url, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    found = location_of(url, OPTIONS)

    assert found.path == os.path.join(os.path.realpath(tmp_path), expected)
    assert found.url == f"sqlite:///{found.path}"


def test_links_lead_to_one_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    one = location_of(f"sqlite:///{tmp_path}/umbel.db", OPTIONS)
    other = location_of(f"sqlite:///{tmp_path}/link/umbel.db", OPTIONS)

    assert one == other


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://umbel.db", "names a host"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a.db?sync=off", "'sync'"),
        ("sqlite:///a.db?synchronous=off", "'full'"),
    ],
)
def test_a_url_that_can_not_be_meant_is_refused(url, words):
    with pytest.raises(ImproperlyConfigured, match=words):
        location_of(url, OPTIONS)


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\nserver:/x /srv/far\\040away nfs4 rw 0 0\n")
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    location._file_system.cache_clear()

    with pytest.raises(ImproperlyConfigured, match="nfs4"):
        location_of("sqlite:////srv/far%20away/deep/umbel.db", OPTIONS)

    assert location_of("sqlite:////srv/far/umbel.db", OPTIONS).path == "/srv/far/umbel.db"
    location._file_system.cache_clear()


@pytest.mark.parametrize(
    ("query", "transport", "level"),
    [
        ("", {}, 2),
        ("?synchronous=full", {"synchronous": "normal"}, 2),
        ("?synchronous=normal", {}, 1),
        ("", {"synchronous": "NORMAL"}, 1),
    ],
)
def test_a_publish_waits_for_the_disk_unless_told_otherwise(connect, query, transport, level):
    broker = connect(EngineOptions(transport=transport), query).broker

    def synchronous():
        with broker._connection.reading() as sql:
            return sql.execute("PRAGMA synchronous").fetchone()[0]

    broker.publish(messages("a"))
    published = synchronous()
    broker.enlist("w.0.1", 60)
    enlisted = synchronous()

    assert (published, enlisted) == (level, 1)


# - What goes wrong with it


def test_the_database_of_another_program_is_refused(path, connect):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()

    with pytest.raises(ImproperlyConfigured, match="another program"):
        connect().broker.publish(messages("a"))


def test_the_file_of_a_newer_umbel_is_refused(path, connect):
    connect().broker.publish(messages("a"))
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()

    with pytest.raises(ImproperlyConfigured, match="newer umbel"):
        connect().broker.publish(messages("a"))


@pytest.mark.parametrize("layout", [1, 2])
def test_a_file_of_an_older_layout_is_brought_up_to_date(layout, path, connect):
    connect().broker.publish(messages("a b"))
    with sqlite3.connect(path) as sql:
        # As umbel left it before it told the deaths of a message, and before it had a bus.
        for table, column in (("messages", "tries"), ("messages", "history"), ("dead", "history")):
            sql.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("notices", "boxes", "answers") if layout == 1 else ():
            sql.execute(f"DROP TABLE {table}")
        sql.execute(f"PRAGMA user_version = {layout}")
    sql.close()

    broker = connect().broker
    broker.enlist("w.0.1", 60)
    held = lease(broker, "w.0.1", 1)
    broker.recover("w.0.1", [Loss(held[0].token, how="pid 1")], POLICY)
    broker.enlist("w.0.2", 60)
    leases = lease(broker, "w.0.2")

    assert names(leases) == "a b"
    assert [len(deaths(each.history)) for each in leases] == [1, 0]
    with sqlite3.connect(path) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert sql.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    sql.close()


def test_a_file_that_is_no_database_is_explained(path, connect):
    path.write_bytes(b"shopping list: milk, eggs" * 100)

    with pytest.raises(OperationalError, match="no SQLite database") as caught:
        connect().broker.publish(messages("a"))

    assert str(path) in str(caught.value)


def test_a_missing_folder_is_explained(tmp_path):
    pair = open_pair(f"sqlite:///{tmp_path}/nowhere/umbel.db", None)

    with pytest.raises(OperationalError, match="nowhere of sqlite.* does not exist"):
        pair.broker.publish(messages("a"))

    pair.broker.close()


def test_a_locked_file_is_an_error_within_a_bounded_time(path, connect):
    broker = connect(IMPATIENT).broker
    broker.publish(messages("a"))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    started = monotonic_s()

    with pytest.raises(OperationalError, match=r"locked for 0\.2 s"):
        broker.publish(messages("b"))
    waited = monotonic_s() - started
    blocker.execute("ROLLBACK")
    blocker.close()
    broker.publish(messages("c"))

    assert waited < 3
    assert broker.peek("q", 9) == [b"a", b"c"]


def test_a_full_disk_is_explained_and_nothing_is_written(connect):
    broker = connect().broker
    broker.publish(messages("a"))
    with broker._connection.reading() as sql:
        pages = sql.execute("PRAGMA page_count").fetchone()[0]
        sql.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(OperationalError, match="disk is full"):
        broker.publish([message("b")._replace(raw=bytes(200_000)), *messages("c")])
    with broker._connection.reading() as sql:
        sql.execute("PRAGMA max_page_count = 1000000")
    broker.publish(messages("d"))

    assert broker.peek("q", 9) == [b"a", b"d"]


def test_a_removed_file_is_noticed_by_who_writes(path, connect):
    broker = connect().broker
    broker.publish(messages("a"))
    for leftover in path.parent.glob("umbel.db*"):
        if leftover.is_file():
            leftover.unlink()

    with pytest.raises(OperationalError, match="removed or replaced"):
        broker.publish(messages("b"))
    broker.publish(messages("c"))

    assert broker.peek("q", 9) == [b"c"]
    assert connect().broker.peek("q", 9) == [b"c"]


def test_a_removed_file_is_noticed_by_an_idle_consumer(path, connect):
    broker = connect().broker
    broker.enlist("w.0.1", 60)
    for leftover in path.parent.glob("umbel.db*"):
        if leftover.is_file():
            leftover.unlink()

    with pytest.raises(LeaseLost):
        lease(broker, "w.0.1")


def test_an_exchange_that_leads_nowhere_is_refused(connect):
    broker = connect().broker

    with pytest.raises(QueueNotFound, match="no queue is bound to exchange 'x'"):
        broker.publish([message("a"), message("b", "")._replace(exchange="x", routing_key="k")])

    assert broker.depth("q").ready == 0


def test_an_error_in_a_transaction_rolls_it_back(path):
    connection = Connection(location_of(f"sqlite:///{path}", OPTIONS))

    def fail():
        with connection.writing() as sql:
            sql.execute(SQL["note_sweep"], (1.0,))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with connection.writing() as sql:
        found = sql.execute(SQL["last_sweep"]).fetchone()
    connection.close()

    assert found is None


# - Who shares it


def test_many_processes_may_make_the_file_at_once(path, connect):
    reading, writing = os.pipe()

    def make(number):
        os.read(reading, 1)
        connect().broker.publish(messages(f"m{number}"))

    pids = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                make(number)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    os.write(writing, b"g" * 6)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    os.close(reading)
    os.close(writing)

    assert codes == [0] * 6
    assert sorted(connect().broker.peek("q", 9)) == [b"m%d" % number for number in range(6)]


def test_several_producers_and_consumers_run_each_message_once(connect):
    number = 300

    def produce(name):
        broker = connect().broker
        for place in range(number):
            broker.publish(messages(f"{name}{place}"))

    def consume(name):
        pair = connect()
        pair.broker.enlist(f"{name}.0.1", 60)
        settlements, mine = [], []
        while True:
            _, leases = pair.broker.cycle(f"{name}.0.1", settlements, ("q",), 8)
            mine += [held.raw.decode() for held in leases]
            settlements = [
                Settlement(held.token, documents=(document(held.raw.decode()),)) for held in leases
            ]
            if not leases and not pair.broker.wait(("q",), 0.3, None):
                return mine

    with ThreadPoolExecutor(5) as pool:
        producers = [pool.submit(produce, name) for name in "ab"]
        consumers = [pool.submit(consume, name) for name in "uvw"]
        for each in producers:
            each.result(60)
        ran = sorted(name for each in consumers for name in each.result(60))

    assert ran == sorted(f"{name}{place}" for name in "ab" for place in range(number))


def test_a_fork_in_the_middle_of_another_threads_transaction_is_safe(path, connect):
    broker = connect().broker
    broker.publish(messages("a"))
    connection = broker._connection
    is_inside, may_end = threading.Event(), threading.Event()

    def hold():
        with connection.writing() as sql:
            sql.execute(SQL["note_sweep"], (5.0,))
            is_inside.set()
            may_end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    is_inside.wait(10)
    threading.Timer(0.2, may_end.set).start()
    code = run_in_child(lambda: broker.publish(messages("child")))
    thread.join(10)
    broker.publish(messages("parent"))

    assert code == 0
    assert broker.peek("q", 9) == [b"a", b"child", b"parent"]
    with connection.reading() as sql:
        assert sql.execute(SQL["last_sweep"]).fetchone() == (5.0,)
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_worker_is_given_up_at_once(connect):
    broker = connect().broker
    broker.publish(messages("a"))

    def claim():
        mine = connect().broker
        mine.enlist("w.0.1", 60)
        lease(mine, "w.0.1")
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_in_child(claim) == -signal.SIGKILL
    # Even the first sweep of all, which gives everybody who may live a new lease.
    swept = broker.sweep(POLICY)

    assert swept.consumers == ("w.0.1",)
    broker.enlist("v.0.1", 60)
    assert names(drain(broker, "v.0.1")) == "a"


def test_a_worker_lives_while_one_of_its_processes_does(connect):
    broker, supervisor = connect().broker, connect().broker

    def claim():
        mine = connect().broker
        mine.enlist("w.0.1", 60)
        os.kill(os.getpid(), signal.SIGKILL)

    # What holds the lock here is the supervisor's heartbeat.
    supervisor.renew(["w.0.1"], 60)
    run_in_child(claim)
    while_alive = broker.sweep(POLICY).consumers
    supervisor.close()
    afterwards = broker.sweep(POLICY).consumers

    assert while_alive == ()
    assert afterwards == ("w.0.1",)


def test_a_sweep_does_not_break_its_own_workers_lock(connect):
    mine, other = connect().broker, connect().broker
    mine.enlist("w.0.1", 60)

    # On the same connection, and on another one of the same process.
    assert mine.sweep(POLICY).consumers == ()
    assert connect().broker.sweep(POLICY).consumers == ()
    assert other.sweep(POLICY).consumers == ()


def test_a_frozen_worker_is_given_up_by_time(path, connect):
    broker = connect().broker
    broker.enlist("w.0.1", 0.2)
    policy = POLICY._replace(lease_s=0.2, interval_s=0.5)
    broker.sweep(policy)

    threading.Event().wait(0.3)

    assert connect().broker.sweep(policy).consumers == ("w.0.1",)


def test_it_is_known_whether_a_worker_has_the_file_open(path, connect):
    producer, worker = connect().broker, connect().broker
    before = producer.workers()
    worker.enlist("w.0.1", 60)
    during = producer.workers()
    worker.close()

    assert (before, during, producer.workers()) == ([], ["w"], [])


def test_the_files_of_workers_that_are_gone_are_deleted(connect, path):
    gone, alive = connect().broker, connect().broker
    for broker, consumer in ((gone, "w.0.1"), (alive, "v.0.1")):
        broker.enlist(consumer, 60)
        broker.retire(consumer)
    gone.close()

    connect().broker.sweep(POLICY)

    assert [found.name for found in path.parent.glob("umbel.db-peers/*.lock")] == ["v.lock"]


def test_a_consumer_retired_while_its_task_had_begun_is_judged_by_the_next_sweep(connect):
    from umbel.model.settlement import Fate

    broker = connect().broker
    broker.enlist("w.0.1", 60)
    broker.publish(messages("a"))
    (held,) = lease(broker, "w.0.1")
    broker.cycle("w.0.1", [Settlement(held.token, Fate.BEGUN)], ("q",), 0)

    broker.retire("w.0.1")
    broker.enlist("w.0.2", 60)
    early = lease(broker, "w.0.2")
    is_waiting = not broker.wait(("q",), 0.05, None)
    broker.sweep(POLICY)

    assert early == []
    assert is_waiting
    assert [each.verdict for each in lease(broker, "w.0.2")] == [b"b"]


def test_expired_records_are_deleted_in_small_batches(connect):
    store = connect().store
    store.put([document(f"t{number}", ttl_s=0.01) for number in range(25)])
    store.put([document("kept")])
    threading.Event().wait(0.02)

    deleted = [store.expire(10) for _ in range(4)]

    assert deleted == [10, 10, 5, 0]
    assert store.get(["kept"]) == [b"{}"]


def test_every_statement_is_used_and_every_used_one_is_there():
    import re
    from pathlib import Path

    folder = Path(location.__file__).parent
    sources = "".join(path.read_text() for path in folder.glob("*.py"))
    used = set(re.findall(r'SQL\["(\w+)"\]', sources)) | {"judged", "lost"}

    assert used == set(SQL)


def test_a_connection_that_goes_in_a_cycle_is_closed_without_a_warning(path):
    connection = Connection(location_of(f"sqlite:///{path}", OPTIONS))
    with connection.reading() as sql:
        cycle = {"connection": connection}
        cycle["cycle"] = cycle

    was_open = path.with_name("umbel.db-wal").exists()
    # Python 3.13 warns of databases that are not closed; the suite makes an error of it.
    del connection, cycle, sql
    gc.collect()

    # The last connection to a file that is closed takes the log away.
    assert was_open
    assert not path.with_name("umbel.db-wal").exists()
