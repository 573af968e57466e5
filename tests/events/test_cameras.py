"""Cameras take pictures in time, of a state that holds still."""

import threading
import time

from umbel import Celery
from umbel.events.camera import Polaroid
from umbel.events.picture import State


class Album(Polaroid):
    clear_after = True

    def __init__(self, *args, **kwargs):
        self.pictures = []
        self.cleanups = 0
        self.changed = threading.Condition()
        super().__init__(*args, **kwargs)

    def on_shutter(self, state):
        with self.changed:
            self.pictures.append(dict(state.tasks))
            self.changed.notify_all()

    def on_cleanup(self):
        with self.changed:
            self.cleanups += 1
            self.changed.notify_all()

    def wait_for(self, predicate):
        with self.changed:
            assert self.changed.wait_for(predicate, 10)


def state():
    found = State()
    found.event({"type": "task-succeeded", "uuid": "a", "hostname": "w@host", "clock": 1})
    return found


APP = Celery("cameras", broker="memory://cameras", set_as_current=False)


def test_pictures_are_taken_in_time_and_the_ended_forgotten():
    with Album(state(), freq=0.02, cleanup_freq=0.05, app=APP) as album:
        album.wait_for(lambda: len(album.pictures) >= 3 and album.cleanups)

    assert list(album.pictures[0]) == ["a"]
    assert album.pictures[-1] == {}
    number = len(album.pictures)
    time.sleep(0.05)
    assert len(album.pictures) == number


def test_no_more_pictures_than_allowed_are_taken():
    album = Album(state(), maxrate="1/h", app=APP)

    album.capture()
    album.capture()

    assert len(album.pictures) == 1


def test_a_picture_that_fails_does_not_end_the_camera(caplog):
    class Broken(Album):
        def on_shutter(self, state):
            super().on_shutter(state)
            raise RuntimeError("no film")

    with Broken(state(), freq=0.01, app=APP) as album:
        album.wait_for(lambda: len(album.pictures) >= 2)

    assert "no film" in caplog.text


def test_ending_twice_or_before_the_start_is_legal():
    album = Album(state(), app=APP)

    album.cancel()
    album.install()
    album.install()
    album.cancel()
    album.cancel()
