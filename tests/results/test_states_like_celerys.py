"""States, their sets and their order are Celery's."""

from __future__ import annotations

from itertools import product

import celery.states
import pytest

import umbel.states

SETS = ("ALL_STATES", "EXCEPTION_STATES", "PROPAGATE_STATES", "READY_STATES", "UNREADY_STATES")
NAMES = sorted(celery.states.ALL_STATES | {"PROGRESS", "IGNORED"})


@pytest.mark.parametrize("name", SETS)
def test_the_sets_are_the_same(name: str) -> None:
    assert getattr(umbel.states, name) == getattr(celery.states, name)


@pytest.mark.parametrize(("one", "other"), list(product(NAMES, NAMES)))
def test_the_order_is_the_same(one: str, other: str) -> None:
    ours, theirs = umbel.states.state, celery.states.state

    assert (ours(one) < ours(other)) == (theirs(one) < theirs(other))
    assert (ours(one) > ours(other)) == (theirs(one) > theirs(other))
    assert umbel.states.precedence(one) == celery.states.precedence(one)
