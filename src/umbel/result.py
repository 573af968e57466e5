"""What a caller holds of tasks that were sent, where Celery's users look for it."""

from umbel.results.blocking import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    task_join_will_block,
)
from umbel.results.eager import (
    EagerResult,
)
from umbel.results.group import (
    GroupResult,
    ResultSet,
)
from umbel.results.handle import (
    AsyncResult,
)
from umbel.results.tuples import (
    result_from_tuple,
)

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
]
