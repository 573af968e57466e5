"""The tasks that every worker has: what a canvas of Celery's, or of umbel's, asks it to run.

Chains, groups and chords are not among them: whoever sends one unrolls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from umbel.canvas.batches import chunks as Chunks  # noqa: N812 - the task has the same name
from umbel.model.errors import NotBuiltYet
from umbel.model.request import current_request


def register(app: Any) -> None:
    """Register them with an app."""

    def function_of(task: Any) -> Any:
        # On the wire a task is a signature; Celery takes its name as well.
        return app.tasks[task if isinstance(task, str) else task["task"]]

    def xmap(task: Any, it: Iterable[Any]) -> list[Any]:
        run = function_of(task)
        return [run(item) for item in it]

    def xstarmap(task: Any, it: Iterable[Any]) -> list[Any]:
        run = function_of(task)
        return [run(*item) for item in it]

    def chunks(task: Any, it: Iterable[Any], n: int) -> Any:
        # Senders make a group of starmaps of it. As a message it comes only where its id was fixed
        # before; as on Celery's workers, its value is then the result of the group that it sends.
        request = current_request()
        if request is not None and not request.called_directly and not request.is_eager:
            return Chunks.apply_chunks(task, it, n, app)
        run = function_of(task)
        return [[run(*item) for item in part] for part in _parts(iter(it), n)]

    def backend_cleanup() -> None:
        app.archive.cleanup()

    app.task_from(xmap, name="celery.map")
    app.task_from(xstarmap, name="celery.starmap")
    app.task_from(chunks, name="celery.chunks")
    app.task_from(_accumulate, name="celery.accumulate")
    app.task_from(backend_cleanup, name="celery.backend_cleanup", ignore_result=True)
    app.task_from(_unlock_chord, name="celery.chord_unlock", ignore_result=True)
    for name in ("celery.chain", "celery.group", "celery.chord"):
        app.task_from(_unrolled_by_senders, name=name)


def _parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(islice(items, size)):
        yield part


def _accumulate(*args: Any, **kwargs: Any) -> Any:
    index = kwargs.get("index")
    return args if index is None else args[index]


def _unlock_chord(*_args: Any, **_kwargs: Any) -> None:
    # Celery polls chords with it where its result backend can't count; ours all can.
    raise NotBuiltYet(
        "celery.chord_unlock came from a Celery whose result backend can't count chords; give both"
        " sides the same Redis as result backend"
    )


def _unrolled_by_senders(*_args: Any, **_kwargs: Any) -> None:
    raise NotBuiltYet("chains, groups and chords are unrolled by whoever sends them")
