"""The rest of a chain is handed on as it came; whoever looks sees signatures."""

import json
from base64 import b64encode

import pytest

from umbel.model.call import Call
from umbel.model.errors import InvalidTaskError, SerializationError
from umbel.wire import composition, protocol
from umbel.wire.composition import Template, Terms
from umbel.wire.serializers import content_types
from umbel.wire.steps import Steps, read_body

ACCEPT = content_types(["json"])
TERMS = Terms(queue="celery", routing_key="celery", origin="gen1@here")


def step(name, *args, **options):
    return {
        "task": name,
        "args": list(args),
        "kwargs": {},
        "options": {"task_id": f"id-{name}", **options},
        "subtask_type": None,
        "immutable": False,
    }


def steps(number):
    return [step(f"t{place}", place, "é\u2028") for place in range(number)]


def call_with(chain, args=(1, "ü")):
    return Call("first", args, {"k": [None, 1.5]}, "an-id", chain=chain)


def raw_of(body):
    """An envelope with this text as its body, as somebody else may have sent it."""
    opened = json.loads(composition.compose(call_with(None), TERMS, "tag").raw)
    opened["body"] = b64encode(body.encode()).decode()
    return json.dumps(opened).encode()


def test_a_long_chain_is_not_decoded_until_somebody_looks():
    message = composition.compose(call_with(steps(20)), TERMS, "tag")

    request, args, kwargs = protocol.read(message.raw, ACCEPT)

    assert type(request.unread_chain) is Steps
    assert (args, kwargs) == ([1, "ü"], {"k": [None, 1.5]})
    assert request.chain == steps(20)
    assert type(request.chain) is list
    assert request.chain is request.chain


def test_what_a_task_makes_of_its_chain_is_what_counts():
    message = composition.compose(call_with(steps(20)), TERMS, "tag")
    request, _, _ = protocol.read(message.raw, ACCEPT)

    request.chain.pop()
    request.chain[0]["options"]["queue"] = "elsewhere"

    assert len(request.unread_chain) == 19
    assert request.unread_chain[0]["options"]["queue"] == "elsewhere"
    request.chain = None
    assert request.unread_chain is None


@pytest.mark.parametrize("compose", [composition.compose, Template("first", TERMS).compose])
def test_a_rest_that_is_handed_on_is_the_same_bytes(compose):
    def composed(chain):
        call = call_with(chain)
        return (
            compose(call, "tag") if compose != composition.compose else compose(call, TERMS, "tag")
        )

    request, _, _ = protocol.read(composed(steps(20)).raw, ACCEPT)

    assert composed(request.unread_chain[:-1]).raw == composed(steps(20)[:-1]).raw


def test_other_serializers_write_the_steps_themselves():
    request, _, _ = protocol.read(composition.compose(call_with(steps(9)), TERMS, "t").raw, ACCEPT)

    message = composition.compose(
        call_with(request.unread_chain), TERMS._replace(serializer="pickle"), "tag"
    )

    again, _, _ = protocol.read(message.raw, content_types(["pickle"]))
    assert again.chain == steps(9)


def test_who_has_sent_a_message_itself_reads_the_same_from_it():
    received, _, _ = protocol.read(composition.compose(call_with(steps(9)), TERMS, "t").raw, ACCEPT)
    message = Template("first", TERMS).compose(call_with(received.unread_chain), "tag")
    assert message.body is not None

    own = protocol.read(message.raw, ACCEPT, message.body)
    other = protocol.read(message.raw, ACCEPT)

    assert own[1:] == other[1:]
    assert own[0].chain == other[0].chain
    assert own[0].__dict__ == other[0].__dict__


def test_what_this_process_may_not_read_it_may_not_read_of_itself_either():
    received, _, _ = protocol.read(composition.compose(call_with(steps(9)), TERMS, "t").raw, ACCEPT)
    message = Template("first", TERMS).compose(call_with(received.unread_chain), "tag")

    with pytest.raises(InvalidTaskError, match="untrusted"):
        protocol.read(message.raw, content_types(["pickle"]), message.body)


def test_typed_forms_in_steps_are_read_as_before():
    chain = [*steps(20), step("dated", {"__type__": "date", "__value__": "2030-01-02"})]
    body = json.dumps([[], {}, {"chain": chain}])

    request, _, _ = protocol.read(raw_of(body), ACCEPT)

    assert str(request.chain[-1]["args"][0]) == "2030-01-02"


PADDING = "x" * 1_000


@pytest.mark.parametrize(
    "chain",
    [
        '[{"task": 5}, {"pad": "PAD"}]',
        '[{"tusk": "a", "pad": "PAD"}]',
        '[{"task": "a", "pad": "PAD"}, 7]',
    ],
)
def test_what_is_no_chain_of_signatures_is_refused_at_once(chain):
    body = f'[[], {{}}, {{"callbacks": null, "chain": {chain.replace("PAD", PADDING)}}}]'

    with pytest.raises(InvalidTaskError, match="chain in the body must hold signatures"):
        protocol.read(raw_of(body), ACCEPT)


@pytest.mark.parametrize(
    "chain",
    ['[{"task": "a", "n": NaN, "pad": "PAD"}]', '[{"task": "a\\ud800", "pad": "PAD"}]'],
)
def test_what_only_the_standard_library_reads_is_read(chain):
    body = f'[[], {{}}, {{"chain": {chain.replace("PAD", PADDING)}}}]'

    request, _, _ = protocol.read(raw_of(body), ACCEPT)

    assert request.chain[0]["pad"] == PADDING


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 1_000,
        b'[[], {}, {"chain": [{"task": "a"',
        b'[[], {}, {"chain": [{"task": "a\\x"}]}]',
        b'[[], {}, {"chain": [{"task": "a", "b": tru}]}]',
    ],
)
def test_broken_bodies_are_left_to_what_reads_them_whole(body):
    assert read_body(body) is None
    with pytest.raises(SerializationError):
        protocol.read(raw_of(body.decode("latin-1") + " " * 1_000), ACCEPT)
