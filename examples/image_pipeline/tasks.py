"""The tasks of the pipeline.

    celery -A tasks worker

Where broker and results are is said by the environment (``CELERY_BROKER_URL`` and
``CELERY_RESULT_BACKEND``), where pictures are by ``PICTURES``. Files are passed by name, as a
pipeline of real pictures would: messages stay small, and each step can be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path

import pictures
from celery import Celery, Task, chain, chord, group
from celery.utils.log import get_task_logger

app = Celery("image_pipeline")
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,  # a picture that was interrupted is done again
    task_default_queue="pictures",
    result_expires=3600,
)

FOLDER = Path(os.environ.get("PICTURES", "pictures"))
SIZES = {"icon": (8, 6), "small": (16, 12), "medium": (32, 24)}

logger = get_task_logger(__name__)


class StorageError(ConnectionError):
    """The place where pictures come from did not answer."""


class PictureTask(Task):
    """What the steps have in common: they know where files are, and note how they fail."""

    def place(self, kind: str, name: str) -> Path:
        folder = FOLDER / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.pgm"

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        logger.warning("%s of %r failed: %s", self.name, args, exc)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        logger.info("%s of %r is tried again: %s", self.name, args, exc)


@app.task(
    bind=True,
    base=PictureTask,
    autoretry_for=(StorageError,),
    max_retries=4,
    retry_backoff=True,
    retry_backoff_max=1,
    retry_jitter=False,
)
def fetch(self, name):
    """Get a picture from a storage that is not always there.

    Every third picture comes at the second attempt, and every fifth at the third: what fails is
    decided by the name, so that a run can be compared with another.
    """
    number = int(name.rpartition("-")[2])
    failures = 2 if number % 5 == 0 else 1 if number % 3 == 0 else 0
    if self.request.retries < failures:
        raise StorageError(f"no answer for {name}")
    source = self.place("originals", name)
    if not source.exists():
        raise FileNotFoundError(f"there is no picture {name}")
    return {"name": name, "path": str(source), "attempts": self.request.retries + 1}


@app.task(bind=True, base=PictureTask, throws=(pictures.CorruptPicture,))
def develop(self, job):
    """Bring out what is in a picture. A file that is none ends here."""
    picture = pictures.sharpened(pictures.normalised(pictures.read(job["path"])))
    target = self.place("developed", job["name"])
    pictures.write(picture, target)
    return {**job, "path": str(target), "mean": round(picture.mean, 2)}


@app.task(bind=True, base=PictureTask)
def thumbnail(self, job, size):
    """A smaller one."""
    picture = pictures.resized(pictures.read(job["path"]), *SIZES[size])
    target = self.place(size, job["name"])
    pictures.write(picture, target)
    return {"name": job["name"], "size": size, "path": str(target), "sum": picture.checksum}


@app.task(bind=True, base=PictureTask)
def measure(self, job):
    """How its brightness is spread."""
    return {"histogram": pictures.histogram(pictures.read(job["path"])), **job}


@app.task
def entry(parts):
    """What the catalogue says of one picture: the parts that were made of it, as one."""
    measured, *thumbnails = parts
    return {
        "name": measured["name"],
        "attempts": measured["attempts"],
        "mean": measured["mean"],
        "histogram": measured["histogram"],
        "thumbnails": {one["size"]: one["sum"] for one in thumbnails},
        "icon": next(one["path"] for one in thumbnails if one["size"] == "icon"),
    }


@app.task(bind=True, base=PictureTask)
def contact_sheet(self, entries, title, columns=4):
    """All icons on one sheet; gives the catalogue."""
    entries = sorted(entries, key=lambda one: one["name"])
    sheet = pictures.side_by_side([pictures.read(one["icon"]) for one in entries], columns)
    target = self.place("sheets", title)
    pictures.write(sheet, target)
    return {"title": title, "sheet": str(target), "sum": sheet.checksum, "entries": entries}


@app.task(bind=True, base=PictureTask)
def negative(self, catalogue):
    """The sheet again, black for white."""
    sheet = pictures.inverted(pictures.read(catalogue["sheet"]))
    target = self.place("sheets", f"{catalogue['title']}-negative")
    pictures.write(sheet, target)
    return {**catalogue, "negative": sheet.checksum}


@app.task(ignore_result=True)
def complain(request, exc, traceback, title=None):
    """An errback: leave a word where people look."""
    (FOLDER / f"{title}.failed").write_text(type(exc).__name__)


def of_one(name):
    """The steps of one picture: got, developed, then its parts side by side, then its entry."""
    parts = group(measure.s(), *(thumbnail.s(size) for size in SIZES))
    return chain(fetch.s(name), develop.s(), parts, entry.s())


def of_many(names, title):
    """A chord of chains that have chords in them; its body is a chain."""
    body = chain(contact_sheet.s(title), negative.s())
    body.link_error(complain.s(title=title))
    return chord([of_one(name) for name in names], body)
