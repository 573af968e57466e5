"""A program under OpenTelemetry, as its guide says; spans are written to a file."""

import json
import os

import umbel

umbel.install_as_celery()

from celery import Celery  # noqa: E402
from celery.signals import worker_process_init  # noqa: E402
from opentelemetry import trace  # noqa: E402
from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import (  # noqa: E402
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)


class FileExporter(SpanExporter):
    """Appends each span as a line, in one write."""

    def export(self, spans):
        with open(os.environ["WATCHED_FILE"], "ab", buffering=0) as file:
            for span in spans:
                line = {
                    "name": span.name,
                    "kind": span.kind.name,
                    "trace": f"{span.context.trace_id:032x}",
                    "id": f"{span.context.span_id:016x}",
                    "parent": span.parent and f"{span.parent.span_id:016x}",
                    "status": span.status.status_code.name,
                    "attributes": dict(span.attributes),
                    "events": [event.name for event in span.events],
                }
                file.write(json.dumps(line, default=str).encode() + b"\n")
        return SpanExportResult.SUCCESS


@worker_process_init.connect(weak=False)
def instrument(*args, **kwargs):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(FileExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()


app = Celery("otel_tasks")


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
