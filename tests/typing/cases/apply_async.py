"""``apply_async``: a tuple of up to four arguments is checked where it says all of the call."""

from datetime import datetime
from typing import Any, assert_type

from umbel import AsyncResult, Celery

app = Celery("typing")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def label(number: int, text: str = "") -> str:
    return text * number


@app.task
def nothing() -> None:
    return None


@app.task
def total(*numbers: int) -> int:
    return sum(numbers)


@app.task
def five(a: int, b: int, c: int, d: int, e: str) -> str:
    return e


assert_type(add.apply_async((1, 2)), AsyncResult[int])
assert_type(add.apply_async(args=(1, 2), countdown=3, queue="q"), AsyncResult[int])
assert_type(add.apply_async((1, 2), eta=datetime.now(), link=add.s(2)).get(), int)
assert_type(add.apply_async([1, 2]).get(), int)
assert_type(add.apply_async((1,), {"y": 2}).get(), int)
assert_type(add.apply_async(kwargs={"x": 1, "y": 2}, priority=3).get(), int)
assert_type(add.apply_async(args=(1,), kwargs={"y": 2}).get(), int)
assert_type(label.apply_async((1,)).get(), str)
assert_type(label.apply_async((1, "x")).get(), str)
assert_type(five.apply_async((1, 2, 3, 4, "x")).get(), str)
nothing.apply_async()
nothing.apply_async((), countdown=1)
nothing.apply_async(countdown=1)
total.apply_async((1, 2, 3))

add.apply_async((1, "x"))  # E
add.apply_async((1,))  # E
add.apply_async((1, 2, 3))  # E
add.apply_async()  # E
add.apply_async(countdown=1)  # E
label.apply_async((1, 2))  # E
nothing.apply_async((1,))  # E
total.apply_async((1, "x"))  # E
add.apply_async("12")  # E
number: int = label.apply_async((1, "x")).get()  # E: "str"


def some(unknown: tuple[Any, ...], numbers: list[int], known: dict[str, Any]) -> None:
    add.apply_async(unknown)
    add.apply_async(numbers)
    add.apply_async(tuple(numbers), known)
    add.apply_async(None, known)


def limits(numbers: tuple[int, ...]) -> None:
    # The language can't say "a tuple of any length, but not one of a wrong length".
    add.apply_async(numbers)  # E
    add.apply_async(list(numbers))
    # Beyond four arguments, in lists and in dictionaries nothing is checked.
    five.apply_async((1, 2, 3, 4, 5))
    add.apply_async([1, "x"])
    add.apply_async((1,), {"z": 2})
