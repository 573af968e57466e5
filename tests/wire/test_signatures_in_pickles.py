"""Bodies whose signatures came as objects of the sender's library."""

import base64
import json
import pickle

from umbel.wire.protocol import read


class Signature(dict):
    """As Celery's: a dictionary that is more than one."""


def signature(name, **kwargs):
    return Signature(
        task=name, args=(), kwargs=kwargs, options={}, subtask_type=None, immutable=False
    )


def test_signatures_of_any_class_become_plain_dictionaries():
    inner = signature("inner")
    chord = signature("body", tasks=[inner])
    embed = {"chord": chord, "callbacks": [inner], "errbacks": inner, "chain": None}
    body = base64.b64encode(pickle.dumps(([], {}, embed))).decode()
    where = {"exchange": "", "routing_key": "celery"}
    raw = json.dumps(
        {
            "body": body,
            "content-encoding": "binary",
            "content-type": "application/x-python-serialize",
            "headers": {"task": "t", "id": "1"},
            "properties": {"delivery_tag": "x", "delivery_info": where, "body_encoding": "base64"},
        }
    ).encode()

    request, _, _ = read(raw, frozenset({"application/x-python-serialize"}))

    assert type(request.chord) is dict
    assert type(request.chord["kwargs"]["tasks"][0]) is dict
    assert [type(one) for one in (*request.callbacks, *request.errbacks)] == [dict, dict]
    assert request.chord["task"] == "body"
