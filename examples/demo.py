"""``make demo``: the tutorial's programs and a nested canvas, each beside a real worker.

Everything happens on the SQLite default in a directory of its own, which is gone afterwards. The
worker's log lines are shown as they come, marked ``worker |``. The exit code is 1 where a program
printed something else than it should.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
PATIENCE_S = 30

FACTORIALS = (
    "[2, 6, 24, 120, 6, 6227020800,"
    " 119622220865480194561963161495657715064383733760000000000, 6227020800]"
)
TUTORIAL = {
    "main_group.py": "[None, None]",
    "main_map.py": FACTORIALS,
    "main_chain.py": "723.0",
}
NESTED = {"nested.py": "4 orders, 77.87 in all"}


class Worker:
    """A worker whose log is shown line by line."""

    def __init__(self, *command: str, directory: str, environment: dict[str, str]) -> None:
        print(f"$ {' '.join(command)}", flush=True)
        self.has_spoken = threading.Event()  # that it is ready, or for the last time
        self.is_ready = False
        self.process = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._show_lines)
        self.reader.start()

    def _show_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            print(f"worker | {line}", end="", flush=True)
            if line.rstrip().endswith("ready."):
                self.is_ready = True
                self.has_spoken.set()
        self.has_spoken.set()

    def __enter__(self) -> Worker:
        self.has_spoken.wait(PATIENCE_S)
        if not self.is_ready:
            self.__exit__()
            sys.exit("the worker did not start")
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.reader.join()
        print(f"(the worker ended with exit code {self.process.returncode})\n", flush=True)


def run_programs(programs: dict[str, str], folder: Path, environment: dict[str, str]) -> bool:
    """Run each program and say whether all printed what they should."""
    are_right = True
    for name, wanted in programs.items():
        print(f"$ python {name}", flush=True)
        done = subprocess.run(
            [sys.executable, folder / name],
            env=environment,
            cwd=environment["PWD"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        printed = done.stdout.strip()
        print(printed, flush=True)
        if printed != wanted:
            print(f"NOT AS IT SHOULD BE: wanted {wanted}", flush=True)
            are_right = False
    return are_right


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="umbel-demo-") as directory:
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith("CELERY_")
        }
        plain |= {"PWD": directory, "PYTHONPATH": str(EXAMPLES), "PYTHONUNBUFFERED": "1"}
        plain["UMBEL_DB"] = f"{directory}/umbel.db"
        # The tutorial's app names a Redis; the environment wins, as in Celery.
        tutorial = plain | {
            "PYTHONPATH": str(EXAMPLES / "tutorial"),
            "CELERY_BROKER_URL": f"sqlite:///{directory}/umbel.db",
            "CELERY_RESULT_BACKEND": f"sqlite:///{directory}/umbel.db",
        }
        options = ("worker", "-l", "INFO", "-c", "2")
        with Worker("celery", "-A", "tasks", *options, directory=directory, environment=tutorial):
            are_right = run_programs(TUTORIAL, EXAMPLES / "tutorial", tutorial)
        with Worker("umbel", "-A", "nested", *options, directory=directory, environment=plain):
            are_right &= run_programs(NESTED, EXAMPLES, plain)
    print("All programs printed what they should." if are_right else "Something is wrong.")
    return 0 if are_right else 1


if __name__ == "__main__":
    sys.exit(main())
