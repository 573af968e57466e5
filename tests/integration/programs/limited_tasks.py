"""Tasks with rate limits, which note when they begin."""

import os
import time

from umbel import Celery

app = Celery("limited_tasks")
app.conf.update(
    task_annotations={"limited_tasks.annotated": {"rate_limit": "1/m"}},
    broker_transport_options={"queue_order_strategy": "sorted"},
)


def note(name, *facts):
    with open(os.environ["UMBEL_TEST_NOTES"], "a") as file:
        file.write(f"{name} {time.time():.6f} {' '.join(map(str, facts))}\n")


@app.task(bind=True, rate_limit="20/s")
def limited(self, number):
    delivery = self.request.delivery_info
    note("limited", number, self.request.eta, delivery["priority"])


@app.task(rate_limit="1/m")
def rare(number):
    note("rare", number)


@app.task
def annotated(number):
    note("annotated", number)


@app.task
def free(number):
    note("free", number)
