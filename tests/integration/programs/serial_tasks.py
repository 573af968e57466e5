"""Tasks that speak other serializers; the environment says which are accepted."""

import json
import os
import zlib

from umbel import Celery
from umbel.serialization import register, register_type

register(
    "squeezed",
    lambda value: zlib.compress(json.dumps(value).encode()),
    lambda data: json.loads(zlib.decompress(data)),
    content_type="application/x-squeezed",
    content_encoding="binary",
)


class Point:
    """Goes through JSON as itself."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)


register_type(Point, "point", lambda point: [point.x, point.y], lambda pair: Point(*pair))

app = Celery("serial_tasks")
app.conf.update(
    accept_content=os.environ.get("ACCEPTED", "json").split(","),
    result_serializer=os.environ.get("RESULTS", "json"),
)


@app.task
def echo(value):
    return value


@app.task(bind=True, max_retries=2)
def again(self, value):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return [value, self.request.retries]


@app.task
def moved(point):
    return Point(point.x + 1, point.y)
