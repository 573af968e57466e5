"""Serializers and compressions: there and back, and clear refusals."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from typing import Any

import pytest

from umbel.model.errors import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
)
from umbel.wire import serializers

VALUE = [[1, 2.5, "é", None, True], {"a": {"b": []}}]


@pytest.mark.parametrize("name", ["json", "yaml", "msgpack", "pickle"])
def test_a_value_goes_there_and_back(name: str) -> None:
    accept = serializers.content_types([name])

    content_type, content_encoding, data = serializers.dumps(VALUE, name)

    assert content_type in accept
    assert isinstance(data, bytes)
    assert serializers.loads(data, content_type, content_encoding, accept) == VALUE


@pytest.mark.parametrize(
    ("name", "content_type", "content_encoding"),
    [
        ("json", "application/json", "utf-8"),
        ("yaml", "application/x-yaml", "utf-8"),
        ("msgpack", "application/x-msgpack", "binary"),
        ("pickle", "application/x-python-serialize", "binary"),
    ],
)
def test_content_types_are_kombu_s(name: str, content_type: str, content_encoding: str) -> None:
    encoded = serializers.dumps(1, name)

    assert encoded[:2] == (content_type, content_encoding)
    assert serializers.form_of(name) == (content_type, content_encoding)


def test_pickle_is_not_read_by_who_did_not_ask_for_it() -> None:
    encoded = serializers.dumps([1], "pickle")

    with pytest.raises(ContentDisallowed, match="x-python-serialize"):
        serializers.loads(
            encoded.data,
            encoded.content_type,
            encoded.content_encoding,
            serializers.content_types(["json", "yaml"]),
        )


@pytest.mark.parametrize("name", ["json", "yaml", "msgpack", "pickle"])
def test_what_cannot_be_written_is_an_encode_error(name: str) -> None:
    with pytest.raises(EncodeError):
        serializers.dumps([lambda: None], name)


def test_an_unknown_serializer_is_named_with_the_known_ones() -> None:
    with pytest.raises(EncodeError, match=r"'jsno'; known: .*json, msgpack, pickle,.* yaml"):
        serializers.dumps(1, "jsno")
    with pytest.raises(ImproperlyConfigured, match="jsno"):
        serializers.content_types(["jsno"])


def test_names_and_content_types_may_be_mixed() -> None:
    assert serializers.content_types(["json", "application/x-own"]) == {
        "application/json",
        "application/x-own",
    }


def test_a_serializer_of_ones_own_is_registered_and_forgotten() -> None:
    serializers.register(
        "shout", lambda value: str(value).upper(), lambda text: text.lower(), "text/x-shout"
    )
    accept = serializers.content_types(["shout"])
    encoded = serializers.dumps("hey", "shout")

    assert encoded == ("text/x-shout", "utf-8", b"HEY")
    assert serializers.loads(encoded.data, "text/x-shout", "utf-8", accept) == "hey"

    serializers.unregister("shout")
    assert not serializers.is_known("shout")
    with pytest.raises(DecodeError, match="registered"):
        serializers.loads(encoded.data, "text/x-shout", "utf-8", accept)


def test_an_error_of_a_users_serializer_is_ours_whatever_it_is() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def refuse(value: Any) -> Any:
        raise Rude

    serializers.register("rude", refuse, refuse, "text/x-rude")
    try:
        with pytest.raises(EncodeError, match="Rude"):
            serializers.dumps(1, "rude")
        with pytest.raises(DecodeError, match="Rude"):
            serializers.loads(b"1", "text/x-rude", "utf-8", {"text/x-rude"})
    finally:
        serializers.unregister("rude")


def test_json_in_another_encoding_is_read() -> None:
    accept = serializers.content_types(["json"])

    assert serializers.loads('["é"]'.encode("latin-1"), "application/json", "latin-1", accept) == [
        "é"
    ]


@pytest.mark.parametrize("method", ["gzip", "zlib", "bzip2", "bzip", "lzma", "xz"])
def test_bytes_are_compressed_there_and_back(method: str) -> None:
    data = b"x" * 1000

    packed, mime = serializers.compress(data, method)

    assert len(packed) < 200
    assert serializers.decompress(packed, method) == data
    assert serializers.decompress(packed, mime) == data


def test_compressions_are_the_formats_that_celery_means() -> None:
    data = b"x" * 1000

    assert zlib.decompress(serializers.compress(data, "gzip")[0]) == data
    assert bz2.decompress(serializers.compress(data, "bzip2")[0]) == data
    assert lzma.decompress(serializers.compress(data, "lzma")[0]) == data


@pytest.mark.parametrize("method", ["brotli", "zstd"])
def test_a_missing_library_is_named(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("brotli", "zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(EncodeError, match="needs the package"):
        serializers.compress(b"x", method)
    with pytest.raises(DecodeError, match="needs the package"):
        serializers.decompress(b"x", method)


def test_an_unknown_compression_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EncodeError, match=r"'rar'.*gzip"):
        serializers.compress(b"x", "rar")
    with pytest.raises(DecodeError, match=r"'rar'.*gzip"):
        serializers.decompress(b"x", "rar")
