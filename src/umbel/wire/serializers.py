"""From Python values to bytes with a content type, and back: json, yaml, msgpack, pickle, your own.

``dumps`` raises ``EncodeError`` and ``loads`` raises ``DecodeError`` or ``ContentDisallowed``,
never anything else, whatever the bytes hold. What may be read is the reader's decision
(``accept``): pickle runs code, so nobody accepts it who did not say so. Libraries are imported
when their first value comes by; json needs none.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

from umbel.model.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from umbel.wire import json_forms
from umbel.wire.compression import compress, decompress

__all__ = [
    "Encoded",
    "compress",
    "content_types",
    "decompress",
    "dumps",
    "form_of",
    "is_known",
    "loads",
    "register",
    "unregister",
]

JSON = "application/json"
PICKLE = "application/x-python-serialize"
# Celery's pickle protocol, which every Python we share a broker with can read.
_PICKLE_PROTOCOL = 4


class Encoded(NamedTuple):
    """A value as bytes, and what a reader must be told."""

    content_type: str
    content_encoding: str
    data: bytes


class _Serializer(NamedTuple):
    content_type: str
    content_encoding: str
    # The encoder gives text or bytes. The decoder is given text if ``takes_text``, else bytes.
    encode: Callable[[Any], str | bytes]
    decode: Callable[[Any], Any]
    takes_text: bool


def _missing(package: str, extra: str) -> str:
    return f"the {extra} serializer needs {package}: pip install 'umbel[{extra}]'"


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise EncodeError(_missing("PyYAML", "yaml")) from None
    return yaml


def _yaml_encode(value: Any) -> str:
    text: str = _yaml().safe_dump(value)
    return text


def _yaml_decode(data: bytes) -> Any:
    return _yaml().safe_load(data)


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError:
        raise EncodeError(_missing("msgpack", "msgpack")) from None
    return msgpack


def _msgpack_encode(value: Any) -> bytes:
    data: bytes = _msgpack().packb(value, use_bin_type=True)
    return data


def _msgpack_decode(data: bytes) -> Any:
    # Keys need not be text: what another producer could write, we can read.
    return _msgpack().unpackb(data, raw=False, strict_map_key=False)


def _pickle_encode(value: Any) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)


def _pickle_decode(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)


_by_name: dict[str, _Serializer] = {
    "json": _Serializer(JSON, "utf-8", json_forms.dumps, json_forms.loads, False),
    "yaml": _Serializer("application/x-yaml", "utf-8", _yaml_encode, _yaml_decode, False),
    "msgpack": _Serializer(
        "application/x-msgpack", "binary", _msgpack_encode, _msgpack_decode, False
    ),
    "pickle": _Serializer(PICKLE, "binary", _pickle_encode, _pickle_decode, False),
}
_by_type: dict[str, _Serializer] = {one.content_type: one for one in _by_name.values()}
# Ways to spell UTF-8, and "no text at all", for which the bytes are read as they are.
AS_THEY_ARE = frozenset({"utf-8", "utf8", "binary", "us-ascii", "ascii", "ascii-8bit", "", None})


def register(
    name: str,
    encoder: Callable[[Any], str | bytes],
    decoder: Callable[[Any], Any],
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add a serializer of your own, by kombu's rules.

    The decoder is given text, or bytes where ``content_encoding`` is ``"binary"``. Readers must
    accept its name or content type as well.
    """
    one = _Serializer(
        content_type, content_encoding, encoder, decoder, content_encoding != "binary"
    )
    _by_name[name] = one
    _by_type[content_type] = one


def unregister(name: str) -> None:
    """Forget a serializer; what it wrote can no longer be read here."""
    one = _by_name.pop(name, None)
    if one is None:
        raise ImproperlyConfigured(_unknown(name))
    _by_type.pop(one.content_type, None)


def is_known(name: str) -> bool:
    """Whether this is the name of a serializer."""
    return name in _by_name


def _unknown(name: object) -> str:
    known = f"known: {', '.join(sorted(_by_name))}"
    if name == "auth":
        return f"serializer 'auth' signs, and has no keys yet: call app.setup_security(); {known}"
    return f"unknown serializer {name!r}; {known}"


def content_types(names: Iterable[str]) -> frozenset[str]:
    """The content types of serializers; content types may stand among the names."""
    types = set()
    for name in names:
        if "/" in name:
            types.add(name)
        elif name in _by_name:
            types.add(_by_name[name].content_type)
        else:
            raise ImproperlyConfigured(_unknown(name))
    return frozenset(types)


def form_of(name: str) -> tuple[str, str]:
    """Content type and content encoding of what a serializer writes."""
    one = _by_name.get(name)
    if one is None:
        raise DecodeError(_unknown(name))
    return one.content_type, one.content_encoding


def dumps(value: Any, serializer: str = "json") -> Encoded:
    """A value as bytes. Raises ``EncodeError`` that says what can't be written."""
    if serializer == "json":
        return Encoded(JSON, "utf-8", json_forms.dumps(value).encode("ascii"))
    one = _by_name.get(serializer)
    if one is None:
        raise EncodeError(_unknown(serializer))
    try:
        data = one.encode(value)
        if isinstance(data, str):
            data = data.encode("utf-8")
    except EncodeError:
        raise
    # Not narrower: pickle and registered serializers run users' code.
    except Exception as error:  # noqa: BLE001
        raise EncodeError(f"{serializer} can't write this: {_said(error)}") from error
    return Encoded(one.content_type, one.content_encoding, data)


def loads(
    data: bytes,
    content_type: str | None,
    content_encoding: str | None = "utf-8",
    accept: Container[str] = frozenset({JSON}),
) -> Any:
    """The value of bytes whose content type is accepted.

    Raises ``ContentDisallowed`` where it is not, ``DecodeError`` where the bytes are not what
    their type says; nothing else.
    """
    if content_type not in accept:
        raise ContentDisallowed(
            f"Refusing to deserialize untrusted content of type {content_type}; add it to "
            "accept_content if whoever can write to the broker may be trusted with it"
        )
    if content_type == JSON and content_encoding in AS_THEY_ARE:
        return json_forms.loads(data)
    one = _by_type.get(content_type or "")
    if one is None:
        raise DecodeError(f"no serializer for content type {content_type!r} is registered here")
    try:
        return one.decode(_text_for(one, data, content_encoding))
    except DecodeError:
        raise
    # Not narrower: pickle, yaml and registered serializers raise what they like.
    except Exception as error:  # noqa: BLE001
        raise DecodeError(f"not usable as {content_type}: {_said(error)}") from error


def _text_for(one: _Serializer, data: bytes, content_encoding: str | None) -> str | bytes:
    """What the decoder is given: UTF-8 bytes or text, whatever the encoding was."""
    if one.takes_text:
        return data.decode(content_encoding or one.content_encoding)
    if content_encoding in AS_THEY_ARE or one.content_encoding == "binary":
        return data
    return data.decode(content_encoding or "utf-8").encode("utf-8")


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error of users' code whose text raises
        text = ""
    return text if isinstance(error, EncodeError) else f"{type(error).__name__}: {text}"
