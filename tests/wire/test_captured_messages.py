"""What Celery sent is read, and written again byte for byte."""

from __future__ import annotations

import json

import pytest
from wire_vectors import entries, literal, load

from umbel.model.call import Call
from umbel.wire import envelope, protocol, serializers
from umbel.wire.preview import preview

ENTRIES = entries()
IDS = [name for name, _ in ENTRIES]
# Protocol 1 is read, not written; what a broker put back was not composed.
COMPOSED = [
    (name, raw)
    for name, raw in ENTRIES
    if (headers := json.loads(raw)["headers"]) and "redelivered" not in headers
]
ACCEPT = serializers.content_types(["json", "yaml", "msgpack", "pickle"])
OWN = {"correlation_id", "reply_to", "delivery_mode", "expiration", "delivery_info", "priority"}
OWN |= {"body_encoding", "delivery_tag"}
HEADERS = set(json.loads(ENTRIES[0][1])["headers"])


def retold(opened: envelope.Envelope) -> tuple[Call, protocol.Terms, str]:
    """The call and the terms that must have led to a message."""
    headers, properties = opened.headers, opened.properties
    args, kwargs, embed = protocol.payload_of(opened, ACCEPT)
    call = Call(
        headers["task"],
        tuple(args) if opened.content_encoding == "binary" else args,
        kwargs,
        headers["id"],
        headers["root_id"],
        headers["parent_id"],
        headers["group"],
        headers["group_index"],
        embed["chord"],
        embed["chain"],
        embed["callbacks"],
        embed["errbacks"],
    )
    expiration = properties.get("expiration")
    where = properties["delivery_info"]
    terms = protocol.Terms(
        queue="q",
        exchange=where["exchange"],
        routing_key=where["routing_key"],
        priority=properties["priority"],
        serializer={t: n for n in ("json", "yaml", "msgpack", "pickle")
                    for t in serializers.content_types([n])}[opened.content_type],
        compression=headers.get("compression"),
        eta_iso=headers["eta"],
        expires_iso=headers["expires"],
        expiration_ms=None if expiration is None else int(expiration),
        ignore_result=headers["ignore_result"],
        time_limit=headers["timelimit"][0],
        soft_time_limit=headers["timelimit"][1],
        shadow=headers["shadow"],
        retries=headers["retries"],
        headers={k: v for k, v in headers.items() if k not in HEADERS and k != "compression"},
        stamped_headers=headers["stamped_headers"],
        stamps=headers["stamps"],
        reply_to=properties["reply_to"],
        origin=headers["origin"],
        argsrepr=headers["argsrepr"],
        kwargsrepr=headers["kwargsrepr"],
        replaced_task_nesting=headers["replaced_task_nesting"],
        correlation_id=properties["correlation_id"],
        properties={k: v for k, v in properties.items() if k not in OWN}
        | {"delivery_mode": properties["delivery_mode"]},
    )  # fmt: skip
    return call, terms, properties["delivery_tag"]


@pytest.mark.parametrize("raw", [raw for _, raw in ENTRIES], ids=IDS)
def test_an_envelope_is_opened_and_closed_byte_for_byte(raw: str) -> None:
    opened = envelope.decode(raw.encode())

    assert envelope.encode(opened).decode() == raw


@pytest.mark.parametrize("raw", [raw for _, raw in ENTRIES], ids=IDS)
def test_a_message_is_read_as_celery_reads_it(raw: str) -> None:
    fields = json.loads(raw)

    request, args, kwargs = protocol.read(raw.encode(), ACCEPT)

    assert request.correlation_id == fields["properties"]["correlation_id"]
    assert request.called_directly is False
    assert (request.args, request.kwargs) == (args, kwargs)
    for name, value in fields["headers"].items():
        assert getattr(request, name) == value


@pytest.mark.parametrize("raw", [raw for _, raw in COMPOSED], ids=[name for name, _ in COMPOSED])
def test_a_call_is_composed_to_the_bytes_that_celery_sent(raw: str) -> None:
    opened = envelope.decode(raw.encode())
    call, terms, tag = retold(opened)

    message = protocol.compose(call, terms, tag)

    assert (message.id, message.task, message.tag) == (call.id, call.task, tag)
    if terms.compression:  # libraries of another version may pack otherwise
        assert protocol.payload_of(envelope.decode(message.raw), ACCEPT)[0] == list(call.args)
    else:
        assert message.raw.decode() == raw


@pytest.mark.parametrize("raw", [raw for _, raw in COMPOSED], ids=[name for name, _ in COMPOSED])
def test_a_template_writes_what_compose_writes(raw: str) -> None:
    opened = envelope.decode(raw.encode())
    call, terms, tag = retold(opened)
    terms = terms._replace(argsrepr=None, kwargsrepr=None, correlation_id=None)

    template = protocol.Template(call.task, terms)

    assert template.compose(call, tag) == protocol.compose(call, terms, tag)


@pytest.mark.parametrize("raw", [raw for _, raw in ENTRIES], ids=IDS)
def test_arguments_are_shown_as_celery_shows_them(raw: str) -> None:
    headers = json.loads(raw)["headers"]
    for name in ("argsrepr", "kwargsrepr"):
        shown = headers.get(name, "()")
        value = literal(shown)
        if value is not None and "..." not in shown and "ff00" not in shown:
            assert preview(value) == shown


def test_the_terms_of_a_typical_call_need_no_more_than_what_was_said() -> None:
    case = next(c for c in load("messages")["cases"] if c["name"] == "simple")
    raw = case["pushed"][0]["raw"]
    properties = json.loads(raw)["properties"]
    terms = protocol.Terms(
        queue="celery",
        routing_key="celery",
        ignore_result=False,
        reply_to=properties["reply_to"],
        origin="gen12345@host.example",
    )
    call = Call("wire_tasks.add", (2, 3), {}, properties["correlation_id"])

    message = protocol.Template("wire_tasks.add", terms).compose(call, properties["delivery_tag"])

    assert message.raw.decode() == raw
    assert message.queue == "celery"
    assert message.priority == 0


@pytest.mark.parametrize(
    "name", ["argsrepr", "deep_repr", "long_repr", "json_types", "json_nan", "json_int_keys"]
)
def test_hard_arguments_are_composed_from_the_values_themselves(name: str) -> None:
    import datetime as dt
    import uuid
    from decimal import Decimal

    case = next(c for c in load("messages")["cases"] if c["name"] == name)
    names = {"dt": dt, "uuid": uuid, "Decimal": Decimal, "UTC": dt.UTC}
    code = case["code"].partition("(")[2]
    args = eval(f"(lambda *args, **kwargs: args)({code}", names)  # our own vectors
    if name == "argsrepr":
        args = (2, 3)
    opened = envelope.decode(case["pushed"][0]["raw"].encode())
    _, terms, tag = retold(opened)
    if name != "argsrepr":
        terms = terms._replace(argsrepr=None, kwargsrepr=None)
    call = Call(opened.headers["task"], args, {}, opened.headers["id"])

    message = protocol.compose(call, terms, tag)

    assert message.raw.decode() == case["pushed"][0]["raw"]
