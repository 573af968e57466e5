"""``umbel events``: lines, JSON, cameras, and the picture on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from umbel import Celery
from umbel.cli.dumping import Dumper, as_json
from umbel.cli.watching import Picture
from umbel.events.picture import State

TASKS = """
from umbel import Celery
from umbel.events.camera import Polaroid

app = Celery("shop", broker="sqlite:///shop.db")


class Cam(Polaroid):
    clear_after = True

    def on_shutter(self, state):
        for uuid in state.tasks:
            print("picture of", uuid, flush=True)
"""


def event(kind: str, **fields: Any) -> dict[str, Any]:
    head = {"type": kind, "hostname": "w@host", "timestamp": 1_700_000_000.0, "clock": 1, "pid": 2}
    return {**head, **fields}


# - Lines


def test_a_line_names_the_task_that_an_earlier_event_named() -> None:
    dumper = Dumper()

    received = dumper.line(event("task-received", uuid="id", name="t.add", args="(1,)", eta=None))
    ended = dumper.line(event("task-succeeded", uuid="id", result="5", runtime=0.5))
    stranger = dumper.line(event("task-started", uuid="other"))

    assert received.startswith("w@host [20")
    assert received.endswith("] task received: t.add(id) args=(1,)")
    assert ended.endswith("] task succeeded: t.add(id) result=5 runtime=0.5")
    assert stranger.endswith("] task started: ?(other)")


def test_a_line_is_one_line_and_can_not_steer_the_terminal() -> None:
    line = Dumper().line(event("task-failed", uuid="a", exception="\x1b[2J\nE", timestamp="x"))

    assert "\x1b" not in line
    assert "\n" not in line
    assert "[?]" in line


def test_json_holds_what_came() -> None:
    assert json.loads(as_json(event("my-event", odd={1, 1}))) == event("my-event", odd="{1}")


# - The picture


def drawn(state: State, height: int = 24) -> str:
    file = io.StringIO()
    console = Console(file=file, width=140, height=height, force_terminal=True, color_system=None)
    console.print(Picture(state, "redis://host/0"), height=height)
    return file.getvalue()


def test_the_picture_shows_workers_and_the_latest_tasks() -> None:
    state = State()
    now = time.time()
    online = {"timestamp": now, "local_received": now, "freq": 2.0, "active": 3, "processed": 17}
    state.event(event("worker-online", **online, loadavg=[1.0, 2.0, 3.0], sw_ident="umbel"))
    for number in range(100):
        name = f"[red]task{number}\x1b[2J"
        state.event(event("task-received", uuid=f"id-{number}", name=name, clock=number))
    state.event(event("task-failed", uuid="id-99", exception="ValueError('x')", clock=200))

    text = drawn(state)

    assert "redis://host/0" in text
    assert "online" in text
    assert "17" in text
    assert "id-99" in text
    assert "ValueError('x')" in text
    assert "id-3 " not in text
    assert "[red]task98" in text
    assert "\x1b[2J" not in text
    assert len(text.splitlines()) <= 24


def test_an_empty_picture_is_drawn_too() -> None:
    assert "0 events" in drawn(State(), height=5)


# - The command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def say(folder: Path) -> Iterator[Callable[[], None]]:
    """Say two events on the file, again and again, until somebody has heard them."""
    app = Celery("sayer", broker=f"sqlite:///{folder}/shop.db", set_as_current=False)

    def once() -> None:
        with app.events.Dispatcher(hostname="w@host") as dispatcher:
            dispatcher.send("task-received", uuid="the-id", name="tasks.add")
            dispatcher.send("task-succeeded", uuid="the-id", result="5", runtime=0.25)

    yield once
    app.close()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the command; it is killed with the test, so that nobody reads from it for ever."""
    steering = ("CELERY_", "UMBEL_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    processes = []

    def run(*words: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "umbel", "-A", "tasks", "events", *words],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def lines_of(process: subprocess.Popen[str], say: Callable[[], None], wanted: str) -> list[str]:
    """Its lines, up to the first with ``wanted``, while events are said."""
    heard = threading.Event()
    found: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found.append(line.strip())
            if wanted in line:
                heard.set()
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    limit = time.monotonic() + 30
    while not heard.wait(0.1):
        assert time.monotonic() < limit, found
        assert process.poll() is None, process.communicate()
        say()
    reader.join()
    return found


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--dump",), "task succeeded: tasks.add(the-id) result=5 runtime=0.25"),
        ((), "task succeeded: tasks.add(the-id)"),
        (("--json",), '"type": "task-succeeded"'),
        (("--camera", "tasks.Cam", "-F", "0.1"), "picture of the-id"),
    ],
)
def test_events_are_printed_as_they_come(
    start: Start, say: Callable[[], None], words: tuple[str, ...], wanted: str
) -> None:
    process = start(*words, stdout=subprocess.PIPE)

    lines = lines_of(process, say, wanted)

    if "--json" in words:
        assert json.loads(lines[-1])["uuid"] == "the-id"
    end(process)


@pytest.mark.slow
def test_a_reader_that_has_had_enough_ends_it_quietly(
    start: Start, say: Callable[[], None]
) -> None:
    process = start("--json", stdout=subprocess.PIPE)
    lines_of(process, say, "task-succeeded")
    assert process.stdout is not None
    process.stdout.close()

    limit = time.monotonic() + 30
    while process.poll() is None:
        assert time.monotonic() < limit
        say()
        time.sleep(0.1)

    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.slow
def test_on_a_terminal_a_picture_is_drawn(start: Start, say: Callable[[], None]) -> None:
    ours, theirs = pty.openpty()
    process = start(stdout=theirs, stdin=theirs)
    os.close(theirs)

    shown = b""
    limit = time.monotonic() + 30
    while b"tasks.add" not in shown:
        assert time.monotonic() < limit, shown
        say()
        if select.select([ours], [], [], 0.2)[0]:
            shown += os.read(ours, 65536)

    assert b"SUCCESS" in shown
    drain = threading.Thread(target=_drain, args=(ours,), daemon=True)
    drain.start()
    end(process)
    drain.join(20)
    os.close(ours)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:  # the other end is closed
        pass


@pytest.mark.slow
def test_a_camera_that_is_not_there_is_named(start: Start) -> None:
    process = start("--camera", "nowhere.Cam", stdout=subprocess.PIPE)

    _, said = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "--camera nowhere.Cam: " in said
