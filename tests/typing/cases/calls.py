"""Plain tasks: a call is checked as the function's own would be, and its value is known."""

from typing import Any, assert_type, reveal_type

from umbel import AsyncResult, Celery, Task

app = Celery("typing")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="label", max_retries=5, rate_limit="10/m")
def label(number: int, text: str = "", *, upper: bool = False) -> str:
    return text.upper() if upper else text * number


@app.task()
def nothing() -> None:
    return None


@app.task
def untyped(x, y):  # type: ignore[no-untyped-def]
    return x


@app.task
def total(*numbers: int, **named: int) -> int:
    return sum(numbers)


reveal_type(add)  # R: Task[[x: int, y: int], int]
assert_type(add(1, 2), int)
assert_type(add.run(1, 2), int)
assert_type(add.delay(1, 2), AsyncResult[int])
assert_type(add.delay(1, y=2).get(timeout=1), int)
assert_type(label.delay(1, "a", upper=True).get(), str)
assert_type(add.AsyncResult("id").get(), int)
assert_type(add.apply((1, 2)).get(), int)
nothing.delay()
total.delay(1, 2, 3, a=4)

add(1, "x")  # E: "int"
add.delay(1, "x")  # E: "int"
add.delay(1)  # E: "y"
add.delay(1, 2, 3)  # E
add.delay(1, z=3)  # E: "z"
label.delay("x")  # E
label.delay(1, "x", True)  # E
label.delay(1, uper=True)  # E: "uper"
nothing.delay(1)  # E
total.delay("x")  # E
add.dealy(1, 2)  # E: dealy

text: str = add.delay(1, 2).get()  # E: "int"

# What says nothing is asked nothing, and a bare Task is any task.
assert_type(untyped.delay("a", None).get(), Any)


def send(task: Task, result: AsyncResult) -> AsyncResult:
    assert_type(result.get(), Any)
    task.delay(1, anything="goes")
    task.apply_async((1, 2, 3), {"a": 1}, countdown=3)
    return task.s(1).delay()


send(add, add.delay(1, 2))
send(label, nothing.delay())
