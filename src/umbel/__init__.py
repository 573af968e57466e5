"""umbel: a distributed task queue that speaks Celery's language.

from umbel import Celery, group, chain, chord

app = Celery("shop")

@app.task
def add(x, y):
    return x + y

add.delay(2, 3).get()
"""

from umbel.app.shared import shared_task
from umbel.app.task import Task
from umbel.canvas.batches import chunks, xmap, xstarmap
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.group import group
from umbel.canvas.signature import Signature, maybe_signature, signature, subtask
from umbel.compat.finder import install_as_celery
from umbel.front import Celery, bugreport, current_app, current_task
from umbel.model.ids import new_id as uuid
from umbel.model.queues import Binding as binding
from umbel.model.queues import Broadcast, Exchange, Queue
from umbel.model.version import VERSION as __version__
from umbel.results.eager import EagerResult
from umbel.results.group import GroupResult, ResultSet
from umbel.results.handle import AsyncResult

__all__ = [
    "AsyncResult",
    "Broadcast",
    "Celery",
    "EagerResult",
    "Exchange",
    "GroupResult",
    "Queue",
    "ResultSet",
    "Signature",
    "Task",
    "__version__",
    "binding",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "install_as_celery",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
