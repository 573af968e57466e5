"""An app with a broadcast queue; each run leaves a line in a file."""

import os
import signal
import time

from umbel import Broadcast, Celery, Queue

app = Celery("broadcast_tasks")
app.conf.task_queues = [Queue("celery"), Broadcast("everybody")]
app.conf.task_routes = {
    "note": "everybody",
    "die_once": "everybody",
    "wait_for": "everybody",
}


def write(path, hostname, text):
    with open(path, "a") as file:
        file.write(f"{hostname} {text}\n")


@app.task(name="note", bind=True)
def note(self, path, text):
    write(path, self.request.hostname, text)


@app.task(name="die_once", bind=True)
def die_once(self, path, text):
    marker = f"{path}-{self.request.hostname}"
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, self.request.hostname, text)


@app.task(name="wait_for")
def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


@app.task(name="plain")
def plain():
    return "done"
