"""Other serializers, and types of one's own, through real workers of both engines."""

import importlib
import sys

import pytest

from umbel import chain, chord, group

pytestmark = pytest.mark.slow

PROGRAMS = "programs"
ALL = ["json", "yaml", "msgpack", "pickle", "squeezed"]


@pytest.fixture
def tasks(urls, monkeypatch, request):
    """The program of these tests, imported here as a producer that reads what ``results`` says."""

    def imported(accepted, results="json"):
        settings = {**urls, "ACCEPTED": accepted, "RESULTS": results}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(request.path.parent / PROGRAMS))
        sys.modules.pop("serial_tasks", None)
        module = importlib.import_module("serial_tasks")
        request.addfinalizer(module.app.close)
        request.addfinalizer(lambda: sys.modules.pop("serial_tasks", None))
        return module, settings

    return imported


@pytest.mark.parametrize("results", ["yaml", "squeezed"])
def test_tasks_retries_canvases_and_results_speak_any_serializer(tasks, start_worker, results):
    t, settings = tasks(",".join(ALL), results)
    start_worker("serial_tasks", "-c", "2", env=settings)
    value = {"text": "\u2603", "list": [1, None, 2.5]}

    sent = {
        name: [
            t.echo.apply_async((value,), serializer=name),
            t.again.apply_async((value,), serializer=name),
            chain(t.echo.s(value), t.echo.s()).apply_async(serializer=name),
            group(t.echo.s(value), t.again.s(1)).apply_async(serializer=name, compression="gzip"),
            chord([t.echo.s(1), t.again.s(2)], t.echo.s()).apply_async(serializer=name),
        ]
        for name in ALL
    }

    for name, given in sent.items():
        found = [result.get(timeout=20) for result in given]
        assert found == [value, [value, 1], value, [value, [1, 1]], [1, [2, 1]]], name


def test_a_class_of_ones_own_goes_through_json(tasks, start_worker):
    t, settings = tasks("json")
    start_worker("serial_tasks", "-c", "1", env=settings)

    found = (t.moved.s(t.Point(1, 2)) | t.moved.s()).apply_async().get(timeout=20)

    assert found == t.Point(3, 2)


@pytest.mark.parametrize("name", ["yaml", "msgpack", "pickle", "squeezed"])
def test_a_worker_runs_nothing_that_it_does_not_accept(tasks, start_worker, name):
    t, settings = tasks("json")
    worker = start_worker("serial_tasks", "-c", "1", env=settings)

    refused = t.echo.apply_async((1,), serializer=name)

    assert t.echo.delay(2).get(timeout=20) == 2
    worker.wait_for("accept_content")
    error = refused.get(timeout=20, propagate=False)
    assert "accept_content" in str(error)
    assert refused.failed()
