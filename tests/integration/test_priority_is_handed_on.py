"""``task_inherit_parent_priority``: what a worker sends on keeps the priority of its parent."""

import pytest

from umbel import Celery, chain
from umbel.testing.running import running_worker


@pytest.mark.parametrize(("inherits", "found"), [(True, 6), (False, 0)])
def test_the_next_step_of_a_chain_has_the_priority_of_the_one_before(inherits, found):
    url = f"memory://priority-{inherits}"
    app = Celery("shop", broker=url, backend=url, set_as_current=False)
    app.conf.task_inherit_parent_priority = inherits

    @app.task(bind=True, name="seen")
    def seen(self, *_before):
        return self.request.properties["priority"]

    with running_worker(app):
        first = seen.s().set(priority=6)
        value = chain(first, seen.s()).apply_async().get(timeout=10)
    app.close()

    assert value == found
