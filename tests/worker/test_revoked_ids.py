"""What a child knows of revoked tasks, and when it asks."""

from umbel.worker import revoked
from umbel.worker.revoked import Revoked


class Told:
    """Notes what is asked; ``epoch`` is what the last claim brought."""

    def __init__(self):
        self.epoch = 0
        self.ids = {}
        self.asked = []

    def revoke(self, task_id):
        self.ids[task_id] = len(self.asked) + len(self.ids) + 1
        self.epoch = self.ids[task_id]

    def since(self, epoch):
        self.asked.append(epoch)
        return self.epoch, [name for name, at in self.ids.items() if at > epoch]


def test_nothing_is_asked_while_nothing_is_revoked():
    told = Told()

    known = Revoked(told)

    assert not known.is_outdated
    assert "a" not in known
    assert told.asked == []


def test_a_new_epoch_is_asked_for_once():
    told = Told()
    known = Revoked(told)
    told.revoke("a")
    known.learn()
    first = told.epoch
    told.revoke("b")

    was_outdated = known.is_outdated
    known.learn()

    assert was_outdated
    assert not known.is_outdated
    assert "a" in known
    assert "b" in known
    assert told.asked == [0, first]


def test_a_broker_that_has_lost_its_past_is_asked_for_everything():
    told = Told()
    known = Revoked(told)
    for name in ("a", "b", "c"):
        told.revoke(name)
    known.learn()
    told.ids = {"d": 1}
    told.epoch = 1

    known.learn()

    assert told.asked[-1] == 0
    assert "d" in known
    assert "a" not in known


def test_too_many_ids_are_asked_for_again(monkeypatch):
    monkeypatch.setattr(revoked, "_MANY", 2)
    told = Told()
    known = Revoked(told)
    for name in ("a", "b"):
        told.revoke(name)
    known.learn()
    del told.ids["a"]  # its time is over
    told.revoke("c")

    known.learn()

    assert told.asked == [0, 0]
    assert [name in known for name in "abc"] == [False, True, True]
