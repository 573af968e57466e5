"""Replace a fleet of Celery by one of umbel under load, process by process, and go back again.

    python migrate.py                        with a Redis of its own (redis-server on the PATH)
    python migrate.py --redis URL            on an empty database of another
    python migrate.py --hold 30 --rate 20    how long each phase lasts, how many calls a second each
                                             producer sends

Three workers and two producers of Celery are at work: single tasks, tasks with an eta, retries,
chains, chords, chords within chains. Nobody stops sending while worker after worker is replaced by
one of umbel, then producer after producer; then worker after worker by one of Celery, ``umbel
drain`` once the last one of umbel has gone, and producer after producer. ``tasks.py`` and
``producer.py`` import from ``celery`` alone and are the same files throughout.

The table at the end counts by the phase in which something was sent. Its last five columns must be
zero, and nothing may be left at the broker; the exit code is 1 otherwise. It wants an environment
in which celery and umbel are both installed: ``under_umbel.py`` says how one plays both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from books import Books, Phase, faults, table
from fleet import Fleet, Trouble, until

WORKERS = 3
PRODUCERS = 2


class Migration:
    """The steps, one after the other, and the phases that they make."""

    def __init__(self, fleet, hold_s):
        self.fleet = fleet
        self.hold_s = hold_s
        self.phases = []
        self.started = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def hold(self, name):
        """A phase begins; let it last."""
        kinds = [
            " ".join(seat.house for seat in seats)
            for seats in (self.fleet.workers, self.fleet.producers)
        ]
        self.phases.append(Phase(name, *kinds, time.time()))
        time.sleep(self.hold_s)

    def move(self, house, turn):
        """Everybody, process by process, to a house."""
        for place in range(WORKERS):
            self.say(self.fleet.replace_worker(place, house, turn))
            if house == "celery" and place == WORKERS - 1:
                self.say(f"umbel drain: {self.fleet.drain()}")
            self.hold(f"worker {place + 1} to {house}")
        for place in range(PRODUCERS):
            self.say(self.fleet.replace_producer(place, house, turn))
            self.hold(f"producer {place + 1} to {house}")

    def check(self):
        """Wait until what has been sent until now has ended, as far as it ever does."""
        moment = time.time()

        def books():
            return Books(self.fleet.books, self.fleet.client, moment)

        try:
            until(lambda: not books().unfinished(), "all work was done")
        except Trouble as trouble:
            self.say(str(trouble))
        return books().rows(self.phases)

    def run(self):
        """There and back; gives the rows of the table, and what is left at the broker."""
        self.fleet.staff("celery", 1, workers=WORKERS, producers=PRODUCERS)
        self.say("three workers and two producers of Celery are at work")
        self.hold("all Celery")
        self.move("umbel", 2)
        rows = self.check()  # while the load goes on
        self.say(f"all are umbel's; faults until here: {told(faults(rows))}")
        self.move("celery", 3)
        self.fleet.stop_producers()
        self.say("the producers have stopped")
        return self.check(), self.left()

    def left(self):
        """What is still at the broker, after a moment for the last acknowledgements."""
        try:
            until(lambda: not self.fleet.left_at_the_broker(), "the broker was empty")
        except Trouble:
            return self.fleet.left_at_the_broker()
        return {}


def told(counts):
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redis", metavar="URL", help="an empty database; its own server else")
    parser.add_argument("--hold", type=float, default=8.0, help="seconds of each phase")
    parser.add_argument("--rate", type=float, default=10.0, help="calls a second, per producer")
    parser.add_argument("--keep", type=Path, help="a folder for logs and books, to look into")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="migration-") as passing:
        folder = given.keep or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with Fleet(folder, given.redis, given.rate) as fleet:
                rows, left = Migration(fleet, given.hold).run()
        except Trouble as trouble:
            sys.exit(f"the migration stopped: {trouble}")
    print(f"\n{table(rows)}\n\nleft at the broker: {left or 'nothing'}")
    found = faults(rows)
    if any(found.values()) or left:
        sys.exit(f"NOT AS IT SHOULD BE: {told(found)}")
    print("Nothing was lost, done twice or stuck, on the way there and on the way back.")


if __name__ == "__main__":
    main()
