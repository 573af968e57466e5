"""The live picture of ``umbel events``: workers above, the latest tasks below.

It redraws four times a second from the same ``State`` that programs use, while the events come in
by another thread's hand than the one that draws. What events hold is shown as plain text: neither
markup nor control characters in it have any effect.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from umbel.cli.dumping import printable, time_of

_PER_SECOND = 4
_STYLES = {
    "SUCCESS": "green",
    "FAILURE": "bold red",
    "STARTED": "cyan",
    "RETRY": "yellow",
    "REVOKED": "magenta",
    "REJECTED": "magenta",
}
# Rows that are not tasks: title, column heads and rules of both tables, the last line.
_FRAME_ROWS = 10


class Picture:
    """Draws a state into what room there is."""

    def __init__(self, state: Any, source: str) -> None:
        self._state = state
        self._source = source

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        return self._state.freeze_while(self._tables, height)  # type: ignore[no-any-return]

    def _tables(self, height: int) -> list[Any]:
        workers = list(self._state.workers.values())
        workers.sort(key=lambda worker: (not worker.alive, worker.hostname))
        room = max(height - _FRAME_ROWS, 2)
        shown = workers[: max(room // 2, 1)]
        counts = f"{self._state.event_count} events, {self._state.task_count} tasks received"
        return [
            self._workers(shown, len(workers) - len(shown)),
            self._tasks(max(room - len(shown), 1)),
            Text(f"{counts} since the start.  Ctrl-C ends.", style="dim"),
        ]

    def _workers(self, workers: list[Any], more: int) -> Table:
        title = f"Workers at {self._source}" + (f" (and {more} more)" if more else "")
        table = _table(title, "Worker", "State", "Active", "Done", "Load", "Software")
        for worker in workers:
            is_alive = worker.alive
            load = worker.loadavg if isinstance(worker.loadavg, list) else ()
            table.add_row(
                _text(worker.hostname),
                Text("online", "green") if is_alive else Text("gone", "red"),
                _text(worker.active),
                _text(worker.processed),
                _text(" ".join(str(one) for one in load)),
                _text(f"{worker.sw_ident or ''} {worker.sw_ver or ''}"),
            )
        return table

    def _tasks(self, room: int) -> Table:
        table = _table("Tasks", "Time", "State", "Task", "Id", "Worker", "Runtime", "Result")
        for uuid, task in self._state.tasks_by_time(limit=room):
            said = task.exception if task.exception is not None else task.result
            runtime = f"{task.runtime:.3f} s" if isinstance(task.runtime, float) else ""
            arguments = f"{task.args or ''} {task.kwargs or ''}"
            table.add_row(
                _text(time_of({"timestamp": task.timestamp})[11:]),
                Text(printable(task.state), _STYLES.get(task.state, "")),
                _text(task.name),
                _text(uuid),
                _text(task.worker.hostname if task.worker is not None else task.client),
                _text(runtime),
                _text(arguments if said is None else said),
            )
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True, box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis", header_style="bold")
    return table


def _text(value: object) -> Text:
    return Text("" if value is None else printable(value))


def watch(app: Any, console: Console | None = None) -> None:
    """Draw until interrupted."""
    state = app.events.State()
    with app.connection() as connection:
        picture = Picture(state, connection.as_uri())
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        with Live(
            picture, console=console, screen=True, refresh_per_second=_PER_SECOND, transient=True
        ):
            receiver.capture(limit=None, timeout=None, wakeup=True)
