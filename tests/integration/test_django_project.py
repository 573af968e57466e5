"""A Django project with a real worker: set up, discovery, transactions, connections."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

START = "import django, json, os\nimport bookshop\ndjango.setup()\n"


@pytest.fixture
def program(environment_of, tmp_path):
    """Run a program of the project; gives what it prints, read as JSON."""

    def run(env, text):
        done = subprocess.run(
            [sys.executable, "-c", START + textwrap.dedent(text)],
            env=environment_of(env),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


@pytest.fixture
def shop(urls, tmp_path, program):
    """The environment of the project, its tables made."""
    env = {**urls, "SHOP_DATABASE": str(tmp_path / "shop.sqlite3")}
    env["DJANGO_SETTINGS_MODULE"] = "bookshop.settings"
    program(
        env,
        """
        from django.core.management import call_command
        call_command("migrate", run_syncdb=True, verbosity=0)
        """,
    )
    return env


def test_tasks_of_installed_apps_are_found_and_use_the_models(shop, start_worker, program):
    worker = start_worker("bookshop", env=shop)

    said = program(
        shop,
        """
        from bookshop.orders.models import Order
        from bookshop.orders.tasks import send
        order = Order.objects.create(title="Umbelliferae")
        result = send.delay(order.pk)
        title = result.get(timeout=20)
        order.refresh_from_db()
        print(json.dumps([title, order.is_sent, str(bookshop.celery_app.timezone)]))
        """,
    )

    assert said == ["Umbelliferae", True, "Europe/Lisbon"]
    assert "bookshop.orders.tasks.send" in worker.log
    assert "shop" in worker.log  # the queue of CELERY_TASK_DEFAULT_QUEUE


def test_on_commit_sends_when_the_transaction_has_committed(shop, start_worker, program):
    start_worker("bookshop", env=shop)

    said = program(
        shop,
        """
        from django.db import transaction
        from bookshop.orders.models import Order
        from bookshop.orders.tasks import send
        from umbel import signals
        sent = []
        @signals.after_task_publish.connect
        def note(headers, **_signal):
            sent.append(headers["id"])
        with transaction.atomic():
            order = Order.objects.create(title="Apium")
            gave = send.delay_on_commit(order.pk)
            send.apply_async_on_commit((order.pk,), countdown=0.1)
            before = len(sent)
        after = len(sent)
        try:
            with transaction.atomic():
                send.delay_on_commit(order.pk)
                raise LookupError
        except LookupError:
            pass
        results = [bookshop.celery_app.AsyncResult(id).get(timeout=20) for id in sent]
        print(json.dumps([gave, before, after, len(sent), results]))
        """,
    )

    assert said == [None, 0, 2, 2, ["Apium", "Apium"]]


CONNECTIONS = """
    import tempfile
    from bookshop.orders.tasks import both_look, look_at_connection
    from umbel import group
    path = tempfile.mkdtemp()
    first = group(both_look.si(path, 2) for _ in range(2)).apply_async().get(timeout=30)
    rest = [look_at_connection.delay().get(timeout=20) for _ in range(4)]
    print(json.dumps([first, rest]))
"""


def test_no_connection_is_shared_across_forks_nor_kept_beyond_a_task(shop, start_worker, program):
    start_worker("bookshop", env=shop)

    first, rest = program(shop, CONNECTIONS)

    assert len({seen["pid"] for seen in first}) == 2
    # Not even the one that AppConfig.ready had opened in the parent.
    assert not any(seen["found_one"] for seen in [*first, *rest])
    assert all(seen["opened_by"] == seen["pid"] for seen in [*first, *rest])


def test_conn_max_age_keeps_a_childs_connection(shop, start_worker, program):
    shop["SHOP_KEEPS_CONNECTIONS"] = "yes"
    start_worker("bookshop", env=shop)

    first, rest = program(shop, CONNECTIONS)

    assert not any(seen["found_one"] for seen in first)
    assert all(seen["found_one"] for seen in rest)
    used = {seen["pid"]: seen["uses"] for seen in first}
    assert all(seen["uses"] == used[seen["pid"]] for seen in rest)
    assert all(seen["opened_by"] == seen["pid"] for seen in rest)


def test_checks_are_run_and_told_unless_skipped(shop, start_worker):
    told = start_worker("bookshop", env=shop)

    silent = start_worker("bookshop", env={**shop, "SKIP_CHECKS": "1"})

    assert "it may rain" in told.log
    assert "it may rain" not in silent.log


def test_a_broken_project_stops_the_worker_with_its_own_error(shop, start_worker):
    shop["DJANGO_SETTINGS_MODULE"] = "bookshop.no_settings"

    worker = start_worker("bookshop", env=shop, is_ready=False)

    assert worker.process.wait(20) == 1
    assert "bookshop.no_settings" in worker.log
