"""What every engine must keep: the promises in the docstrings of the doors, as pytest cases.

An engine's test file subclasses ``EngineCases``, and ``CrashCases`` too if its brokers are shared
by processes, and gives a fixture ``engine``: a :class:`Harness` that knows how to connect. Each
promise in ``ports/broker.py`` and ``ports/store.py`` names its case in brackets; the case here is
``test_<that name>``, alone or as the beginning of several.

Call ``pytest.register_assert_rewrite("umbel.testing.conformance")`` before the import to see what
an assertion compared.
"""

from umbel.testing.conformance.browsing import BrowseCases
from umbel.testing.conformance.burying import GraveCases
from umbel.testing.conformance.crashes import CrashCases
from umbel.testing.conformance.harness import Harness
from umbel.testing.conformance.joining import JoinCases
from umbel.testing.conformance.leasing import LeaseCases
from umbel.testing.conformance.noticing import NoticeCases
from umbel.testing.conformance.publishing import PublishCases
from umbel.testing.conformance.recovering import RecoveryCases
from umbel.testing.conformance.revoking import RevocationCases
from umbel.testing.conformance.running_ahead import RunningAheadCases
from umbel.testing.conformance.settling import SettlementCases
from umbel.testing.conformance.storing import StoreCases
from umbel.testing.conformance.waking import GivingCases, WakeCases


class EngineCases(
    PublishCases,
    LeaseCases,
    SettlementCases,
    RecoveryCases,
    JoinCases,
    StoreCases,
    RunningAheadCases,
    WakeCases,
    GivingCases,
    GraveCases,
    RevocationCases,
    NoticeCases,
    BrowseCases,
):
    """All cases that need one process only."""


__all__ = ["CrashCases", "EngineCases", "Harness"]
