"""A producer that goes on while its servers are hurt, and what must have become of its tasks."""

import threading

from rig import until

from umbel.model.errors import OperationalError, PublishOutcomeUnknown


class Sending(threading.Thread):
    """Sends short tasks all the time; a context manager."""

    def __init__(self, bench, pause_s=0.005):
        super().__init__(daemon=True)
        self.bench = bench
        self.pause_s = pause_s
        self.accepted = {}
        self.refused = []
        self.unknown = []
        self.is_over = threading.Event()

    def run(self):
        number = 0
        while not self.is_over.wait(self.pause_s):
            number += 1
            key = f"task-{number}"
            try:
                self.accepted[key] = self.bench.tasks.work.delay(key, 0.002, number)
            except PublishOutcomeUnknown:
                self.unknown.append(key)
            except OperationalError:
                self.refused.append(key)

    def __enter__(self):
        self.start()
        until(lambda: len(self.accepted) > 20)
        return self

    def __exit__(self, *error):
        self.is_over.set()
        self.join(30)

    def check(self):
        """What was accepted has run to its end, with its own value; what was refused has not."""
        for number, (key, result) in enumerate(self.accepted.items()):
            assert result.get(timeout=30) == int(key.partition("-")[2]), (key, number)
        begun = self.bench.trace.begun()
        assert [key for key in self.refused if key in begun] == []
        return begun
