"""Settings, by what a user sees of them: on a worker, on the wire, on the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import celery
import pytest
import redis

from umbel import Celery
from umbel.model.errors import ContentDisallowed, QueueNotFound
from umbel.testing.running import running_worker
from umbel.wire import envelope


@pytest.fixture
def make(request):
    """Make an app in a memory of its own, with settings."""
    apps = []

    def of(**settings):
        url = f"memory://{request.node.name}"
        app = Celery("seen", broker=url, backend=url, set_as_current=False)
        app.conf.update(settings)
        apps.append(app)

        @app.task(name="tell", bind=True)
        def tell(self, value=None):
            return value

        return app

    yield of
    for app in apps:
        app.close()


def test_content_that_is_not_accepted_is_a_dead_letter(make):
    strict, open_minded = make(), make(accept_content=["json", "yaml"])
    tell = strict.tasks["tell"]

    with running_worker(strict):
        tell.apply_async((1,), serializer="yaml")
        assert tell.delay(2).get(timeout=10) == 2
    (letter,) = strict.dead.list()
    assert "untrusted content of type application/x-yaml" in letter.cause

    with running_worker(open_minded):
        assert tell.apply_async((3,), serializer="yaml").get(timeout=10) == 3


def test_results_are_read_as_accepted_for_results(make):
    writer = make(result_serializer="yaml", result_accept_content=["json", "yaml"])
    reader = make(result_serializer="yaml", result_accept_content=["json"])

    with running_worker(writer):
        result = writer.tasks["tell"].delay({"a": 1})
        assert result.get(timeout=10) == {"a": 1}

    with pytest.raises(ContentDisallowed):
        reader.AsyncResult(result.id).get(timeout=10)


def test_annotations_change_what_a_task_does(make):
    seen = []

    def on_success(self, retval, task_id, args, kwargs):
        seen.append((self.name, retval))

    app = make(task_annotations={"tell": {"on_success": on_success, "priority": 4}})

    with running_worker(app):
        result = app.tasks["tell"].delay("x")
        assert result.get(timeout=10) == "x"

    assert seen == [("tell", "x")]
    assert app.tasks["tell"].priority == 4


def test_defaults_are_below_all_other_settings(make):
    app = make()
    app.config_from_object({"task_default_queue": "from-object"})
    app.add_defaults({"task_default_queue": "from-defaults", "task_default_priority": 5})

    @app.task(name="t")
    def t():
        """A task."""

    t.delay()

    (raw,) = app.open_pair().broker.peek("from-object", 5)
    assert envelope.decode(raw).properties["priority"] == 5


def test_on_configure_comes_before_the_settings_are_read():
    class Prepared(Celery):
        def on_configure(self):
            self.conf.task_default_queue = "prepared"

    app = Prepared("prepared", broker="memory://prepared", set_as_current=False)

    app.send_task("t")

    assert len(app.open_pair().broker.peek("prepared", 5)) == 1


def test_old_names_and_a_namespace_mean_the_same_on_the_wire(make):
    by_old_name, by_namespace = make(), make()
    by_old_name.config_from_object(
        {"CELERY_DEFAULT_QUEUE": "old", "CELERY_TASK_SERIALIZER": "yaml"}
    )
    by_namespace.config_from_object(
        {"SHOP_TASK_DEFAULT_QUEUE": "new", "SHOP_TASK_SERIALIZER": "yaml", "OTHER": 1},
        namespace="SHOP",
    )

    for app, queue in ((by_old_name, "old"), (by_namespace, "new")):
        app.tasks["tell"].delay()

        (raw,) = app.open_pair().broker.peek(queue, 5)
        assert envelope.decode(raw).content_type == "application/x-yaml"


def test_a_queue_that_nobody_declared_may_be_refused(make):
    app = make(task_create_missing_queues=False)

    with pytest.raises(QueueNotFound, match="nowhere"):
        app.tasks["tell"].apply_async(queue="nowhere")


@pytest.mark.redis
@pytest.mark.parametrize("utc", [True, False])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("aware", [True, False])
def test_times_on_the_wire_mean_the_same_moment_as_celerys(zone, utc, aware, redis_url):
    server = redis.Redis.from_url(redis_url)
    moments = []
    when = datetime(2031, 7, 1, 12, tzinfo=UTC if aware else None)

    for kind in (Celery, celery.Celery):
        app = kind("timed", broker=redis_url, set_as_current=False)
        app.conf.update(timezone=zone, enable_utc=utc)
        app.send_task("t", eta=when, expires=when + timedelta(hours=1), retry=False)
        app.close()
        message = json.loads(server.lpop("celery"))
        moments.append([message["headers"][name] for name in ("eta", "expires")])

    def moment(text):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else ("naive", found)

    assert [moment(text) for text in moments[0]] == [moment(text) for text in moments[1]]


@pytest.mark.redis
@pytest.mark.parametrize("engine", ["redis", "sqlite"])
def test_priorities_are_run_in_the_order_of_the_broker(engine, request, tmp_path):
    url = f"sqlite:///{tmp_path}/p.db"
    if engine == "redis":
        url = request.getfixturevalue("redis_url")
    app = Celery("ranked", broker=url, backend=url, set_as_current=False)
    app.conf.worker_prefetch_multiplier = 1
    order = []

    @app.task(name="note")
    def note(priority):
        order.append(priority)

    results = [note.apply_async((p,), priority=p) for p in (9, 0, 6, 3)]
    with running_worker(app):
        for result in results:
            result.get(timeout=10)
    app.close()

    # On Redis 0 comes first, as in Celery.
    assert order == [0, 3, 6, 9]


@pytest.mark.slow
def test_config_include_and_imports_reach_a_worker(start_worker, tmp_path, urls):
    (tmp_path / "conf_of_worker.py").write_text(
        "task_default_queue = 'configured'\nimports = ('more_tasks',)\n"
    )
    (tmp_path / "plain_app.py").write_text(
        "from umbel import Celery\napp = Celery('plain')\n"
        "@app.task(name='here')\ndef here(): return 'here'\n"
    )
    for name in ("more", "extra"):
        (tmp_path / f"{name}_tasks.py").write_text(
            f"from plain_app import app\n@app.task(name='{name}')\ndef f(): return '{name}'\n"
        )

    # The variable of the option --config.
    env = {**urls, "CELERY_CONFIG_MODULE": "conf_of_worker"}
    worker = start_worker("plain_app", "-I", "extra_tasks", env=env)

    for name in ("configured", ". here", ". more", ". extra"):
        assert name in worker.log
