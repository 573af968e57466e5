"""``celery.utils.functional``: functions of lists and functions that programs import from Celery.

https://docs.celeryq.dev/en/stable/internals/reference/celery.utils.functional.html
"""

from __future__ import annotations

import inspect
from collections import OrderedDict, UserList
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from itertools import chain as chained
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def chunks(it: Iterator[T], n: int) -> Iterator[list[T]]:
    """Lists of up to ``n`` items of an iterator."""
    while part := list(islice(it, n)):
        yield part


def is_list(obj: object, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Whether a value is iterable, and neither a mapping nor text."""
    return isinstance(obj, iters) and not isinstance(obj, (*scalars, bytes))


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """The value itself where it is a list or None, else a list of it."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def first(predicate: Callable[[T], object] | None, it: Iterable[T]) -> T | None:
    """The first item for which the predicate holds (without one: the first that is not None)."""
    for item in it:
        if predicate(item) if predicate else item is not None:
            return item
    return None


def firstmethod(method: str, on_call: Any = None) -> Callable[..., Any]:
    """A function that calls a method of each object of a list until one gives a value."""

    def ask(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for obj in it:
            meth = getattr(maybe_evaluate(obj), method, None)
            if meth is None:
                continue
            answer = on_call(meth, *args, **kwargs) if on_call else meth(*args, **kwargs)
            if answer is not None:
                return answer
        return None

    return ask


def uniq(it: Iterable[T]) -> Iterator[T]:
    """The items in order, each once."""
    return iter(dict.fromkeys(it))


def padlist(container: Iterable[Any], size: int, default: Any = None) -> list[Any]:
    """The first ``size`` items; where there are fewer, ``default`` fills up."""
    found = list(islice(container, size))
    return found + [default] * (size - len(found))


def dictfilter(d: Mapping[Any, Any] | None = None, **kw: Any) -> dict[Any, Any]:
    """A dictionary less the values that are None."""
    return {key: value for key, value in {**(d or {}), **kw}.items() if value is not None}


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function that gives these attributes of an object, None for those it lacks."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def maybe(typ: Callable[[Any], T], val: Any) -> T | None:
    """``typ(val)``, unless it is None."""
    return typ(val) if val is not None else None


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether a function takes any keyword."""
    kinds = (each.kind for each in inspect.signature(fun).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds


class lazy:  # noqa: N801 - Celery's name
    """A call that is made when its value is asked for, each time."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs

    def evaluate(self) -> Any:
        """The value."""
        return self._fun(*self._args, **self._kwargs)

    __call__ = evaluate

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    __hash__ = object.__hash__


class mlazy(lazy):  # noqa: N801 - Celery's name
    """A call that is made when its value is asked for first."""

    evaluated = False
    _value: Any = None

    def evaluate(self) -> Any:
        """The value."""
        if not self.evaluated:
            self._value = super().evaluate()
            self.evaluated = True
        return self._value

    __call__ = evaluate


def maybe_evaluate(value: Any) -> Any:
    """The value of a ``lazy``; other values are given back."""
    return value.evaluate() if isinstance(value, lazy) else value


class _Regen(UserList[Any]):
    """Items of an iterator that are read when they are asked for, and kept."""

    def __init__(self, it: Iterable[Any]) -> None:
        self._rest = iter(it)
        self._read: list[Any] = []

    @property
    def data(self) -> list[Any]:  # type: ignore[override]  # a list that is made when it is needed
        """All items."""
        self._read.extend(self._rest)
        return self._read

    def __iter__(self) -> Iterator[Any]:
        return chained(self._read, self._reading())

    def _reading(self) -> Iterator[Any]:
        for item in self._rest:
            self._read.append(item)
            yield item

    def __repr__(self) -> str:
        return f"<regen of {len(self._read)} items, so far>"


def regen(it: Any) -> Any:
    """A list or tuple as it is; of any other iterable a sequence that can be read again."""
    return it if isinstance(it, list | tuple) else _Regen(it)


class LRUCache(OrderedDict[Any, Any]):
    """A dictionary that forgets what was used longest ago, beyond ``limit`` keys."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        super().__init__()

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while self.limit and len(self) > self.limit:
            del self[next(iter(self))]

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add to a number that is kept as text; gives it."""
        number = int(self.pop(key)) + delta
        self[key] = str(number)
        return number


def memoize(
    maxsize: int | None = None,
    keyfun: Callable[..., Any] | None = None,
    Cache: Any = LRUCache,  # noqa: N803 - Celery's name
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: calls with the same arguments (``keyfun`` of them) are made once."""

    def memoized(fun: Callable[..., Any]) -> Any:
        cache = Cache(limit=maxsize)

        @wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            if key in cache:
                call.hits += 1  # type: ignore[attr-defined]  # counters of the function
                return cache[key]
            value = cache[key] = fun(*args, **kwargs)
            call.misses += 1  # type: ignore[attr-defined]
            return value

        def clear() -> None:
            cache.clear()
            call.hits = call.misses = 0  # type: ignore[attr-defined]

        call.hits = call.misses = 0  # type: ignore[attr-defined]
        call.clear = clear  # type: ignore[attr-defined]
        call.original_func = fun  # type: ignore[attr-defined]
        return call

    return memoized


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """True or False for ``yes``, ``on``, ``1``, ``no``...; what is no text is given back."""
    if not isinstance(term, str):
        return term
    found = (_TRUTHS if table is None else table).get(term.lower())
    if found is None:
        raise TypeError(f"cannot coerce {term!r} to type bool")
    return found


_TRUTHS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)
