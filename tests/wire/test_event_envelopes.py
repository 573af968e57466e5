"""Events against what Celery sent: keys, order, envelopes; byte for byte but for ids and times."""

import json

import pytest
from wire_vectors import load

from umbel.model.errors import ContentDisallowed, DecodeError
from umbel.model.message import Message
from umbel.wire import envelope as envelopes
from umbel.wire import event_notices
from umbel.wire.event_notices import Pen, Speaker

ACCEPT = frozenset({"application/json"})


def published():
    """(channel, raw, events) of everything that Celery published."""
    found = []
    for action in load("events")["actions"]:
        for said in action["published"]:
            body = said["body"]
            found.append((said["channel"], said["raw"], body if isinstance(body, list) else [body]))
    return found


def speaker_of(event):
    return Speaker(event["hostname"], event["pid"])


def fields_of(event):
    head = ("hostname", "utcoffset", "pid", "clock", "timestamp", "type")
    return {name: value for name, value in event.items() if name not in head}


def without_tag(raw):
    fields = json.loads(raw)
    fields["properties"]["delivery_tag"] = "tag"
    return json.dumps(fields)


def test_every_captured_event_is_read():
    for channel, raw, events in published():
        assert event_notices.read(raw.encode(), ACCEPT) == events, channel


def test_every_captured_event_is_written_as_it_was():
    for channel, raw, events in published():
        key = channel.partition("celeryev/")[2]
        written = [
            event_notices.event(
                speaker_of(event),
                event["type"],
                fields_of(event),
                clock=event["clock"],
                timestamp=event["timestamp"],
                utcoffset=event["utcoffset"],
            )
            for event in events
        ]
        body = written if key == "task.multi" else written[0]
        if key != "task.multi":
            assert key == event_notices.routing_key(events[0]["type"])

        envelope = event_notices.envelope(speaker_of(events[0]), key, body).decode()

        assert without_tag(envelope) == without_tag(raw)
        assert list(json.loads(envelope)["properties"]) == list(json.loads(raw)["properties"])


def test_the_pen_writes_what_the_encoder_writes():
    for channel, raw, events in published():
        if not channel.endswith("task.multi"):
            continue
        pen = Pen(speaker_of(events[0]), events[0]["utcoffset"])

        envelope = pen.envelope([line_of(pen, event) for event in events])

        (written,) = [event_notices.read(envelope, ACCEPT)]
        assert [list(event) for event in written] == [list(event) for event in events]
        assert [rounded(event) for event in written] == [rounded(event) for event in events]


def rounded(event):
    """Times to the microsecond."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in event.items()
    }


def test_what_begins_at_once_is_told_as_two_events():
    facts = ["id", "t.add", "(1,)", "{}", "id", None, 0, None, None]
    pen = Pen(Speaker("celery@host", 7), 0.0)

    begun = event_notices.read(pen.envelope([pen.begun(4, 2_500_000_000, facts)]), ACCEPT)

    received, started = begun
    assert (received["type"], received["clock"], received["root_id"]) == ("task-received", 4, "id")
    assert (started["type"], started["clock"], started["uuid"]) == ("task-started", 5, "id")
    assert received["timestamp"] == started["timestamp"] == 2.5


def line_of(pen, event):
    clock, now_ns = event["clock"], round(event["timestamp"] * 1e9)
    match event["type"]:
        case "task-received":
            names = ["uuid", "name", "args", "kwargs", "root_id"]
            names += ["parent_id", "retries", "eta", "expires"]
            return pen.received(clock, now_ns, [event[name] for name in names])
        case "task-started":
            return pen.other(clock, now_ns, "task-started", {"uuid": event["uuid"]})
        case "task-succeeded":
            facts = event["uuid"], event["result"], round(event["runtime"] * 1e9)
            return pen.succeeded(clock, now_ns, *facts)
        case kind:
            return pen.other(clock, now_ns, kind, fields_of(event))


def test_task_sent_tells_what_celery_tells_of_the_same_message():
    """The captured flows and events are of different runs; the fields and their order agree."""
    sent = load("events")["event_types"]["task-sent"]["example"]
    for case in load("messages")["cases"]:
        for pushed in case.get("pushed", []):
            opened = envelopes.decode(pushed["raw"].encode())
            if opened.headers.get("task") != "wire_tasks.add":
                continue
            fields = event_notices.sent_fields(_as_message(opened, pushed["raw"]))
            assert list(fields) == list(fields_of(sent))
            assert fields["name"] == "wire_tasks.add"
            assert fields["uuid"] == opened.headers["id"]


def _as_message(opened, raw):
    return Message(opened.headers["id"], opened.headers["task"], "celery", 0, "t", raw.encode())


@pytest.mark.parametrize("serializer", ["yaml", "msgpack", "pickle"])
def test_other_serializers_carry_lists_too(serializer):
    from umbel.wire import serializers

    speaker = Speaker("celery@host", 7, "other", serializer)
    pen = Pen(speaker, 0.0)

    raw = pen.envelope([pen.other(1, 2_000_000_000, "task-started", {"uuid": "id"})])

    (event,) = event_notices.read(raw, serializers.content_types([serializer]))
    assert (event["uuid"], event["type"]) == ("id", "task-started")
    with pytest.raises(ContentDisallowed):
        event_notices.read(raw, ACCEPT)


def test_nonsense_is_a_decode_error_and_nothing_else():
    for raw in (b"", b"{}", b"[1]", b"\xff", b'{"body": 3}'):
        with pytest.raises(DecodeError):
            event_notices.read(raw, ACCEPT)


def test_what_is_no_event_is_left_out():
    speaker = Speaker("celery@host", 7)
    raw = event_notices.envelope(speaker, "task.multi", [1, {"a": 2}, {"type": 3}, {"type": "x-y"}])

    assert event_notices.read(raw, ACCEPT) == [{"type": "x-y"}]
