"""JSON as Celery writes it: the standard library's text, with typed forms for what JSON lacks.

A datetime, date, time, Decimal, UUID or bytes is written as ``{"__type__": T, "__value__": V}``
and read back as itself, at any depth. NaN and Infinity go out as bare words; integers are exact
whatever their size, both ways. Writing is the standard library's C encoder, because msgspec and
orjson write NaN as null and dates in another form.

Reading is the standard library too, until a worker asks for msgspec with ``read_with_msgspec``:
producers never pay for its import. Where msgspec refuses (NaN, lone surrogates, 1e400), or a text
holds typed forms, the standard library reads it again, so that the answer is always its answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from json import JSONDecoder, JSONEncoder
from json.encoder import encode_basestring_ascii
from typing import Any

from umbel.model.errors import DecodeError, EncodeError

# A JSON string, quoted and escaped: for pieces of text that are put together by hand.
quoted: Callable[[str], str] = encode_basestring_ascii

_TYPE = "__type__"
_VALUE = "__value__"
# A text without these bytes holds no typed form; an escape may spell the mark's underscores.
_MARK = b"__type__"
_ESCAPE = b"\\"
_ESCAPED_MARK = b"\\u005"

_Encoder = Callable[[Any], Any]
_Decoder = Callable[[Any], Any]

# What users registered: class -> (marker or None, encoder). Asked before the forms below.
_registered: dict[type, tuple[str | None, _Encoder]] = {}
_decoders: dict[str, _Decoder] = {}


def register_type(
    kind: type, marker: str | None, encoder: _Encoder, decoder: _Decoder | None = None
) -> None:
    """Let JSON carry a class of your own, on this side and, if registered there too, on the other.

    ``encoder`` gives something JSON can hold; ``decoder`` turns it back. Without a marker the
    encoder's value is written bare and is read as what it is. Kombu's function of this name.
    """
    _registered[kind] = (marker, encoder)
    if marker is not None and decoder is not None:
        _decoders[marker] = decoder


def _form_of(value: Any) -> Any:
    """What stands for a value that JSON has no form for; called by the encoder."""
    own = getattr(value, "__json__", None)
    if own is not None and not isinstance(value, type):
        return own()
    for kind, (marker, encoder) in _registered.items():
        if isinstance(value, kind):
            plain = encoder(value)
            return plain if marker is None else {_TYPE: marker, _VALUE: plain}
    if isinstance(value, bytes):
        return _form_of_bytes(value)
    marker_and_text = _form_by_module(value)
    if marker_and_text is not None:
        return marker_and_text
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _form_of_bytes(value: bytes) -> dict[str, Any]:
    try:
        return {_TYPE: "bytes", _VALUE: value.decode("utf-8")}
    except UnicodeDecodeError:
        from base64 import b64encode

        return {_TYPE: "base64", _VALUE: b64encode(value).decode("ascii")}


def _form_by_module(value: Any) -> Any:
    """The forms of classes whose modules need not be loaded: without them no value is of them."""
    loaded = sys.modules.get
    if (module := loaded("datetime")) is not None:
        if isinstance(value, module.datetime):
            return {_TYPE: "datetime", _VALUE: value.isoformat()}
        if isinstance(value, module.date):
            return {_TYPE: "date", _VALUE: value.isoformat()}
        if isinstance(value, module.time):
            return {_TYPE: "time", _VALUE: value.isoformat()}
    if (module := loaded("decimal")) is not None and isinstance(value, module.Decimal):
        return {_TYPE: "decimal", _VALUE: str(value)}
    if (module := loaded("uuid")) is not None and isinstance(value, module.UUID):
        return {_TYPE: "uuid", _VALUE: {"hex": value.hex}}
    # Django's lazily translated texts are text.
    if (module := loaded("django.utils.functional")) is not None and isinstance(
        value, module.Promise
    ):
        return str(value)
    return None


def _make_encode() -> Callable[[Any], str]:
    """The encoder, made once: ``json.dumps`` with a default makes two objects a call (2 us)."""
    try:
        # markers=None: no table of what was visited, so that threads may share the encoder. A
        # circular value ends in RecursionError.
        make: Any = vars(json.encoder)["c_make_encoder"]
        pieces = make(None, _form_of, encode_basestring_ascii, None, ": ", ", ", False, False, True)
        if "".join(pieces([1.5, {"a": None}], 0)) != '[1.5, {"a": null}]':
            raise TypeError("the C encoder of this Python has another form")
    except (KeyError, TypeError):  # an interpreter without it, or where it takes other arguments
        return JSONEncoder(default=_form_of, check_circular=False).encode
    join = "".join

    def encode(value: Any) -> str:
        return join(pieces(value, 0))

    return encode


raw_encode = _make_encode()  # raises whatever goes wrong; ``dumps`` says what that was


def dumps(value: Any) -> str:
    """A value as JSON text. Raises ``EncodeError`` that says what can't be written, and where."""
    try:
        return raw_encode(value)
    # Not narrower: __json__, isoformat and registered encoders are users' code.
    except Exception as error:  # noqa: BLE001
        raise refusal(value, error) from error


def refusal(value: Any, error: BaseException, root: str = "") -> EncodeError:
    """The error for a value that could not be written: the cause, and where in the value it is.

    ``root`` is what the value is called where the path begins: ``args[0]['when']``.
    """
    if isinstance(error, EncodeError):
        return error
    if isinstance(error, RecursionError):
        return EncodeError("the value refers to itself, or is nested too deep for JSON")
    place = root + _find_culprit(value, 0)
    where = f" (at {place})" if place else ""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error of users' code whose text raises
        text = ""
    return EncodeError(f"{text or type(error).__name__}{where}")


def _find_culprit(value: Any, depth: int) -> str:
    """The path of the innermost thing that JSON refuses, as ``[0]['key']``."""
    if depth > 20:
        return ""
    members: list[tuple[Any, Any]]
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list | tuple):
        members = list(enumerate(value))
    else:
        return ""
    for key, member in members:
        try:
            raw_encode({key: member} if isinstance(value, dict) else member)
        except Exception:  # noqa: BLE001 - users' code again
            try:
                shown = f"[{key!r}]"
            except Exception:  # noqa: BLE001 - a key whose repr raises
                return ""
            return shown + _find_culprit(member, depth + 1)
    return ""


def _from_form(form: dict[str, Any]) -> Any:
    """Undo ``_form_of``; called for each object of a text, innermost first."""
    if len(form) != 2 or _TYPE not in form or _VALUE not in form:
        return form
    kind, value = form[_TYPE], form[_VALUE]
    decoder = _decoders.get(kind) if isinstance(kind, str) else None
    if decoder is None:
        raise ValueError(f"unknown type form {kind!r}; known: {', '.join(sorted(_decoders))}")
    return decoder(value)


def _read_datetime(text: Any) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)


def _read_date(text: Any) -> Any:
    from datetime import date, datetime

    # Some writers put a whole datetime here.
    return datetime.fromisoformat(text).date() if "T" in text else date.fromisoformat(text)


def _read_time(text: Any) -> Any:
    from datetime import time

    return time.fromisoformat(text)


def _read_decimal(text: Any) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _read_uuid(value: Any) -> Any:
    from uuid import UUID

    return UUID(**value) if isinstance(value, dict) else UUID(value)


def _read_base64(text: Any) -> bytes:
    from base64 import b64decode

    return b64decode(text, validate=True)


_decoders.update(
    {
        "base64": _read_base64,
        "bytes": lambda text: text.encode("utf-8"),
        "date": _read_date,
        "datetime": _read_datetime,
        "decimal": _read_decimal,
        "time": _read_time,
        "uuid": _read_uuid,
    }
)

_read_plain = JSONDecoder().decode
_read_typed = JSONDecoder(object_hook=_from_form).decode


def may_hold_forms(data: bytes) -> bool:
    """Whether a text may hold typed forms; False is certain."""
    return _MARK in data or (_ESCAPE in data and _ESCAPED_MARK in data)


def _read_slowly(data: bytes) -> Any:
    """The standard library's reading: the one that decides."""
    try:
        text = data.decode("utf-8")
        if may_hold_forms(data):
            return _read_typed(text)
        return _read_plain(text)
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise DecodeError("not usable JSON: nested too deep") from error
    # Not narrower: registered decoders are users' code, and Decimal has errors of its own.
    except Exception as error:  # noqa: BLE001
        raise DecodeError(f"not usable JSON: {type(error).__name__}: {error}") from error


# What ``loads`` calls. A worker's first decode puts msgspec in its place.
_read: Callable[[bytes], Any] = _read_slowly


def loads(data: bytes | str) -> Any:
    """The value of a JSON text. Raises ``DecodeError``, and nothing else."""
    if type(data) is str:
        data = data.encode("utf-8", "backslashreplace")
    return _read(data)  # type: ignore[arg-type] # mypy does not narrow by type() here


def read_with_msgspec() -> None:
    """Read with msgspec from now on, where it is installed: 3 us less per message."""
    global _read
    if _read is not _read_slowly:
        return
    try:
        import msgspec
    except ImportError:
        return
    fast = msgspec.json.Decoder().decode
    refused = (msgspec.MsgspecError, ValueError, RecursionError)

    def read(data: bytes) -> Any:
        # may_hold_forms, spelled out: a call is 0.1 us, and this runs twice per message.
        if _MARK in data or (_ESCAPE in data and _ESCAPED_MARK in data):
            return _read_slowly(data)
        try:
            return fast(data)
        except refused:
            return _read_slowly(data)

    _read = read
