"""An app with a broadcast queue, of either house; ``WIRE_HOUSE`` says whose."""

import os
from importlib import import_module

house = import_module(os.environ.get("WIRE_HOUSE", "umbel"))
# kombu's classes, which umbel takes too; a program that has changed its imports uses umbel's.
entities = house if house.__name__ == "umbel" else import_module("kombu")
Broadcast = getattr(entities, "Broadcast", None) or import_module("kombu.common").Broadcast

url = os.environ["WIRE_BROKER"]
app = house.Celery("fanout_tasks", broker=url, backend=url)
app.conf.update(broker_connection_retry_on_startup=True, worker_send_task_events=False)
app.conf.task_queues = [
    entities.Queue("celery"),
    Broadcast("everybody"),
    entities.Queue("keyed", entities.Exchange("keyed", "fanout"), "a.#"),
    # What the vectors name.
    entities.Queue("bc", entities.Exchange("bc", "fanout")),
]


@app.task(name="wire_tasks.add")
def add(x, y):
    return x + y


@app.task(name="note", bind=True)
def note(self, text):
    import redis

    client = redis.Redis.from_url(os.environ["WIRE_BROKER"])
    client.rpush("noted", f"{self.request.hostname} {text}")
    client.close()
