"""A program under Sentry, as its guide says; what would be sent is written to a file."""

import json
import os

import umbel

umbel.install_as_celery()

import sentry_sdk  # noqa: E402
from celery import Celery  # noqa: E402
from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: E402
from sentry_sdk.transport import Transport  # noqa: E402


class FileTransport(Transport):
    """Appends each item as a line, in one write."""

    def capture_envelope(self, envelope):
        with open(os.environ["WATCHED_FILE"], "ab", buffering=0) as file:
            for item in envelope.items:
                if item.payload.json is not None:
                    line = {"type": item.type, "pid": os.getpid(), **item.payload.json}
                    file.write(json.dumps(line, default=str).encode() + b"\n")


sentry_sdk.init(
    dsn="http://key@localhost/1",
    transport=FileTransport,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration()],
)
app = Celery("sentry_tasks")


@app.task
def add(x, y):
    return x + y


@app.task
def divide(x, by):
    return x / by


@app.task(bind=True, default_retry_delay=0.1)
def once_more(self, x):
    if not self.request.retries:
        raise self.retry()
    return x


class Custom(app.Task):
    """A base that puts something around each run."""

    abstract = True

    def __call__(self, *args, **kwargs):
        return self.run(*args, **kwargs)


@app.task(base=Custom)
def called(x):
    return x
