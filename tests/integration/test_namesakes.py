"""Two workers of one name work, and the second says that they can't be told apart."""

import pytest

pytestmark = pytest.mark.slow  # real workers


def test_a_second_worker_of_one_name_says_so(urls, start_worker):
    first = start_worker("canvas_tasks", "-c", "1", "-n", "twin@%h", env=urls)

    second = start_worker("canvas_tasks", "-c", "1", "-n", "twin@%h", env=urls)
    other = start_worker("canvas_tasks", "-c", "1", "-n", "other@%h", env=urls)

    assert "DuplicateNodenameWarning: another worker named twin@" in second.log
    assert "DuplicateNodenameWarning" not in first.log + other.log


def test_a_worker_that_follows_one_of_its_name_says_nothing(urls, start_worker):
    start_worker("canvas_tasks", "-c", "1", "-n", "twin@%h", env=urls).stop()

    second = start_worker("canvas_tasks", "-c", "1", "-n", "twin@%h", env=urls)

    assert "DuplicateNodenameWarning" not in second.log
