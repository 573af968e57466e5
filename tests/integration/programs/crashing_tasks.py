"""The canvas tasks, in a worker that kills its child at one named step, once.

``CRASH_AT`` is ``<step>:<n>:<path>``: at the n-th passing of the step, counted over all children in
the file at ``path``, the child sends itself SIGKILL.
"""

import fcntl
import os
import signal

from canvas_tasks import *  # noqa: F403 - the same app and tasks
from canvas_tasks import app  # noqa: F401 - what the worker looks for

from umbel.worker import points

step, number, path = os.environ["CRASH_AT"].split(":", 2)


def crash_once(name):
    if name != step:
        return
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("x")
        file.flush()
        if file.tell() == int(number):
            os.kill(os.getpid(), signal.SIGKILL)


points.passing = crash_once
