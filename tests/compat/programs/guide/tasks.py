"""Tasks in the manners that Celery's user guide teaches."""

import os
from functools import wraps

from celery import Celery, Task, shared_task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from kombu import Exchange, Queue

URLS = {
    "broker": os.environ.get("CELERY_BROKER_URL"),
    "backend": os.environ.get("CELERY_RESULT_BACKEND"),
}
app = Celery("guide", **{name: url for name, url in URLS.items() if url})
app.conf.update(
    task_queues=[
        Queue("celery"),
        Queue("feeds", Exchange("media", type="topic"), routing_key="feed.#"),
        Queue("video", Exchange("media", type="topic"), routing_key="video.#"),
    ],
    task_routes=(
        {"guide.encode_*": {"queue": "video", "routing_key": "video.encode"}},
        "tasks.route_by_name",
    ),
    task_annotations={"guide.annotated": {"max_retries": 7}},
    task_track_started=True,
    result_extended=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
logger = get_task_logger(__name__)


def route_by_name(name, args, kwargs, options, task=None, **kw):
    if name == "guide.import_feed":
        return {"exchange": "media", "exchange_type": "topic", "routing_key": "feed.import"}
    return None


@signals.celeryd_after_setup.connect
def consume_one_more(sender, instance, **kwargs):
    instance.app.amqp.queues.select_add("extra.dq")


# - Tasks


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def xsum(numbers):
    return sum(numbers)


@app.task(name="guide.who_am_i", bind=True)
def who_am_i(self, *args, **kwargs):
    logger.info("%s has %r", self.request.id, args)
    return {
        "name": self.name,
        "args": list(self.request.args),
        "kwargs": self.request.kwargs,
        "retries": self.request.retries,
        "is root": self.request.root_id == self.request.id,
        "called directly": self.request.called_directly,
    }


@app.task(bind=True, default_retry_delay=0.1, max_retries=3)
def fails_twice(self, word):
    try:
        if self.request.retries < 2:
            raise ConnectionError("down")
    except ConnectionError as exc:
        raise self.retry(exc=exc, countdown=0) from exc
    return f"{word} after {self.request.retries} retries"


@app.task(autoretry_for=(KeyError,), retry_kwargs={"max_retries": 1, "countdown": 0})
def always_fails():
    raise KeyError("gone")


@app.task(bind=True, name="guide.annotated")
def annotated(self):
    return self.max_retries


@app.task(bind=True)
def uploads(self, names):
    for number, _ in enumerate(names):
        self.update_state(state="PROGRESS", meta={"current": number, "total": len(names)})
    return "uploaded"


@app.task(bind=True)
def has_a_state_of_its_own(self):
    self.update_state(state="SKIPPED", meta={"why": "nothing to do"})
    raise Ignore()


@app.task(bind=True, acks_late=True)
def rejects(self):
    raise Reject("no thanks", requeue=False)


@app.task(soft_time_limit=1, time_limit=30)
def cleans_up():
    import time

    try:
        for _ in range(600):
            time.sleep(0.05)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "too quick"


class DatabaseTask(Task):
    _db = None
    made = 0

    @property
    def db(self):
        if self._db is None:
            self.made += 1
            self._db = {"rows": [1, 2, 3]}
        return self._db


@app.task(base=DatabaseTask, bind=True)
def process_rows(self):
    return [len(self.db["rows"]), self.made]


class Telling(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        app.backend.store_result(f"failed-{task_id}", repr(exc), "SUCCESS")

    def on_success(self, retval, task_id, args, kwargs):
        app.backend.store_result(f"done-{task_id}", retval, "SUCCESS")


@app.task(base=Telling)
def tells(number):
    return 10 / number


def counted(fun):
    @wraps(fun)
    def call(*args, **kwargs):
        return ["counted", fun(*args, **kwargs)]

    return call


@app.task
@counted
def decorated(x):
    return x


@shared_task
def shared(x):
    return f"shared {x}"


@app.task(ignore_result=True)
def forgets():
    return "nobody reads this"


@app.task(typing=False)
def untyped(x):
    return x


@app.task(name="guide.import_feed", bind=True)
def import_feed(self):
    return self.request.delivery_info["routing_key"]


@app.task(name="guide.encode_film", bind=True)
def encode_film(self):
    return self.request.delivery_info["routing_key"]


@app.task
def handle_error(request, exc, traceback):
    app.backend.store_result(f"error-of-{request.id}", f"{exc!r}", "SUCCESS")


@app.task
def boom():
    raise ValueError("boom")


@app.task(bind=True)
def replaced(self, x):
    raise self.replace(chain_of(x))


def chain_of(x):
    return add.s(x, 1) | mul.s(10)


@app.task(bind=True)
def stamps_of(self):
    return dict(self.request.stamps or {})
