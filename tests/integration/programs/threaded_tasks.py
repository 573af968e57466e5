"""An app that starts a thread at its import, as some exporters of metrics do."""

import threading

from umbel import Celery

app = Celery("threaded_tasks")

threading.Thread(target=threading.Event().wait, name="metrics-exporter", daemon=True).start()


@app.task
def thread_names():
    return [each.name for each in threading.enumerate()]
