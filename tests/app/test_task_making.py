"""What ``@app.task`` makes of a function, and what task classes may do."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import umbel
from umbel import Celery, Task
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet, NotRegistered


def test_a_decorated_function_is_a_task_and_still_a_function(app: Celery) -> None:
    @app.task
    def add(x, y=2):
        """Add."""
        return x + y

    assert isinstance(add, Task)
    assert add(1) == 3
    assert add.name == f"{__name__}.add"
    assert add.__doc__ == "Add."
    assert add.__name__ == "add"
    assert app.tasks[add.name] is add


def test_options_become_attributes(app: Celery) -> None:
    @app.task(name="sums.add", bind=True, queue="slow", max_retries=None, ignore_result=True)
    def add(self, x, y):
        return self.name, x + y

    assert add.name == "sums.add"
    assert add(1, 2) == ("sums.add", 3)
    assert (add.queue, add.max_retries, add.ignore_result) == ("slow", None, True)


def test_what_a_task_does_not_say_the_settings_say(app: Celery) -> None:
    @app.task
    def add(x, y):
        return x + y

    app.conf.update(task_serializer="yaml", task_ignore_result=True, task_time_limit=9)

    assert (add.serializer, add.ignore_result, add.time_limit) == ("yaml", True, 9)


def test_annotations_change_tasks_when_the_app_is_finalized() -> None:
    app = Celery(
        "shop",
        task_annotations={"sums.add": {"rate_limit": "10/s"}, "*": {"acks_late": False}},
    )

    @app.task(name="sums.add")
    def add(x, y):
        return x + y

    app.finalize()

    assert (add.rate_limit, add.acks_late) == ("10/s", False)


def test_a_base_class_brings_state_and_hooks(app: Celery) -> None:
    class Connected(Task):
        abstract = True
        _connection: object = None

        @property
        def connection(self):
            if self._connection is None:
                self._connection = object()
            return self._connection

    @app.task(base=Connected, bind=True)
    def use(self):
        return self.connection

    assert use() is use()


def test_the_apps_task_class_is_the_base_of_all(app: Celery) -> None:
    class Audited(Task):
        def __call__(self, *args, **kwargs):
            return ["audited", super().__call__(*args, **kwargs)]

    audited = Celery("shop", task_cls=Audited, set_as_current=False)

    @audited.task
    def add(x, y):
        return x + y

    assert isinstance(add, Audited)
    assert add(1, 2) == ["audited", 3]
    assert add.apply((1, 2)).get() == ["audited", 3]


def test_a_task_class_is_registered_as_an_instance(app: Celery) -> None:
    class Add(app.Task):
        def run(self, x, y):
            return x + y

    add = app.register_task(Add())

    assert add.name == f"{__name__}.Add"
    assert app.tasks[add.name] is add
    assert add.app is app
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        add.delay(1)


def test_partials_and_wrapped_functions_are_tasks(app: Celery) -> None:
    def power(base, exponent):
        return base**exponent

    def doubled(function):
        @functools.wraps(function)
        def inner(*args):
            return 2 * function(*args)

        return inner

    square = app.task(functools.partial(power, exponent=2), name="sums.square")
    twice = app.task(doubled(power))

    assert square(3) == 9
    assert twice(2, 3) == 16
    assert twice.name == f"{__name__}.power"


def test_a_name_is_registered_once(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    first = app.task(lambda: 1, name="sums.one")
    second = app.task(lambda: 2, name="sums.one")

    assert second is first
    assert "sums.one is defined more than once" in caplog.text


def test_coroutine_functions_are_refused_by_name(app: Celery) -> None:
    async def fetch():
        pass

    with pytest.raises(NotBuiltYet, match=r"task sums\.fetch is a coroutine function"):
        app.task(fetch, name="sums.fetch")


def test_models_need_pydantic(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(ImproperlyConfigured, match="pydantic is not installed"):
        app.task(lambda x: x, name="sums.same", pydantic=True)


def test_an_unknown_task_is_named(app: Celery) -> None:
    with pytest.raises(NotRegistered, match="no.such.task"):
        app.tasks["no.such.task"]


def test_a_class_without_run_says_so(app: Celery) -> None:
    with pytest.raises(NotImplementedError, match=r"run\(\)"):
        app.Task()()


def module_level(x):
    return x


def test_tasks_travel_by_name(app: Celery) -> None:
    task = app.task(module_level)

    assert pickle.loads(pickle.dumps(task)) is task


def test_the_tasks_of_a_script_are_named_after_the_app(tmp_path: Path) -> None:
    program = """
        from umbel import Celery
        named, nameless = Celery("shop"), Celery()
        for app in named, nameless:
            @app.task
            def add(): ...
            print(add.name)
    """
    (tmp_path / "orders.py").write_text(textwrap.dedent(program))

    printed = subprocess.run(
        [sys.executable, str(tmp_path / "orders.py")], capture_output=True, text=True, check=True
    )

    assert printed.stdout.split() == ["shop.add", "orders.add"]


def test_shared_tasks_belong_to_whichever_app_is_current() -> None:
    @umbel.shared_task(name="library.double")
    def double(x):
        return 2 * x

    one, two = Celery("one"), Celery("two")

    assert double.app is two
    one.set_current()
    assert double.app is one
    assert double(4) == 8
    assert isinstance(double, Task)
    assert one.tasks["library.double"] is not two.tasks["library.double"]


def test_a_shared_task_reaches_apps_that_are_finalized_already() -> None:
    app = Celery("early")
    app.finalize()

    @umbel.shared_task(bind=True, name="library.whoami")
    def whoami(self):
        return self.app

    assert app.tasks["library.whoami"]() is app


def test_without_any_app_there_is_a_default_one() -> None:
    assert umbel.current_app.main == "default"
    assert isinstance(umbel.current_app._get_current_object(), Celery)


def test_the_last_app_is_the_current_one_in_every_thread() -> None:
    import threading

    app = Celery("last")
    seen = []

    thread = threading.Thread(target=lambda: seen.append(umbel.current_app.main))
    thread.start()
    thread.join()

    assert seen == [app.main]


@pytest.mark.parametrize("part", ["Beat", "prepare_config", "loader_cls", "Worker"])
def test_parts_that_are_not_built_say_what_to_use(app: Celery, part: str) -> None:
    with pytest.raises(NotBuiltYet, match=rf"app\.{part}: "):
        getattr(app, part)
    assert not hasattr(app, part)


def test_parts_of_an_app_can_not_be_exchanged() -> None:
    with pytest.raises(NotBuiltYet, match=r"Celery\(amqp=\.\.\.\)"):
        Celery("shop", amqp="my.module:Amqp")


def test_an_app_that_does_not_finalize_itself_says_so() -> None:
    app = Celery("shop", autofinalize=False, set_as_current=False)

    with pytest.raises(RuntimeError, match=r"app\.finalize\(\)"):
        _ = app.tasks
    app.finalize()

    assert "celery.map" in app.tasks


def test_finalizing_is_told_once() -> None:
    app = Celery("shop", set_as_current=False)
    seen = []
    connected = app.on_after_finalize.connect(lambda sender, **_: seen.append(sender), weak=False)
    assert connected

    app.finalize()
    _ = app.tasks

    assert seen == [app]


def test_an_error_callback_that_takes_any_number_is_of_the_new_style(app: Celery) -> None:
    @app.task
    def any_number(*args): ...

    @app.task
    def only_an_id(task_id): ...

    @app.task(bind=True)
    def bound(self, task_id): ...

    accepting = [task.accepts_error_request for task in (any_number, only_an_id, bound)]

    assert accepting == [True, False, False]
