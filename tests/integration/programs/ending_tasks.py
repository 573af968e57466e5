"""Tasks that fail, outrun their limit or kill their process, and what is to come of it."""

import os
import signal
import threading

from umbel import Celery
from umbel.app import signals

app = Celery("ending_tasks")
app.conf.update(task_max_deliveries=3)


def note(name, times=1):
    with open(os.environ["UMBEL_TEST_NOTES"], "a") as file:
        file.write(f"{name}\n" * times)


def linger():
    threading.Event().wait(60)


@app.task(acks_on_failure=False)
def fails():
    note("fails")
    raise ValueError("as it should")


@app.task(acks_on_failure_or_timeout=False)
def fails_by_the_old_name():
    note("fails_by_the_old_name")
    raise ValueError("as it should")


@app.task(acks_on_failure=False, acks_late=False)
def fails_at_most_once():
    note("fails_at_most_once")
    raise ValueError("as it should")


@app.task
def fails_by_default():
    note("fails_by_default")
    raise ValueError("as it should")


@app.task(acks_on_timeout=False, time_limit=0.3)
def outruns():
    note("outruns")
    linger()


@app.task(time_limit=0.3)
def outruns_by_default():
    note("outruns_by_default")
    linger()


@app.task(acks_on_timeout=False, time_limit=0.3, acks_late=False)
def outruns_at_most_once():
    note("outruns_at_most_once")
    linger()


@app.task(reject_on_worker_lost=False)
def dies():
    note("dies")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(reject_on_worker_lost=True)
def dies_and_runs_again():
    note("dies_and_runs_again")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def lingers():
    note("lingers")
    linger()


if os.environ.get("UMBEL_TEST_HANGS"):
    hanging = os.environ["UMBEL_TEST_HANGS"]

    @signals.worker_process_init.connect
    def hang(**_):
        if not os.path.exists(hanging):
            open(hanging, "w").close()
            linger()
