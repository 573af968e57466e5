"""Compressed bodies and results: from Celery's names to bytes and back.

A message says in its ``compression`` header how its body is compressed; a result says it in front
of its own bytes, because stores keep one opaque value. What Celery calls gzip is zlib's format
(RFC 1950), not a gzip file. zstd and brotli need a library; without it the error names it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from umbel.model.errors import DecodeError, EncodeError

_MIME = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
    "brotli": "application/x-brotli",
}
# Modules with functions ``compress`` and ``decompress``, the first that is there.
_MODULES = {
    "application/x-gzip": ("zlib",),
    "application/x-bz2": ("bz2",),
    "application/x-lzma": ("lzma",),
    "application/zstd": ("compression.zstd", "zstandard"),
    "application/x-brotli": ("brotli",),
}
_MARK = b"\0celery-compressed\0"


class _NoLibrary(Exception):
    """No module for this method is installed."""


def _functions(mime: str) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    for name in _MODULES[mime]:
        try:
            module: Any = import_module(name)
        except ImportError:
            continue
        return module.compress, module.decompress
    raise _NoLibrary(f"compression {mime} needs the package {_MODULES[mime][-1]}: install it")


def _mime_of(method: str) -> str | None:
    return _MIME.get(method.lower()) or (method if method in _MODULES else None)


def compress(data: bytes, method: str) -> tuple[bytes, str]:
    """The bytes compressed, and the content type of the method. Raises ``EncodeError``."""
    mime = _mime_of(method)
    if mime is None:
        raise EncodeError(f"unknown compression {method!r}; known: {', '.join(sorted(_MIME))}")
    try:
        return _functions(mime)[0](data), mime
    except _NoLibrary as error:
        raise EncodeError(str(error)) from None


def decompress(data: bytes, method: str) -> bytes:
    """Undo ``compress``; the method is a name or a content type. Raises ``DecodeError``."""
    mime = _mime_of(method) if isinstance(method, str) else None
    if mime is None:
        raise DecodeError(f"unknown compression {method!r}; known: {', '.join(sorted(_MIME))}")
    try:
        return _functions(mime)[1](data)
    except _NoLibrary as error:
        raise DecodeError(str(error)) from None
    # Not narrower: each library has errors of its own (zlib.error, OSError, LZMAError, EOFError).
    except Exception as error:  # noqa: BLE001
        raise DecodeError(f"not {mime}: {type(error).__name__}: {error}") from error


def pack(data: bytes, method: str) -> bytes:
    """A stored value that says in front of itself how it is compressed."""
    packed, mime = compress(data, method)
    return _MARK + mime.encode("ascii") + b"\0" + packed


def unpack(data: bytes) -> bytes:
    """Undo ``pack``; a value that was not packed is given as it is."""
    if not data.startswith(_MARK):
        return data
    mime, separator, packed = data[len(_MARK) :].partition(b"\0")
    if not separator:
        raise DecodeError("a compressed value ends before its bytes")
    return decompress(packed, mime.decode("ascii", "replace"))
