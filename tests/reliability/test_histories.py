"""What a broker promises holds in any history; ``make histories`` plays ten thousand of them."""

import os

from histories import History
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NUMBER = int(os.environ.get("HISTORIES") or 300)


@settings(
    max_examples=NUMBER,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=NUMBER <= 300,
)
@given(program=st.binary(min_size=90, max_size=360))
def test_no_history_breaks_a_promise(program):
    History().play(program)
