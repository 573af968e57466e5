"""Canvases know what they end in: the last step, the body, the list of the members."""

from typing import Any, assert_type

from umbel import (
    AsyncResult,
    Celery,
    GroupResult,
    ResultSet,
    Signature,
    chain,
    chord,
    group,
    shared_task,
)

app = Celery("typing")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def label(number: int) -> str:
    return str(number)


@shared_task
def join(words: list[str]) -> bytes:
    return "".join(words).encode()


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


# Pipes and chains.
assert_type(add.s(1, 2) | label.s(), Signature[str])
assert_type((add.s(1, 2) | add.s(3) | label.s()).delay().get(), str)
assert_type(chain(add.s(1, 2), label.s()).delay().get(), str)
assert_type(chain(add.s(1, 2), add.s(2), add.s(3), label.s()).apply_async().get(), str)
assert_type(chain([add.s(1, 2), label.s()]).delay().get(), Any)
chain(add.s(1, 2), label.s()).tasks
(add.s(1) | {"task": "other"}).delay()

# Groups.
squares = group(add.s(i, i) for i in range(3))
assert_type(squares, group[int])
assert_type(group([add.s(1, 1)]), group[int])
assert_type(group(label.s(1), label.s(2)), group[str])
sent = squares.apply_async()
assert_type(sent.get(), list[int])
assert_type(squares.delay().join(), list[int])
sent.successful(), sent.completed_count(), sent.results, len(squares), squares.skew(start=1)
sent.save()
assert_type(sent, GroupResult[int])

# Chords.
assert_type(chord([label.s(1), label.s(2)])(join.s()), AsyncResult[bytes])
assert_type(chord((label.s(i) for i in range(3)), join.s()).delay().get(), bytes)
assert_type((group(label.s(1), label.s(2)) | join.s()).delay().get(), bytes)
assert_type(chord(group(label.s(1)), join.s()).body, Any)

# A group at the end of a chain gives a list.
assert_type((add.s(1, 2) | group(label.s(), label.s())).delay().get(), list[str])

# Batches.
assert_type(label.map([1, 2]).delay().get(), list[str])
assert_type(add.starmap([(1, 2)]).delay().get(), list[int])
assert_type(add.chunks([(1, 2)], 10)().get(), list[list[int]])
assert_type(add.chunks([(1, 2)], 10).group().apply_async().get(), list[list[int]])

# Results as one.
assert_type(ResultSet([add.delay(1, 2)]).get(), list[Any])

number: int = chord([label.s(1)])(join.s()).get()  # E: "bytes"
add.s(1, 2) | 3  # E
chain(add.s(1, 2), label.s()).dealy()  # E: dealy
