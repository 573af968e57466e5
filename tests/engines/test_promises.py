"""Each promise in a door's docstring names its case, and the case is there."""

import re

import pytest

from umbel.ports import broker, bus, graveyard, revocations, store
from umbel.testing import conformance

CASES = {
    case
    for name in conformance.__all__
    if name.endswith("Cases")
    for case in dir(getattr(conformance, name))
}


def _promises(module):
    doors = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    texts = [
        member.__doc__ or ""
        for door in doors
        for member in [door, *vars(door).values()]
        if hasattr(member, "__doc__")
    ]
    text = " ".join([module.__doc__ or "", *texts])
    return sorted(set(re.findall(r"\[([a-z]+_[a-z_]+)\]", text)))


DOORS = (broker, store, graveyard, revocations, bus)


@pytest.mark.parametrize("promise", [name for door in DOORS for name in _promises(door)])
def test_a_promise_has_a_case(promise):
    assert any(name.startswith(f"test_{promise}") for name in CASES)


def test_the_doors_make_promises():
    assert len(_promises(broker)) > 20
    assert len(_promises(store)) >= 3
