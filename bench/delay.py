"""What ``delay()`` costs before it reaches the broker, and what ``import umbel`` adds to Python.

python bench/delay.py
"""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from umbel import AsyncResult, Celery
from umbel.app.execution import Plan, execute
from umbel.model.call import Call
from umbel.model.request import Request
from umbel.ports.engine import Pair

ROUNDS, NUMBER = 7, 10_000


class NoBroker:
    """Takes messages and drops them."""

    url = "none://"

    def publish(self, messages: Sequence[Any], openings: Sequence[Any] = ()) -> None: ...

    def close(self) -> None: ...


app = Celery("bench", broker="redis://nowhere", backend="redis://nowhere")
broker: Any = NoBroker()
pair = Pair(broker, None, True)
app.connections.pair = lambda: pair  # type: ignore[method-assign]


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(bind=True)
def bound(self: Any, x: int, y: int) -> int:
    return x + y


CALL = Call(add.name, (1, 2), {}, "5e8a8d26-b650-48c4-a15f-ad78a8b5938e")
PLAN = Plan(add)


def run_once() -> None:
    execute(PLAN, Request(id="1", task=add.name, called_directly=False), (1, 2), {})


CASES: dict[str, Callable[[], Any]] = {
    "delay": lambda: add.delay(1, 2),
    "of which the check of arguments": lambda: add.check_arguments((1, 2), {}),
    "of which the id": app.new_id,
    "of which compose": lambda: app.publisher.compose(CALL, add),
    "of which the result": lambda: AsyncResult(CALL.id, None, add.name, app),
    "apply_async(countdown=60)": lambda: add.apply_async((1, 2), countdown=60),
    "apply_async(queue='slow')": lambda: add.apply_async((1, 2), queue="slow"),
    "s().delay()": lambda: add.s(1).delay(2),
    "execute": run_once,
    "direct call": lambda: add(1, 2),
}


def cpu_ms(program: str) -> float:
    """CPU of a fresh interpreter, the least of several."""
    script = f"{program}\nimport time\nprint(time.process_time() * 1000)"
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        for _ in range(9)
    ]
    return min(float(run.stdout) for run in runs)


if __name__ == "__main__":
    for name, case in CASES.items():
        case()
        best = min(timeit.repeat(case, number=NUMBER, repeat=ROUNDS)) / NUMBER
        print(f"{name:36}{best * 1e6:8.2f} us")
    print(f"{'import umbel, over bare Python':36}{cpu_ms('import umbel') - cpu_ms(''):8.1f} ms CPU")
