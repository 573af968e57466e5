"""What a message that goes back to its queue says."""

import json

from wire_vectors import entries

from umbel.wire.protocol import read
from umbel.wire.redelivery import redelivered


def test_a_message_that_goes_back_says_so_where_celery_says_it():
    raw = dict(entries())["simple-0"].encode()

    again = redelivered(raw, id="i", task="t", queue="celery", tag="next")

    was, now = json.loads(raw), json.loads(again.raw)
    assert now["headers"] == {**was["headers"], "redelivered": True}
    assert now["properties"]["delivery_info"] == {
        **was["properties"]["delivery_info"],
        "redelivered": True,
    }
    assert now["properties"]["delivery_tag"] == again.tag == "next"
    assert now["body"] == was["body"]


def test_a_task_sees_that_its_message_came_back():
    raw = dict(entries())["priority_6-0"].encode()

    again = redelivered(raw, id="i", task="t", queue="celery", tag="next")

    request, args, _ = read(again.raw, frozenset({"application/json"}))
    assert request.delivery_info["redelivered"] is True
    assert request.headers is None
    assert args == [2, 3]
    assert again.priority == 6
