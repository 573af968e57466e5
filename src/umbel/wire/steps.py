"""The rest of a chain, kept as it stood in the message: each step hands it on, few look into it.

A chain of 100 steps carries some 25 KB of steps, and each of its messages held them decoded, and
encoded anew: half of what a step cost (docs/performance.md). ``Steps`` is that list, reversed as on
the wire (the next step is the last), which reads a step when it is asked for one and writes itself
as the bytes that it was read from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from umbel.model.call import SignatureDict
from umbel.wire import json_forms


class Steps(Sequence[SignatureDict]):
    """Signatures as JSON texts. A slice is ``Steps`` again; an item is a dictionary of its own."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Sequence[Any]) -> None:
        self._texts = texts  # anything that has the bytes of a buffer

    @property
    def text(self) -> bytes:
        """All steps as a JSON array, in ASCII."""
        return b"[" + b", ".join(self._texts) + b"]"

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, place: int) -> SignatureDict: ...
    @overload
    def __getitem__(self, place: slice) -> Steps: ...
    def __getitem__(self, place: int | slice) -> SignatureDict | Steps:
        if isinstance(place, slice):
            return Steps(self._texts[place])
        step: SignatureDict = json_forms.loads(bytes(self._texts[place]))
        return step

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))


def read_body(body: bytes) -> tuple[Any, Any, dict[str, Any]] | None:
    """The triple of a body that has a chain, the chain as ``Steps``; None: read it as a whole.

    That is for bodies that are not as usual, which includes all that are broken: what reads them
    then finds out in which way.
    """
    global _split
    # What is skipped is checked to be JSON, but not to be UTF-8; forms are looked for by what reads
    # a whole text.
    if not body.isascii() or json_forms.may_hold_forms(body):
        return None
    if _split is None:
        _split = _make_split()
    found = _split(body)
    if found is None:
        return None
    args, kwargs, callbacks, errbacks, chain, chord = found
    read = json_forms.loads
    embed: dict[str, Any] = {"chain": chain}
    for name, text in (("callbacks", callbacks), ("errbacks", errbacks), ("chord", chord)):
        if text != b"null":
            embed[name] = read(text)
    return read(args), read(kwargs), embed


_Split = Callable[[bytes], tuple[bytes, bytes, bytes, bytes, Steps, bytes] | None]
_split: _Split | None = None


def _make_split() -> _Split:
    try:
        import msgspec
    except ImportError:
        return lambda body: None
    raw: Any = msgspec.Raw
    null = raw(b"null")
    embed: Any = msgspec.defstruct(
        "Embed",
        [("chain", list[raw]), ("callbacks", raw, null), ("errbacks", raw, null)]
        + [("chord", raw, null)],
    )
    named: Any = msgspec.defstruct("Named", [("task", str)])
    whole = msgspec.json.Decoder(tuple[raw, raw, embed]).decode
    check = msgspec.json.Decoder(list[named]).decode
    refused = (msgspec.MsgspecError, ValueError, RecursionError)

    def split(body: bytes) -> tuple[bytes, bytes, bytes, bytes, Steps, bytes] | None:
        try:
            args, kwargs, found = whole(body)
            chain = Steps(found.chain)
            check(chain.text)
        except refused:
            return None
        return (
            bytes(args),
            bytes(kwargs),
            bytes(found.callbacks),
            bytes(found.errbacks),
            chain,
            bytes(found.chord),
        )

    return split
