"""The logical clock: forward only, shared by processes."""

from umbel.model.lamport import LamportClock


def test_each_event_has_a_higher_number():
    clock = LamportClock()

    assert [clock.forward(), clock.forward(), clock.value] == [1, 2, 2]


def test_what_is_heard_of_moves_the_clock_beyond_it():
    clock = LamportClock()

    assert clock.adjust(10) == 11
    assert clock.adjust(3) == 12


def test_what_is_no_number_moves_the_clock_on_by_one():
    clock = LamportClock()

    for strange in (None, "7", 2.5, True, -4, 2**80):
        before = clock.value
        assert clock.adjust(strange) == before + 1


def test_processes_share_the_number_and_never_go_back():
    words = [0, 0]
    first, second = LamportClock(words, 1), LamportClock(words, 1)
    first.adjust(40)

    assert second.forward() == 42
    assert first.forward() == 43

    words[1] = 5  # another process wrote what it had read long ago
    assert first.forward() == 44
