"""From a Call and its terms to a Message: task message protocol 2, as Celery writes it.

The order of the keys and the spacing are Celery's, so that what we send can be compared byte for
byte with what it sends. ``compose`` can write every message. ``Template`` writes the same bytes for
many calls of one task under the same terms: it composes once, with marks where calls differ, and
then only fills the gaps.
"""

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from umbel.model.call import Call
from umbel.model.errors import EncodeError
from umbel.model.message import Body, Message
from umbel.wire import json_forms, serializers
from umbel.wire.compression import compress
from umbel.wire.envelope import Envelope, encode
from umbel.wire.json_forms import quoted, raw_encode
from umbel.wire.preview import preview
from umbel.wire.steps import Steps

_NOTHING: Mapping[str, Any] = {}
# Written by us in their places; a sender's property of such a name is ignored.
_OWN_PROPERTIES = frozenset(
    {"correlation_id", "reply_to", "delivery_mode", "delivery_info", "delivery_tag"}
    | {"body_encoding", "expiration", "priority"}
)
_PERSISTENT = 2
_NO_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


# Annotations are real objects in this module: NamedTuple compiles those that are text, at 75 us a
# field whenever umbel is imported.
class Terms(NamedTuple):
    """How a call is to be sent: everything that stands in a message beside the Call itself."""

    queue: str = ""  # "": the engine resolves exchange and routing key
    exchange: str = ""
    routing_key: str = ""
    is_fanout: bool = False
    priority: int | None = 0
    serializer: str = "json"
    compression: str | None = None
    eta_iso: str | None = None
    due: float | None = None  # eta as unix seconds
    expires_iso: str | None = None
    expiration_ms: int | None = None  # the same from now; 0 if past
    ignore_result: bool | None = None  # None: the task's setting, on the worker's side
    time_limit: float | None = None
    soft_time_limit: float | None = None
    shadow: str | None = None
    retries: int = 0
    headers: Mapping[str, Any] | None = None  # the sender's own, merged over Celery's
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] = _NOTHING
    reply_to: str | None = None
    origin: str | None = None
    argsrepr: str | None = None  # None: a preview of the arguments
    kwargsrepr: str | None = None
    replaced_task_nesting: int = 0
    correlation_id: str | None = None  # None: the task's id
    properties: Mapping[str, Any] = _NOTHING  # further message properties


def compose(call: Call, terms: Terms, tag: str) -> Message:
    """The message of a call. Raises ``EncodeError`` that names the argument at fault."""
    embed = {
        "callbacks": None if call.link is None else list(call.link),
        "errbacks": None if call.link_error is None else list(call.link_error),
        "chain": call.chain,
        "chord": call.chord,
    }
    headers = _headers(call, terms)
    if terms.serializer == "json":
        content_type, content_encoding = serializers.JSON, "utf-8"
        try:
            written = _embed(*embed.values())
            body = f"[{raw_encode(call.args)}, {raw_encode(call.kwargs)}, {written}]".encode(
                "ascii"
            )
        except Exception as error:  # noqa: BLE001 - users' __json__ and the like
            raise _refused(call, error) from error
    else:
        embed["chain"] = None if call.chain is None else list(call.chain)
        payload = (call.args, call.kwargs, _plain(embed))
        try:
            content_type, content_encoding, body = serializers.dumps(payload, terms.serializer)
        except EncodeError as error:
            raise EncodeError(f"{error} (arguments of a call of {call.task})") from error
    if terms.compression:
        body, headers["compression"] = compress(body, terms.compression)
    raw = encode(
        Envelope(headers, _properties(call, terms, tag), body, content_type, content_encoding)
    )
    return _message(call, terms, tag, raw)


def _message(call: Call, terms: Terms, tag: str, raw: bytes) -> Message:
    return Message(
        call.id,
        call.task,
        terms.queue,
        min(max(terms.priority or 0, 0), 9),
        tag,
        raw,
        terms.due,
        "" if terms.queue else terms.exchange,
        "" if terms.queue else terms.routing_key,
        is_fanout=terms.is_fanout,
    )


def _headers(call: Call, terms: Terms) -> dict[str, Any]:
    headers = {
        "lang": "py",
        "task": call.task,
        "id": call.id,
        "shadow": terms.shadow,
        "eta": terms.eta_iso,
        "expires": terms.expires_iso,
        "group": call.group_id,
        "group_index": call.group_index,
        "retries": terms.retries,
        "timelimit": [terms.time_limit, terms.soft_time_limit],
        "root_id": call.root_id or call.id,
        "parent_id": call.parent_id,
        "argsrepr": preview(call.args) if terms.argsrepr is None else terms.argsrepr,
        "kwargsrepr": preview(call.kwargs) if terms.kwargsrepr is None else terms.kwargsrepr,
        "origin": terms.origin,
        "ignore_result": terms.ignore_result,
        "replaced_task_nesting": terms.replaced_task_nesting,
        "stamped_headers": terms.stamped_headers,
        "stamps": dict(terms.stamps) if terms.stamps else {},
    }
    if terms.headers:
        headers.update(terms.headers)
    return headers


def _properties(call: Call, terms: Terms, tag: str) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "correlation_id": terms.correlation_id or call.id,
        "reply_to": terms.reply_to,
    }
    for name, value in terms.properties.items():
        if name not in _OWN_PROPERTIES:
            properties[name] = value
    properties["delivery_mode"] = terms.properties.get("delivery_mode") or _PERSISTENT
    if terms.expiration_ms is not None:
        properties["expiration"] = str(max(terms.expiration_ms, 0))
    properties["delivery_info"] = {
        "exchange": terms.exchange,
        "routing_key": terms.routing_key,
    }
    properties["priority"] = terms.priority or 0
    properties["body_encoding"] = "base64"
    properties["delivery_tag"] = tag
    return properties


def _plain(value: Any) -> Any:
    """Signatures as plain dicts: yaml, msgpack and pickle would not write ours for others."""
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, tuple):
        return tuple(_plain(member) for member in value)
    return value


def _refused(call: Call, error: BaseException) -> EncodeError:
    """What could not be written, where it stands, and what can be done."""
    for name, part in (
        ("args", call.args),
        ("kwargs", call.kwargs),
        ("link", call.link),
        ("link_error", call.link_error),
        ("chain", None if call.chain is None else list(call.chain)),
        ("chord", call.chord),
    ):
        try:
            raw_encode(part)
        except Exception as own:  # noqa: BLE001 - users' code again
            cause = json_forms.refusal(part, own, name)
            return EncodeError(
                f"{cause} in a call of {call.task}; send what JSON can hold, or choose another "
                "serializer"
            )
    return json_forms.refusal(None, error)


# Where calls differ, in the order of the text. Each mark is a JSON string that nobody sends.
_GAPS = (
    "body",
    "id",
    "group",
    "group_index",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "correlation_id",
    "tag",
)


def _mark(gap: str) -> str:
    return f"\0gap:{gap}\0"


def _cut(task: str, terms: Terms) -> tuple[str, ...] | None:
    """The text between the gaps; None where these terms leave no room for them."""
    if terms.serializer != "json" or terms.compression:
        return None
    call = Call(
        task,
        (),
        _NOTHING,
        _mark("id"),
        root_id=_mark("root_id"),
        parent_id=_mark("parent_id"),
        group_id=_mark("group"),
    )
    given = terms._replace(argsrepr=_mark("argsrepr"), kwargsrepr=_mark("kwargsrepr"))
    if terms.argsrepr is not None or terms.kwargsrepr is not None or terms.correlation_id:
        return None
    given = given._replace(correlation_id=_mark("correlation_id"))
    headers = _headers(call, given)
    if headers["group_index"] is None:  # unless the sender has a header of that name
        headers["group_index"] = _mark("group_index")
    text = json_forms.dumps(
        {
            "body": _mark("body"),
            "content-encoding": "utf-8",
            "content-type": serializers.JSON,
            "headers": headers,
            "properties": _properties(call, given, _mark("tag")),
        }
    )
    pieces = []
    for gap in _GAPS:
        piece, found, text = text.partition(quoted(_mark(gap)))
        if not found:
            return None  # a sender's own header stands in the place of Celery's
        pieces.append(piece)
    return (*pieces, text)


def _embed(ok: Any, bad: Any, chain: Any, chord: Any) -> str:
    """What stands in a body beside the arguments."""
    if type(chain) is Steps:
        written = chain.text.decode("ascii")
    else:
        written = "null" if chain is None else raw_encode(list(chain))
    if ok is None and bad is None and chord is None:
        return f'{{"callbacks": null, "errbacks": null, "chain": {written}, "chord": null}}'
    return (
        f'{{"callbacks": {raw_encode(ok)}, "errbacks": {raw_encode(bad)}, '
        f'"chain": {written}, "chord": {raw_encode(chord)}}}'
    )


class Template:
    """Composes calls of one task under one set of terms, fast.

    It holds ``terms.origin``, which names a process: make templates anew after a fork.
    """

    __slots__ = ("_pieces", "_priority", "task", "terms")

    def __init__(self, task: str, terms: Terms) -> None:
        self.task = task
        self.terms = terms
        self._pieces = _cut(task, terms)
        self._priority = min(max(terms.priority or 0, 0), 9)

    def compose(self, call: Call, tag: str) -> Message:
        """What ``compose`` gives, in a third of its time (bench/wire.py)."""
        pieces, terms = self._pieces, self.terms
        if pieces is None or call.task != self.task:
            return compose(call, terms, tag)
        _, args, kwargs, id_, root_id, parent_id, group, group_index, chord, chain, ok, bad, _ = (
            call
        )
        try:
            written_args = raw_encode(args) if args else "[]"
            written_kwargs = raw_encode(kwargs) if kwargs else "{}"
            if chord is None and chain is None and ok is None and bad is None:
                embed = _NO_EMBED
            else:
                embed = _embed(ok, bad, chain, chord)
        except Exception as error:  # noqa: BLE001 - users' __json__ and the like
            raise _refused(call, error) from error
        p = pieces
        body = f"[{written_args}, {written_kwargs}, {embed}]".encode("ascii")
        in_base64 = b2a_base64(body, newline=False).decode("ascii")
        known = None
        if type(chain) is Steps and ok is None and bad is None and chord is None:
            known = Body(written_args, written_kwargs, chain, len(in_base64))
        quoted_id = quoted(id_)
        text = (
            f'{p[0]}"{in_base64}"{p[1]}'
            f"{quoted_id}{p[2]}{'null' if group is None else quoted(group)}"
            f"{p[3]}{'null' if group_index is None else raw_encode(group_index)}"
            f"{p[4]}{quoted(root_id) if root_id else quoted_id}"
            f"{p[5]}{'null' if parent_id is None else quoted(parent_id)}"
            f"{p[6]}{quoted(preview(args))}{p[7]}{quoted(preview(kwargs))}"
            f"{p[8]}{quoted_id}{p[9]}{quoted(tag)}{p[10]}"
        )
        queue = terms.queue
        return Message(
            id_,
            self.task,
            queue,
            self._priority,
            tag,
            text.encode("ascii"),
            terms.due,
            "" if queue else terms.exchange,
            "" if queue else terms.routing_key,
            known,
            terms.is_fanout,
        )
