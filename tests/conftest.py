"""What tests of all rooms share: a real Redis on a free loopback port."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import settings

PATIENCE_S = 10.0

# Where a change is judged, the same examples each time; at a developer's, new ones.
settings.register_profile("judging", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("judging")


class RedisServer:
    """A redis-server of our own: started in a directory of its own, ended by its process id."""

    def __init__(self, directory: Path, *arguments: str, config: Path | None = None) -> None:
        self.directory = directory
        self.arguments = arguments
        self.config = config  # Sentinels rewrite theirs
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", *([str(self.config)] if self.config else [])]
        command += ["--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), *self.arguments]
        if "--sentinel" not in self.arguments:
            command += ["--save", ""]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        limit = time.monotonic() + PATIENCE_S
        while True:
            if self.process.poll() is not None or time.monotonic() > limit:
                log_text = (self.directory / "redis.log").read_text()
                raise AssertionError(f"redis-server did not start:\n{log_text}")
            with contextlib.suppress(OSError):
                if self.say("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            time.sleep(0.02)

    def say(self, line: str) -> bytes:
        """One inline command, and what comes back at once."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(line.encode() + b"\r\n")
            return connection.recv(65536)

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def freeze(self) -> None:
        """Let it do nothing, and keep its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def _free_port() -> int:
    # Not above 55535: a server in cluster mode takes a second port, 10,000 higher.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= 55535:
            return port


def _need_redis() -> None:
    if shutil.which("redis-server") is None:
        said = "redis-server is not on PATH: NOTHING about Redis is tested (apt install redis)"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """One server for the whole session. Tests that hurt it start one of their own."""
    _need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "no")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server):
    """The URL of an empty server."""
    redis_server.say("FLUSHALL")
    return redis_server.url


@pytest.fixture
def start_redis(tmp_path_factory):
    """Start a server that the test may kill, freeze and fill; takes arguments of redis-server."""
    _need_redis()
    servers = []

    def start(*arguments: str, config: Path | None = None) -> RedisServer:
        server = RedisServer(tmp_path_factory.mktemp("redis"), *arguments, config=config)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
