"""An app that learns a task later: the second worker of the test has it, the first has not."""

import os

from umbel import Celery

app = Celery("growing_tasks")

if os.environ.get("UMBEL_TEST_HAS_GROWN"):

    @app.task
    def grown(x):
        return x + 1
