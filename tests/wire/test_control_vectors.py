"""Commands and answers as real clients and workers of Celery wrote them (tests/vectors)."""

import json
import pickle
from base64 import b64encode
from pathlib import Path

import pytest

from umbel.model.errors import DecodeError, EncodeError
from umbel.wire import pidbox, serializers
from umbel.wire.pidbox import Command

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "control.json").read_text())
JSON = frozenset({serializers.JSON})
REQUESTS = [each for each in VECTORS["commands"] if each.get("request")]
# Of the longest only the size was kept.
REPLIES = [
    (each, reply)
    for each in REQUESTS
    for reply in each.get("replies") or ()
    if reply["raw"].startswith("{")
]


def without_tag(raw):
    document = json.loads(raw)
    del document["properties"]["delivery_tag"]
    return document


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["name"])
def test_a_command_of_celery_is_read_and_written_to_the_byte(vector):
    raw = vector["request"]["raw"].encode()
    body = vector["request"]["body"]

    command = pidbox.decode_command(raw, JSON)
    written = pidbox.encode_command(
        command,
        pidbox.exchange_name(),
        expires=vector["request"]["envelope"]["headers"]["expires"],
    )

    assert command.method == body["method"]
    assert command.arguments == body["arguments"]
    assert without_tag(written) == without_tag(raw)


@pytest.mark.parametrize(("vector", "reply"), REPLIES, ids=lambda each: each.get("name", "reply"))
def test_an_answer_of_celery_is_read_and_written_to_the_byte(vector, reply):
    raw = reply["raw"].encode()
    command = pidbox.decode_command(vector["request"]["raw"].encode(), JSON)

    answer = pidbox.decode_answer(raw, JSON)
    [(node, value)] = answer.answers.items()
    written = pidbox.encode_answer(node, value, command, clock=answer.clock)

    assert answer.answers == reply["body"]
    assert answer.ticket == command.ticket
    assert reply["key"] == f"{command.reply_box}.{command.reply_exchange}"
    assert without_tag(written) == without_tag(raw)


@pytest.mark.parametrize(
    ("command", "is_for"),
    [
        (Command("ping", {}), True),
        (Command("ping", {}, ["w1@here", "w2@here"]), True),
        (Command("ping", {}, ["w2@here"]), False),
        (Command("ping", {}, None, "w?@*", "glob"), True),
        (Command("ping", {}, None, "W1@here", "glob"), False),
        (Command("ping", {}, None, r"w\d@", "pcre"), True),
        (Command("ping", {}, None, r"\d@", "pcre"), False),
        (Command("ping", {}, ["w1@here"], "x*", "glob"), True),
    ],
)
def test_a_command_is_for_who_is_addressed(command, is_for):
    assert pidbox.is_for(command, "w1@here") is is_for


def test_an_unusable_pattern_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="is no regular expression"):
        pidbox.is_for(Command("ping", {}, None, "(", "pcre"), "w1@here")
    with pytest.raises(ValueError, match="there are glob, pcre"):
        pidbox.is_for(Command("ping", {}, None, "x", "guess"), "w1@here")


def _with_body(raw, data):
    document = json.loads(raw)
    document["body"] = b64encode(data).decode()
    return json.dumps(document).encode()


def test_a_pickled_command_is_read_without_running_code():
    accept = frozenset({serializers.JSON, serializers.PICKLE})
    sound = pidbox.encode_command(Command("ping", {"x": 1}), "celery.pidbox", serializer="pickle")

    assert pidbox.decode_command(sound, accept).arguments == {"x": 1}
    with pytest.raises(DecodeError, match="plain values only"):
        pidbox.decode_command(_with_body(sound, pickle.dumps(Path("x"))), accept)
    with pytest.raises(DecodeError, match="not usable as a pickle"):
        pidbox.decode_command(_with_body(sound, b"\x80nonsense"), accept)


@pytest.mark.parametrize(
    "body", [[], {"method": 1}, {"method": "x", "arguments": [1]}, {"method": "x", "reply_to": "y"}]
)
def test_what_is_no_command_is_refused(body):
    sound = pidbox.encode_command(Command("ping", {}), "celery.pidbox")

    with pytest.raises(DecodeError):
        pidbox.decode_command(_with_body(sound, json.dumps(body).encode()), JSON)


def test_an_answer_that_can_not_be_written_is_shown():
    command = Command("mine", {}, ticket="t", reply_exchange="reply.celery.pidbox", reply_box="b")
    value = {"kind": object, 1: {2, 3}, "deep": [complex(1, 2)]}
    with pytest.raises(EncodeError):
        serializers.dumps(value)

    raw = pidbox.encode_answer("w1@here", value, command)

    assert pidbox.decode_answer(raw, JSON).answers == {
        "w1@here": {"kind": "<class 'object'>", "1": [2, 3], "deep": ["(1+2j)"]}
    }
