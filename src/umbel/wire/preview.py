"""Values as short text for people: in ``argsrepr``, in logs, in events.

Bounded in length and depth, so that a huge argument costs nothing; it never raises, whatever a
``__repr__`` does; what stands under a secret-looking key is masked. The form is Python's, cut where
Celery cuts it: nesting after three levels, text with ``...``, further members as ``...``. It is
never parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

MASK = "'********'"
MAX_DEPTH = 3
# No regular expression: compiling it is 2 ms of ``import umbel``.
_SECRET = (
    *("password", "passphrase", "passwd", "secret", "token", "apikey", "privatekey"),
    *("credential", "authoriz", "authoris", "cookie"),
)


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether what is called so should not be shown."""
    letters = name.lower().replace("_", "").replace("-", "").replace("tokeniz", "")
    return any(word in letters for word in _SECRET)


_is_hidden: Callable[[str], bool] = is_secret


def hide_keys(decide: Callable[[str], bool] | None) -> None:
    """Decide yourself which keys have their values masked; ``None`` gives the default back."""
    global _is_hidden
    _is_hidden = decide or is_secret


# Kinds whose repr is short, safe and the same in Celery.
_PLAIN = frozenset({int, float, bool, type(None)})
_SHORT = 64  # a text up to here, and
_FEW = 9  # fewer members than this, are shown by Python itself
_EMPTY: dict[type, str] = {tuple: "()", list: "[]", dict: "{}"}


def preview(value: Any, limit: int = 1024) -> str:
    """A value as text of about ``limit`` characters. Never raises."""
    kind = type(value)
    if kind is tuple or kind is list or kind is dict:
        if not value:
            return _EMPTY[kind]
        if len(value) < _FEW and _is_plain(value, kind):
            text = _shown(value)
            if len(text) <= limit:
                return text
    elif kind in _PLAIN:
        return _shown(value)[:limit]
    writer = _Writer(limit)
    try:
        writer.write(value, 0)
    except Exception as error:  # noqa: BLE001 - users' iterators, keys and hooks
        writer.pieces.append(f"<{type(error).__name__} while showing it>")
    return "".join(writer.pieces)


def _is_plain(value: Any, kind: type) -> bool:
    """Whether Python's own repr will do: 0.4 us instead of 4 for what most calls have."""
    if kind is dict:
        for key in value:
            if type(key) is not str or len(key) > _SHORT or _is_hidden(key):
                return False
        value = value.values()
    for member in value:
        kind = type(member)
        if kind not in _PLAIN and (kind is not str or len(member) > _SHORT):
            return False
    return True


def _shown(value: Any) -> str:
    """``repr`` that can't fail."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - users' code
        return f"<Unrepresentable {type(value).__name__}: {type(error).__name__}>"
    return text if type(text) is str else str.__str__(text)


_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


class _Writer:
    """Writes into a budget of characters; closing brackets are always written."""

    __slots__ = ("left", "on_path", "pieces")

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.pieces: list[str] = []
        self.on_path: list[int] = []  # containers that are open, to notice one inside itself

    def put(self, text: str) -> None:
        if len(text) > self.left:
            text = text[: self.left] + "..."
            self.left = 0
        else:
            self.left -= len(text)
        self.pieces.append(text)

    def write(self, value: Any, depth: int) -> None:
        if isinstance(value, str):
            self.put_text(value)
        elif isinstance(value, bytes):
            self.put_bytes(value)
        elif isinstance(value, dict):
            self.write_members(value, "{", "}", depth)
        else:
            for kind, (opening, closing) in _BRACKETS.items():
                if isinstance(value, kind):
                    if value or kind in (list, tuple):
                        self.write_members(value, opening, closing, depth)
                    else:
                        self.put(f"{kind.__name__}()")
                    return
            self.put(_shown(value))

    def put_text(self, value: str) -> None:
        # Cut first: the repr of a text of 50 MB would be made in full.
        if len(value) <= self.left:
            self.pieces.append(str.__repr__(value))
            self.left -= min(self.left, len(value) + 2)
        else:
            self.pieces.append(repr(value[: self.left] + "..."))
            self.left = 0

    def put_bytes(self, value: bytes) -> None:
        head = value[: self.left]
        more = "..." if len(value) > self.left else ""
        try:
            self.pieces.append(f"b'{head.decode('utf-8')}{more}'")
        except UnicodeDecodeError:
            self.pieces.append(f"b'{head.hex()}{more}'")  # Celery's form
        self.left -= len(head)

    def write_members(self, value: Any, opening: str, closing: str, depth: int) -> None:
        if id(value) in self.on_path:
            self.put(f"<Recursion on {type(value).__name__}>")
            return
        self.put(opening)
        if depth >= MAX_DEPTH:
            self.pieces.append("...")
        else:
            self.on_path.append(id(value))
            self.write_each(value, depth)
            self.on_path.pop()
            if opening == "(" and len(value) == 1:
                self.pieces.append(",")
        self.pieces.append(closing)

    def write_each(self, value: Any, depth: int) -> None:
        is_first = True
        for member in value:
            if self.left <= 0:
                self.pieces.append("..." if is_first else ", ...")
                return
            if not is_first:
                self.put(", ")
            is_first = False
            if isinstance(value, Mapping):
                self.write(member, depth + 1)
                self.put(": ")
                if isinstance(member, str) and _is_hidden(member):
                    self.put(MASK)
                else:
                    self.write(value[member], depth + 1)
            else:
                self.write(member, depth + 1)
