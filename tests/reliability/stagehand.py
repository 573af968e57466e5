"""A worker in this process, on memory, that works off what it is given."""

from itertools import count

import umbel.engines.memory.opening as memory
from umbel import Celery
from umbel.model.message import Message
from umbel.worker.child import Child
from umbel.worker.inline import Inline
from umbel.worker.options import ChildOptions
from umbel.worker.slots import LocalSlot

_numbers = count(1)


def worked_off(raws):
    """Publish envelopes and work them off; gives the house that they were in."""
    url = f"memory://stage-{next(_numbers)}"
    app = Celery("stage", broker=url, backend=url, set_as_current=False)

    @app.task(name="give")
    def give(x=None):
        return x

    @app.task(name="fail")
    def fail(x=None):
        raise ValueError("as it should")

    app.finalize()
    pair = app.open_pair()
    pair.broker.publish(
        [Message(f"m{n}", "?", "celery", 0, f"t{n}", raw) for n, raw in enumerate(raws)]
    )
    options = ChildOptions("here", "celery@here", 0, "solo", 1, ("celery",), 600.0)
    child = Child(app, options, LocalSlot())
    child.consumer.idle = lambda timeout_s: child.stop()
    try:
        Inline(child).serve()
    finally:
        child.close()
        app.close()
        house = memory.house_of(url)
        memory._houses.pop(url.removeprefix("memory://"), None)
    return house
