"""Have the night's reports made, each region's when its day has ended, and show them.

    celery -A tasks worker &
    python main.py

A night takes hours; here it passes in seconds: an hour of the regions is a tenth of a second.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ledger
import tasks
from celery import group
from celery.exceptions import TaskRevokedError

PATIENCE_S = 60
HOUR = timedelta(seconds=0.1)


def prepare():
    """The files of all regions, and an empty diary."""
    tasks.FOLDER.mkdir(parents=True, exist_ok=True)
    (tasks.FOLDER / "diary").write_text("")
    return {region.name: str(ledger.write_sales(region, tasks.FOLDER)) for region in ledger.REGIONS}


def diary():
    """What has run, in order: pairs of a task's short name and its first argument."""
    lines = (tasks.FOLDER / "diary").read_text().splitlines()
    return [(name.rpartition(".")[2], said) for name, said in map(json.loads, lines)]


def when_days_end():
    """When each region's report is due, in the shortened night that begins in a second."""
    first = min(region.midnight for region in ledger.REGIONS)
    begin = datetime.now(UTC) + timedelta(seconds=1)
    return {
        region.name: begin + (region.midnight - first) / timedelta(hours=1) * HOUR
        for region in ledger.REGIONS
    }


def run_the_night(paths):
    etas = when_days_end()
    result = tasks.night(paths, etas).apply_async()
    found = result.get(timeout=PATIENCE_S)
    began = [said for name, said in diary() if name == "report_region"]
    by_time = sorted(etas, key=etas.get)
    print(f"days end in this order: {', '.join(by_time)}")
    print(f"reports were begun so: {began == [str([name]) for name in by_time]}")
    print(f"reports that were begun too early: {found['early']}")
    print(f"night of {ledger.DAY}: {found['euros']} EUR in all, best is {found['best']}")
    print(f"lines that nobody can read: {found['useless']}")
    for page in sorted(found["pages"]):
        print(Path(page).read_text(), end="")
    return found


def send_them_out(found):
    """By the route of a function: all of these go by the queue ``post``."""
    sent = group(
        tasks.deliver.s(page, to=f"director-{number}")
        for number, page in enumerate(sorted(found["pages"]))
    ).apply_async()
    for one in sent.get(timeout=PATIENCE_S):
        print(f"{one['page']} went to {one['to']} by {one['by']}")


def let_work_pile_up():
    """Behind a task that holds the only process; then see what goes first."""
    until = tasks.FOLDER / "go"
    until.unlink(missing_ok=True)
    before = len(diary())
    # It says that it has begun: from then on what is sent waits at the broker.
    held = tasks.hold.delay(str(until))
    wait_until(lambda: held.state == "STARTED")
    jobs = [("archive", 9), ("leaflet", 6), ("archive-2", 9), ("invoice", 3), ("alarm", 0)]
    results = [tasks.print_page.apply_async((name,), priority=prio) for name, prio in jobs]
    forgotten = tasks.print_page.apply_async(("yesterday's paper",), expires=0.5)
    time.sleep(1)
    until.touch()
    for result in results:
        result.get(timeout=PATIENCE_S)
    # A result may be here before the diary has its line.
    wait_until(lambda: len(printed(before)) == len(jobs))
    order = printed(before)
    print(f"printed by priority: {', '.join(said[2:-2] for said in order)}")
    try:
        forgotten.get(timeout=PATIENCE_S)
    except TaskRevokedError as error:
        print(f"too late for yesterday's paper: {error}, {forgotten.state}")


def printed(before):
    """What has been printed since the diary had so many lines."""
    return [said for name, said in diary()[before:] if name == "print_page"]


def wait_until(condition):
    limit = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < limit:
        time.sleep(0.05)


def where_it_was_done():
    """Which queue each kind of work came by, as the extended results say."""
    results = [
        tasks.count.delay(str(tasks.FOLDER / "lisbon.csv")),
        tasks.read_part.delay(str(tasks.FOLDER / "lisbon.csv"), 0, 10),
        tasks.print_page.delay("a page"),
        tasks.deliver.delay("a/page.txt", to="nobody"),
    ]
    for result in results:
        result.get(timeout=PATIENCE_S)
        print(f"{result.name} came by {result.queue}, args {len(result.args)}")


def main():
    paths = prepare()
    let_work_pile_up()
    found = run_the_night(paths)
    send_them_out(found)
    where_it_was_done()


if __name__ == "__main__":
    main()
