"""A message that can't be run, but says whose it is: its caller is told."""

import pytest

from umbel import Celery
from umbel.exceptions import InvalidTaskError
from umbel.model.call import Call
from umbel.testing.running import running_worker
from umbel.wire import envelope


def test_who_waits_for_a_task_with_bad_headers_is_told_of_its_failure():
    app = Celery("shop", broker="memory://half", backend="memory://half", set_as_current=False)
    message = app.publisher.compose(Call("shop.any", (), {}, "the-id"))
    opened = envelope.decode(message.raw)
    broken = opened._replace(headers={**opened.headers, "timelimit": "soon"})

    with running_worker(app):
        app.connections.pair().broker.publish([message._replace(raw=envelope.encode(broken))])

        with pytest.raises(InvalidTaskError, match="timelimit"):
            app.AsyncResult("the-id").get(timeout=10)
    app.close()
