"""The page of figures is written from JSON: what is put where, and what is held or missed."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import report

    yield report
    for name in ("report", "aims", "systems"):
        sys.modules.pop(name, None)


def test_a_table_replaces_what_lies_between_its_marks(report):
    page = "before\n<!-- begin depth -->\nold\n<!-- end depth -->\nafter\n"

    page = report.put(page, "depth", "| new |")

    assert page == "before\n<!-- begin depth -->\n| new |\n<!-- end depth -->\nafter\n"


def test_every_table_has_its_place_on_the_page(report):
    page = report.PAGE.read_text()

    for name in ("machine", "celery", "others", "aims", "steps", "fairness", "mix", "scaling"):
        assert report.put(page, name, "here it is") != page
    for name in ("depth", "growth", "wide"):
        assert report.put(page, name, "here it is") != page


def test_an_aim_is_held_or_missed_by_the_medians_of_one_run(report):
    found = {
        "drain": {
            "celery": [{"tasks_per_s": 1_000.0}, {"tasks_per_s": 990.0}, {"tasks_per_s": 5_000.0}],
            "umbel": [{"tasks_per_s": 50_000.0}],
            "umbel-sqlite": [{"tasks_per_s": 19_000.0}],
        },
        "idle": {"umbel": [{"cpu_s_per_minute": 0.05}]},
    }

    lines = report.aims.lines(found, report.RATES, fsync_ms=0.5)

    assert lines == [
        ["drain, results kept", "50 x", "50 x (held)", "20 x", "19 x (missed)"],
        ["idle CPU, s a minute", "0.06", "0.05 (held)", "", ""],
    ]
