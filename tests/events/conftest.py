"""Apps on each engine for the tests of this folder, and a monitor that listens in a thread."""

import threading

import pytest

from umbel import Celery


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def url(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return (
        f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/e.db"
    )


@pytest.fixture
def make_app(url):
    """Apps that share one broker."""
    apps = []

    def make(**settings):
        app = Celery("events", broker=url, set_as_current=False, **settings)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


class Monitor:
    """Listens from its making on; ``wait_for(n)`` gives the first n events."""

    def __init__(self, app, **options):
        self.app = app
        self.events = []
        self.changed = threading.Condition()
        self.error = None
        self.receiver = app.events.Receiver(app.connection(), handlers={"*": self.note}, **options)
        self.receiver.listen()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.receiver.capture(limit=None, timeout=None, wakeup=False)
        except BaseException as error:  # shown by the test
            self.error = error
        finally:
            self.app.close()

    def note(self, event):
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait_for(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.events) >= number, 20), self.events
            return list(self.events)

    def close(self):
        self.receiver.should_stop = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.error is None


@pytest.fixture
def listen():
    """Start monitors; they are stopped with the test."""
    monitors = []

    def start(app, **options):
        monitors.append(Monitor(app, **options))
        return monitors[-1]

    yield start
    for monitor in monitors:
        monitor.close()
