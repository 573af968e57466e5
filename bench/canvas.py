"""What a canvas costs before anything is sent: microseconds a member, best of five.

    python bench/canvas.py

The app is a stand-in that throws every call away, so this is the canvas alone.
"""

import gc
import time
from types import SimpleNamespace

from umbel.canvas import Signature, chord, continuation, group
from umbel.model.ids import new_id
from umbel.model.outcome import Succeeded
from umbel.model.request import Request

MEMBERS = 10_000
STEP = {
    "task": "mul", "args": [3], "kwargs": {}, "options": {"task_id": "next"},
    "subtask_type": None, "immutable": False,
}  # fmt: skip


class Nowhere:
    """An app that reads what it is to send."""

    tasks = {"add": SimpleNamespace(name="add", ignore_result=False)}
    conf = SimpleNamespace(task_always_eager=False)
    archive = None
    new_id = staticmethod(new_id)

    def send(self, items):
        for _ in items:
            pass


def measure(name, function):
    best = 1e9
    for _ in range(5):
        begun = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begun)
    print(f"{name:32} {best / MEMBERS * 1e6:6.2f} us")


def settle(request):
    outcome = Succeeded(3)
    for _ in range(MEMBERS):
        continuation.after(request, outcome, new_id=new_id, tasks=Nowhere.tasks)


def main():
    app = Nowhere()
    add = Nowhere.tasks["add"]
    sigs = [Signature(add, (i, i), app=app) for i in range(MEMBERS)]
    queued = [sig.clone(queue="q") for sig in sigs]
    chains = [sig | Signature(add, (1,), app=app) for sig in sigs]
    body = Signature(add, app=app)
    gc.collect()
    gc.freeze()  # the members are no part of what is measured
    measure("make signatures", lambda: [Signature(add, (i, i), app=app) for i in range(MEMBERS)])
    measure("group", lambda: group(sigs, app=app).apply_async())
    measure("group of a generator", lambda: group((s for s in sigs), app=app).apply_async())
    measure("group, members with options", lambda: group(queued, app=app).apply_async())
    measure("group of chains of two", lambda: group(chains, app=app).apply_async())
    measure("chord", lambda: chord(sigs, body, app=app).apply_async())
    measure("after a plain task", lambda: settle(Request(id="i", root_id="i")))
    measure("after a step of a chain", lambda: settle(Request(id="i", chain=[STEP])))
    measure(
        "after a member of a chord",
        lambda: settle(Request(id="i", chord=STEP, group="g", group_index=1)),
    )


if __name__ == "__main__":
    main()
