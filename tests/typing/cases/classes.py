"""Task classes, ``base=``, ``pydantic=True``, ``@shared_task``, and how old programs write it."""

from typing import Any, assert_type

from umbel import AsyncResult, Celery, Task, shared_task

app = Celery("typing")


class DatabaseTask(Task):
    abstract = True
    _connection: str | None = None

    @property
    def connection(self) -> str:
        if self._connection is None:
            self._connection = "open"
        return self._connection

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        super().on_failure(exc, task_id, args, kwargs, einfo)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


@app.task(base=DatabaseTask)
def count(table: str) -> int:
    return len(table)


@app.task(base=DatabaseTask, bind=True)
def rows(self: DatabaseTask, table: str) -> list[str]:
    return [self.connection, table]


assert_type(count.delay("t").get(), int)
assert_type(rows.delay("t").get(), list[str])
assert_type(rows.s("t").delay().get(), list[str])
count.connection  # what only the base class knows
count.delay(1)  # E
rows.delay(1)  # E
rows.apply_async((1,))  # E


class Untold(Task):
    name = "untold"

    def run(self, table: str) -> int:
        return len(table)


class Told(Task[[str], int]):
    name = "told"
    acks_late = True

    def run(self, table: str) -> int:
        return len(table)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        return super().apply_async(args, kwargs, **options)


untold = app.register_task(Untold())
told = app.register_task(Told)
assert_type(untold, Untold)
assert_type(told, Told)
untold.delay(1)
assert_type(told.delay("t").get(), int)
told.delay(1)  # E


@app.task(pydantic=True)
def model(value: Task) -> Task:
    return value


model.delay({"value": 1})
model.delay(value={"value": 1})


@shared_task
def shared(x: int) -> str:
    return str(x)


@shared_task(bind=True, name="shared.bound", base=DatabaseTask)
def shared_bound(self: Any, x: int) -> str:
    return str(x)


assert_type(shared.delay(1).get(), str)
assert_type(shared(1), str)
assert_type(shared_bound.delay(1).get(), str)
shared.delay("x")  # E
shared_bound.delay("x")  # E
