"""Node names, pid files and the banner."""

import os
import subprocess
import sys
from datetime import datetime

import pytest

from umbel.engines.opening import address
from umbel.model.errors import ImproperlyConfigured
from umbel.worker import banner, nodes
from umbel.worker.pidfile import PidFile


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(nodes, "hostname", lambda: "red.example.org")


@pytest.mark.parametrize(
    ("wanted", "node"),
    [
        (None, "celery@red.example.org"),
        ("mail@%h", "mail@red.example.org"),
        ("mail@%n", "mail@red"),
        ("mail@%d", "mail@example.org"),
        ("mail@elsewhere", "mail@elsewhere"),
        ("elsewhere", "celery@elsewhere"),
        ("mail@", "mail@red.example.org"),
    ],
)
def test_a_node_name_is_expanded_as_celery_does(host, wanted, node):
    assert nodes.node_name(wanted) == node


def test_file_names_are_expanded_from_the_node():
    node = "mail@red.example.org"

    assert nodes.expand_for("/var/log/%n%I.log", node) == "/var/log/mail.log"
    assert nodes.expand_for("%p.%d.%i.100%%", node) == "mail@red.example.org.example.org.0.100%"


def test_each_run_of_a_node_has_an_id_of_its_own():
    first, second = nodes.worker_id("mail@red"), nodes.worker_id("mail@red")

    assert first != second
    assert nodes.runs_of("mail@red", [f"{first}.0.1", f"{first}.1.4", second]) == {first, second}
    assert nodes.runs_of("mail@red", ["mail@blue#abc.0.1", "xmail@red#abc.0.1"]) == set()


def test_a_pid_file_is_written_and_deleted(tmp_path):
    path = tmp_path / "worker.pid"
    pidfile = PidFile(str(path))

    pidfile.acquire()
    written = path.read_text()
    pidfile.release()
    pidfile.release()

    assert written == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pid_file_of_a_living_process_is_respected(tmp_path):
    path = tmp_path / "worker.pid"
    path.write_text(f"{os.getppid()}\n")

    with pytest.raises(ImproperlyConfigured, match=f"running process {os.getppid()}"):
        PidFile(str(path)).acquire()

    PidFile(str(path)).release()
    assert path.exists()


@pytest.mark.parametrize(
    "content",
    ["", "garbage\n", "-1\n", f"{os.getpid()}\n", f"{2**62}\n"],
    ids=["empty", "garbage", "negative", "our own", "too large"],
)
def test_a_pid_file_that_names_nobody_is_taken_over(tmp_path, content):
    path = tmp_path / "worker.pid"
    path.write_text(content)

    PidFile(str(path)).acquire()

    assert path.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_of_a_dead_process_is_taken_over(tmp_path):
    path = tmp_path / "worker.pid"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path.write_text(f"{dead.pid}\n")

    PidFile(str(path)).acquire()

    assert path.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_that_can_not_be_written_says_why(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="No such file or directory"):
        PidFile(str(tmp_path / "missing" / "worker.pid")).acquire()


def test_the_banner_says_what_an_operator_asks_first():
    facts = banner.Facts(
        node="celery@red",
        app="shop:0x7f",
        transport="redis://:**@red:6379/0",
        results="disabled://",
        concurrency=4,
        pool="prefork",
        queues=(banner.queue_line("celery", "celery", "direct", "celery"),),
        tasks=("shop.add", "shop.div"),
    )

    text = banner.text(facts, datetime(2026, 1, 2, 3, 4, 5, 6))

    for line in (
        "celery@red v",
        "2026-01-02 03:04:05",
        ".> app:         shop:0x7f",
        ".> transport:   redis://:**@red:6379/0",
        ".> results:     disabled://",
        ".> concurrency: 4 (prefork)",
        ".> task events: OFF",
        ".> celery           exchange=celery(direct) key=celery",
        "[tasks]\n  . shop.add\n  . shop.div\n",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@red/0", "redis://:**@red/0"),
        ("redis://me:se:cret@red/0", "redis://me:**@red/0"),
        ("sentinel://:a@x:1;sentinel://:b@y:2", "sentinel://:**@x:1;sentinel://:**@y:2"),
        ("redis://red/0", "redis://red/0"),
        ("sqlite:////srv/tasks.db", "sqlite:////srv/tasks.db"),
    ],
)
def test_addresses_are_shown_without_passwords(url, shown):
    assert address(url) == shown


def test_a_relative_file_is_shown_with_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert address("sqlite:///tasks.db") == f"sqlite:///{tmp_path}/tasks.db"
