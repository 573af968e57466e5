"""The file is locked, its disk is full, it is removed: nothing is lost, and all goes on."""

import contextlib
import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from rig import Worker, cpu_s, family, until
from sending import Sending

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    made = subprocess.run(mount, capture_output=True, check=False) if os.getuid() == 0 else None
    if made is None or made.returncode:
        pytest.skip("a disk of a known size needs the right to mount one")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def check_all(bench, worker: Worker, sending):
    begun = sending.check()
    assert worker.is_running
    assert max(begun.values()) == 1
    until(lambda: not any(bench.depth()))


def test_the_file_is_locked_by_another_process_for_a_while(bench_of):
    bench = bench_of("sqlite")
    worker = bench.start_worker()

    with Sending(bench) as sending:
        other = sqlite3.connect(bench.folder / "umbel.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        processes = family(worker.pid)
        spent = cpu_s(processes)
        threading.Event().wait(8)
        spent = cpu_s(processes) - spent
        other.execute("ROLLBACK")
        other.close()
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 20)

    check_all(bench, worker, sending)
    assert spent < 2


def test_the_disk_is_full_for_a_while(bench_of, small_disk):
    url = f"sqlite:///{small_disk}/umbel.db"
    bench = bench_of("sqlite", settings={"broker_url": url, "result_backend": url})
    worker = bench.start_worker()

    with Sending(bench) as sending:
        fill_up(small_disk / "ballast")
        until(lambda: len(sending.refused) > 3, 30)
        processes = family(worker.pid)
        spent = cpu_s(processes)
        threading.Event().wait(3)
        spent = cpu_s(processes) - spent
        (small_disk / "ballast").unlink()
        before = len(sending.accepted)
        until(lambda: len(sending.accepted) > before + 20)

    check_all(bench, worker, sending)
    assert spent < 2


def fill_up(path: Path):
    size = 65536
    with path.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def test_the_file_is_removed_and_what_comes_later_runs(bench_of):
    bench = bench_of("sqlite")
    worker = bench.start_worker()
    bench.tasks.work.delay("before", 0, 1).get(timeout=10)

    for name in ("umbel.db", "umbel.db-wal", "umbel.db-shm"):
        with contextlib.suppress(FileNotFoundError):
            (bench.folder / name).unlink()
    with Sending(bench) as sending:
        until(lambda: len(sending.accepted) > 50)

    check_all(bench, worker, sending)
