"""Liveness and readiness: the answers by themselves, and those of a real worker."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from umbel.model.errors import ImproperlyConfigured
from umbel.worker.health import Health, Picture
from umbel.worker.probes import Probes, host_and_port

LIMIT_S = 20.0
GOOD = Picture("w@h", "working", 2, 2, None)


# - By themselves


class Loop:
    """The loop of a supervisor that has nothing else to do."""

    def __init__(self, probes):
        self.probes = probes
        self.poll = select.poll()
        probes.begin(self.poll)

    def turn(self, timeout_s=0.2):
        self.probes.keep()
        for fd, _ in self.poll.poll(timeout_s * 1000):
            assert self.probes.is_readable(fd)


@pytest.fixture
def probes():
    probes = Probes("0", lambda path: (200, b"fine\n") if path == "/live" else (404, b"no\n"))
    yield probes
    probes.close()


@pytest.fixture
def loop(probes):
    return Loop(probes)


def said(loop, *pieces):
    """What the server answers to a request that comes in pieces."""
    with socket.create_connection(("127.0.0.1", loop.probes.port), 5) as client:
        for piece in pieces:
            client.sendall(piece)
            loop.turn()
        loop.turn()
        client.settimeout(5)
        answer = b""
        while data := client.recv(4096):
            answer += data
        return answer.decode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"),
        (b"GET /live?verbose=1 HTTP/1.0\r\n\r\n", "200 OK"),
        (b"GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /live HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"\x16\x03\x01 what\r\n\r\n", "400 Bad Request"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", "400 Bad Request"),
    ],
)
def test_a_request_is_answered(loop, request_, status):
    assert said(loop, request_).startswith(f"HTTP/1.1 {status}\r\n")


def test_a_request_may_come_in_pieces(loop):
    answer = said(loop, b"GET /li", b"ve HTTP/1.1\r\n", b"\r\n")

    assert answer.endswith(
        "Content-Length: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nfine\n"
    )


def test_a_head_has_no_body(loop):
    answer = said(loop, b"HEAD /live HTTP/1.1\r\n\r\n")

    assert answer.startswith("HTTP/1.1 200 OK")
    assert answer.endswith("\r\n\r\n")


def test_who_dawdles_or_comes_in_masses_stops_nobody(loop):
    dawdlers = [socket.create_connection(("127.0.0.1", loop.probes.port), 5) for _ in range(50)]
    for _ in dawdlers:
        loop.turn(0.05)

    answer = said(loop, b"GET /live HTTP/1.1\r\n\r\n")
    again_s = loop.probes.keep()

    assert answer.startswith("HTTP/1.1 200")
    assert 0 < again_s - time.monotonic() <= 5
    assert len(loop.probes._clients) <= 32
    for client in loop.probes._clients.values():
        client.until_s = 0
    loop.probes.keep()
    assert loop.probes._clients == {}
    for dawdler in dawdlers:
        dawdler.close()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("8080", ("127.0.0.1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_an_address_is_read(address, found):
    assert host_and_port(address) == found


@pytest.mark.parametrize("address", ["", "host", "host:", "1.2.3.4:http", "99999"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ImproperlyConfigured, match="wanted a port"):
        Health(None, address or "x")


def test_an_address_that_is_taken_is_named(probes):
    with pytest.raises(ImproperlyConfigured, match=f"127.0.0.1:{probes.port} can't be listened to"):
        Health(None, str(probes.port))


@pytest.mark.parametrize(
    ("picture", "is_ready"),
    [
        (GOOD, True),
        (GOOD._replace(state="starting"), False),
        (GOOD._replace(state="stopping"), False),
        (GOOD._replace(alive=0), False),
        (GOOD._replace(outage_s=1.25), False),
    ],
)
def test_a_worker_is_ready_that_takes_on_work(picture, is_ready):
    health = Health(None, "0")
    health.begin(lambda: picture, select.poll())

    live, ready = health._answer("/live"), health._answer("/ready")
    health.close()

    assert (live[0], ready[0]) == (200, 200 if is_ready else 503)
    assert json.loads(ready[1])["ready"] is is_ready
    assert json.loads(live[1])["broker"]["ok"] is (picture.outage_s is None)


def test_a_file_is_replaced_and_removed(tmp_path):
    path = tmp_path / "health"
    health = Health(str(path), None)
    health.begin(lambda: GOOD, select.poll())

    again_s = health.keep()
    facts = json.loads(path.read_text())
    health.keep()
    health.close()

    assert facts["children"] == {"alive": 2, "wanted": 2}
    assert facts["state"] == "working"
    assert 1 < again_s - time.monotonic() <= 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_written_is_told_once(tmp_path, caplog):
    health = Health(str(tmp_path / "nowhere" / "health"), None)
    health.begin(lambda: GOOD, select.poll())

    for _ in range(2):
        health._at_s = 0.0
        health.keep()
    health.close()

    assert caplog.text.count("can't be written") == 1


# - Of a real worker


class Worker:
    def __init__(self, folder, port, url, *arguments):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
        env |= {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
        self.url = f"http://127.0.0.1:{port}"
        self.file = folder / "health.json"
        self.log_path = folder / "log"
        command = [sys.executable, "-m", "umbel", "-A", "shop", "worker", "-l", "INFO", "-c", "1"]
        command += ["--health-file", "health.json", "--health-http", str(port), *arguments]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, path):
        """Status and facts; (0, {}) where nobody listens yet."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())
        except urllib.error.URLError:
            return 0, {}

    def wait_for(self, path, status):
        limit = time.monotonic() + LIMIT_S
        while self.ask(path)[0] != status:
            assert time.monotonic() < limit, self.log_path.read_text()
            time.sleep(0.02)
        return self.ask(path)[1]


@pytest.fixture
def start(tmp_path):
    workers = []

    def start(url, app="from umbel import Celery\napp = Celery('shop')\n", *arguments):
        (tmp_path / "shop.py").write_text(app)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        workers.append(Worker(tmp_path, port, url, *arguments))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait(10)


@pytest.mark.slow
@pytest.mark.redis
def test_a_worker_without_its_broker_is_live_and_not_ready(start, start_redis):
    server = start_redis()
    worker = start(server.url)
    worker.wait_for("/ready", 200)

    server.kill()
    away = worker.wait_for("/ready", 503)
    status, _ = worker.ask("/live")
    in_file = json.loads(worker.file.read_text())
    server.start()
    back = worker.wait_for("/ready", 200)

    assert status == 200
    assert away["broker"]["ok"] is False
    assert away["broker"]["outage_s"] >= 0
    assert back["broker"] == {"ok": True, "outage_s": None}
    assert in_file["pid"] == worker.process.pid
    assert in_file["node"].startswith("celery@")


@pytest.mark.slow
def test_a_worker_is_live_while_its_app_is_imported_and_gone_when_it_stops(start, tmp_path):
    (tmp_path / "hold").touch()
    app = (
        "import os, time\nfrom umbel import Celery\n"
        "while os.path.exists('hold'): time.sleep(0.01)\n"
        "app = Celery('shop')\n"
        "@app.task(name='wait')\n"
        "def wait():\n    open('began', 'w').close()\n"
        "    while not os.path.exists('end'): time.sleep(0.01)\n"
    )
    worker = start(f"sqlite:///{tmp_path}/u.db", app)

    starting = worker.wait_for("/live", 200)
    early, _ = worker.ask("/ready")
    (tmp_path / "hold").unlink()
    working = worker.wait_for("/ready", 200)
    first = worker.file.stat().st_mtime_ns
    _send(tmp_path, worker)
    worker.process.send_signal(signal.SIGTERM)
    stopping = worker.wait_for("/ready", 503)
    live, _ = worker.ask("/live")
    (tmp_path / "end").touch()
    code = worker.process.wait(LIMIT_S)

    assert (starting["state"], starting["children"]["alive"], early) == ("starting", 0, 503)
    assert (working["state"], working["children"]) == ("working", {"alive": 1, "wanted": 1})
    assert (stopping["state"], live) == ("stopping", 200)
    assert first > 0
    assert code == 0
    assert not worker.file.exists()
    assert worker.ask("/live") == (0, {})


def _send(folder, worker):
    from umbel import Celery

    app = Celery("sender", broker=f"sqlite:///{folder}/u.db", set_as_current=False)
    app.send_task("wait")
    app.close()
    limit = time.monotonic() + LIMIT_S
    while not (folder / "began").exists():
        assert time.monotonic() < limit, worker.log_path.read_text()
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_worker_answers_no_more_and_leaves_its_file_to_age(start, tmp_path):
    worker = start(f"sqlite:///{tmp_path}/u.db")
    worker.wait_for("/ready", 200)
    before = worker.file.stat().st_mtime_ns
    limit = time.monotonic() + LIMIT_S
    while worker.file.stat().st_mtime_ns == before:
        assert time.monotonic() < limit, "the file is not replaced"
        time.sleep(0.05)

    worker.process.kill()
    worker.process.wait(10)

    limit = time.monotonic() + LIMIT_S
    while worker.ask("/live")[0]:
        assert time.monotonic() < limit
    assert worker.file.exists()


@pytest.mark.slow
def test_an_address_that_is_taken_ends_the_worker_at_once(start, tmp_path):
    url = f"sqlite:///{tmp_path}/u.db"
    first = start(url)
    first.wait_for("/live", 200)
    command = [sys.executable, "-m", "umbel", "-A", "shop", "worker", "--health-http"]

    done = subprocess.run(
        [*command, first.url.rpartition(":")[2]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 1
    assert "can't be listened to" in done.stderr
