"""The cases that every engine runs show what an assertion compared."""

import pytest

pytest.register_assert_rewrite("umbel.testing.conformance")
