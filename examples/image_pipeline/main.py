"""Make pictures, send them through the pipeline, and show what came out.

celery -A tasks worker &
python main.py
"""

from __future__ import annotations

import re
import time

import pictures
import tasks
from celery import group
from celery.exceptions import ChordError

NUMBER = 12
PATIENCE_S = 60


def prepare():
    """Originals in the folder, and one file among them that is no picture."""
    folder = tasks.FOLDER / "originals"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(NUMBER):
        pictures.write(pictures.sample(number), folder / f"picture-{number}.pgm")
    (folder / "broken-1.pgm").write_bytes(b"this is no picture")
    return [f"picture-{number}" for number in range(NUMBER)]


def show_catalogue(catalogue):
    print(f"catalogue {catalogue['title']!r}: {len(catalogue['entries'])} pictures")
    for one in sorted(catalogue["entries"], key=lambda one: int(one["name"].split("-")[1])):
        sums = " ".join(f"{size}={one['thumbnails'][size]}" for size in tasks.SIZES)
        print(f"  {one['name']:<11} tries={one['attempts']} mean={one['mean']:<7} {sums}")
        print(f"              spread={one['histogram']}")
    print(f"  sheet {catalogue['sum']}, negative {catalogue['negative']}")
    sheet = pictures.read(catalogue["sheet"])
    for line in pictures.in_letters(sheet):
        print(f"  |{line}|")


def show_progress(result):
    """Wait, and look at the header meanwhile: it says how far the pipeline is."""
    header = result.parent
    while header is not None and not hasattr(header, "completed_count"):
        header = header.parent
    result.get(timeout=PATIENCE_S)
    print(f"{header.completed_count()} of {len(header)} chains completed")


def run_all(names):
    result = tasks.of_many(names, "all").apply_async()
    catalogue = result.get(timeout=PATIENCE_S)
    show_catalogue(catalogue)
    # The header of the chord stands before the chain that is its body.
    show_progress(result)


def run_some_albums(names):
    """Pipelines side by side: a group of chords of chains."""
    albums = {"even": names[::2], "odd": names[1::2], "first": names[:3]}
    result = group(tasks.of_many(some, title) for title, some in albums.items()).apply_async()
    for catalogue in result.get(timeout=PATIENCE_S):
        retried = sum(one["attempts"] > 1 for one in catalogue["entries"])
        print(
            f"album {catalogue['title']!r}: {len(catalogue['entries'])} pictures,"
            f" {retried} at a later try, sheet {catalogue['sum']}"
        )


def run_with_a_broken_one(names):
    """One file is no picture: the chord fails, its errback is called, the others' work is kept."""
    result = tasks.of_many([*names[:2], "broken-1"], "broken").apply_async()
    try:
        result.get(timeout=PATIENCE_S, follow_parents=False)
    except ChordError as error:
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", str(error))
        print(f"broken: {type(error).__name__}: {said}")
    word = tasks.FOLDER / "broken.failed"
    limit = time.monotonic() + PATIENCE_S
    while not word.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    print(f"errback left word: {word.read_text()}")


def run_what_never_works():
    """A picture that is not there; and, beside it, one that is wanted first."""
    missing = tasks.fetch.delay("picture-1001")
    print(f"missing: {missing.get(timeout=PATIENCE_S, propagate=False)!r}")
    urgent = tasks.fetch.signature(("picture-5",)).set(priority=0)
    print(f"found after all: {urgent.apply_async().get(timeout=PATIENCE_S)['attempts']} tries")


def main():
    names = prepare()
    run_all(names)
    run_some_albums(names)
    run_with_a_broken_one(names)
    run_what_never_works()


if __name__ == "__main__":
    main()
