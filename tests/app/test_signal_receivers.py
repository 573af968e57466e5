"""Signals: who is called, who is not any more, and what an error of theirs does."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from umbel.app import signals
from umbel.app.signals import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal(name="tested")


def test_receivers_are_called_with_sender_and_facts(signal: Signal) -> None:
    seen: list[Any] = []

    @signal.connect
    def receiver(sender, signal, **facts):
        seen.append((sender, facts))

    answers = signal.send("somebody", answer=42)

    assert seen == [("somebody", {"answer": 42})]
    assert answers == [(receiver, None)]


def test_a_receiver_may_choose_its_sender(signal: Signal) -> None:
    seen: list[Any] = []

    @signal.connect(sender="tasks.add")
    def receiver(sender, **_):
        seen.append(sender)

    signal.send("tasks." + "add")
    signal.send("tasks.mul")

    assert seen == ["tasks.add"]
    assert signal.has_listeners("tasks.add")
    assert not signal.has_listeners("tasks.mul")


def test_receivers_are_held_weakly_unless_they_ask(signal: Signal) -> None:
    signal.connect(lambda **_: None)
    signal.connect(lambda **_: None, weak=False)
    gc.collect()

    assert len(signal.send(None)) == 1
    assert len(signal.receivers) == 1


def test_a_method_lives_as_long_as_its_object(signal: Signal) -> None:
    class Counter:
        calls = 0

        def count(self, **_):
            self.calls += 1

    counter = Counter()
    signal.connect(counter.count)
    signal.send(None)
    assert counter.calls == 1

    del counter
    gc.collect()

    assert signal.receivers == []


def test_what_a_receiver_raises_is_logged_and_stays_there(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def broken(**_):
        raise ValueError("receiver")

    def sound(**_):
        seen.append(1)

    signal.connect(broken)
    signal.connect(sound)
    answers = signal.send(None)

    assert isinstance(answers[0][1], ValueError)
    assert seen == [1]
    assert "of signal tested raised" in caplog.text


def test_connecting_twice_is_once_and_uids_name_receivers(signal: Signal) -> None:
    def one(**_): ...
    def other(**_): ...

    signal.connect(one)
    signal.connect(one)
    signal.connect(other, dispatch_uid="uid")
    signal.connect(one, dispatch_uid="uid")
    assert len(signal.receivers) == 2

    signal.disconnect(one)
    signal.disconnect(dispatch_uid="uid")

    assert signal.receivers == []


def test_a_receiver_may_ask_to_be_called_until_it_returns(signal: Signal) -> None:
    tries: list[int] = []

    def flaky(**_):
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError
        return "done"

    signal.connect(flaky, retry=True)

    assert [answer for _, answer in signal.send(None)] == ["done"]


def test_every_documented_signal_is_there_with_its_arguments() -> None:
    from celery import signals as celery_signals

    for name in dir(celery_signals):
        theirs = getattr(celery_signals, name)
        if type(theirs).__name__ == "Signal":
            assert getattr(signals, name).providing_args >= theirs.providing_args, name
