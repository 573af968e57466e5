"""Signatures: ``s`` is checked from its last argument on, ``si`` as a whole."""

from typing import Any, assert_type

from umbel import AsyncResult, Celery, Signature, signature

app = Celery("typing")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def label(number: int, text: str = "", *, upper: bool = False) -> str:
    return text * number


@app.task
def total(*numbers: int) -> int:
    return sum(numbers)


@app.task(bind=True)
def bound(self: object, x: int, y: str) -> str:
    return y * x


assert_type(add.s(1, 2), Signature[int])
assert_type(add.s(1), Signature[int])
assert_type(add.s(), Signature[int])
assert_type(add.s(y=1), Signature[int])
assert_type(add.s(x=1), Signature[int])
assert_type(add.si(1, 2), Signature[int])
assert_type(add.signature((1, 2), countdown=3), Signature[int])
assert_type(add.subtask((1, 2)), Signature[int])
assert_type(label.s("x", upper=True), Signature[str])
assert_type(bound.s("x"), Signature[str])
assert_type(bound.si(1, "x"), Signature[str])
total.s(1, 2, 3)

assert_type(add.s(1).delay(2), AsyncResult[int])
assert_type(add.s(1, 2).apply_async(countdown=3).get(), int)
assert_type(add.s(1, 2)(), int)
assert_type(~add.s(1, 2), int)
assert_type(add.s(1).clone((2,)).set(priority=3), Signature[int])
assert_type(add.s(1, 2).freeze(), AsyncResult[int])
assert_type(add.s(1, 2).on_error(label.s()), Signature[int])
assert_type(add.s(1, 2).apply().get(), int)
assert_type(signature(add.s(1)), Signature[int])
assert_type(signature("some.task", args=(1,)), Signature[Any])

add.s("x")  # E
add.s(1, 2, 3)  # E
add.s(1, z=2)  # E
label.s(1.5)  # E
bound.s(2)  # E
total.s("x")  # E
add.si(1)  # E
add.si(1, "x")  # E
bound.si("x", 1)  # E
text: str = add.s(1, 2).delay().get()  # E: "int"


def takes(some: Signature) -> None:
    some.apply_async(countdown=1)
    some.delay(1, 2)


takes(add.s(1))
