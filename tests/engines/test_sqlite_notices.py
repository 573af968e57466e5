"""Notices in an SQLite file: what stands there, for how long, and when the folder is deleted."""

import os
import shutil
import signal
import sqlite3

import pytest

from umbel.engines.placing import Steps
from umbel.engines.sqlite.broker import SqliteBroker
from umbel.engines.sqlite.location import location_of
from umbel.model.clock import unix_s
from umbel.model.errors import OperationalError
from umbel.ports.broker import SweepPolicy
from umbel.ports.bus import Notice
from umbel.ports.engine import EngineOptions

POLICY = SweepPolicy(60, 1, 5, b"{}", b"{}")
NEWS = Notice("news", "", b"text")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "umbel.db"


@pytest.fixture
def broker_at(path):
    opened = []

    def broker_at(ahead_s=0.0):
        location = location_of(f"sqlite:///{path}", EngineOptions())
        clock = lambda: unix_s() + ahead_s  # noqa: E731
        opened.append(SqliteBroker(location, Steps(), keeps_results=True, clock=clock))
        return opened[-1]

    yield broker_at
    for broker in opened:
        broker.close()


def rows(path, table):
    sql = sqlite3.connect(path)
    try:
        return sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        sql.close()


def test_nothing_is_written_while_nobody_listens(broker_at, path):
    broker = broker_at()
    listener = broker.bus.listen("news")
    listener.close()

    broker.bus.say([NEWS])
    broker.bus.say([Notice("other", "", b"x")])

    assert rows(path, "notices") == 0


def test_what_was_said_is_gone_after_a_minute(broker_at, path):
    listener = broker_at().bus.listen("news")
    broker_at().bus.say([NEWS] * 3)

    broker_at(70).bus.say([NEWS])
    after_saying = rows(path, "notices")
    broker_at(140).sweep(POLICY)

    assert (after_saying, rows(path, "notices")) == (1, 0)
    listener.close()


def test_a_new_listener_of_an_emptied_table_hears(broker_at):
    first = broker_at().bus.listen("news")
    broker_at().bus.say([NEWS] * 3)
    broker_at(70).sweep(POLICY)

    second = broker_at().bus.listen("news")
    broker_at().bus.say([Notice("news", "", b"again")])

    assert [notice.raw for notice in second.arrived(5)] == [b"again"]
    first.close()
    second.close()


def test_a_box_that_nobody_closes_is_gone_after_a_day(broker_at, path):
    bus = broker_at().bus
    bus.open_box("replies", "me")
    bus.put(Notice("replies", "me", b"answer"))

    broker_at(25 * 3600).sweep(POLICY)

    assert (rows(path, "boxes"), rows(path, "answers")) == (0, 0)


def test_a_killed_listener_is_forgotten(broker_at, path):
    broker = broker_at()
    pid = os.fork()
    if pid == 0:
        try:
            broker.bus.listen("news")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    broker.bus.say([NEWS])
    broker.bus.say([NEWS])

    assert rows(path, "notices") == 1


def test_a_listener_says_that_its_folder_is_deleted(broker_at, path):
    listener = broker_at().bus.listen("news")

    shutil.rmtree(f"{path}-peers")

    with pytest.raises(OperationalError, match="listened to no more"):
        listener.arrived(0)
    listener.close()
    again = broker_at().bus.listen("news")
    broker_at().bus.say([NEWS])
    assert again.arrived(5) == [NEWS]
    again.close()


def test_a_listener_that_a_fork_inherits_is_left_alone(broker_at):
    bus = broker_at().bus
    listener = bus.listen("news")

    pid = os.fork()
    if pid == 0:
        try:
            listener.close()
            bus.say([Notice("news", "", b"from the child")])
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    assert [notice.raw for notice in listener.arrived(5)] == [b"from the child"]
    listener.close()
