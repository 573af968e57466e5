"""Tasks that last until a file is there."""

import os
import time

from umbel import Celery

app = Celery("holding_tasks")


@app.task
def hold(folder, name, until):
    open(os.path.join(folder, f"{name}.began"), "w").close()
    limit = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, until)) and time.monotonic() < limit:
        time.sleep(0.02)
    open(os.path.join(folder, f"{name}.ended"), "w").close()
    return os.getpid()
