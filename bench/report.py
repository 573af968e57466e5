"""Write the figures of ``bench/out/*.json`` into ``docs/performance.md``; none is copied by hand.

    python bench/report.py [--write]

What lies between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` of the page is replaced by the
table NAME; without ``--write`` the tables are printed. A table without its JSON stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import aims
from systems import HERE

OUT = HERE / "out"
PAGE = HERE.parent / "docs" / "performance.md"
# Where a larger figure is better; everywhere else smaller is.
RATES = ("tasks_per_s", "publish_per_s", "per_second")
OURS = ("celery", "umbel", "umbel-sqlite")
Rows = dict[str, list[dict[str, float]]]


def table(found: dict[str, Rows]) -> str:
    """umbel beside Celery with ratios, then the others."""
    return "\n\n".join(part for part in (beside_celery(found), beside_others(found)) if part)


def beside_celery(found: dict[str, Rows]) -> str:
    """One line per figure: medians, spread, ratio to Celery (above 1: umbel is better)."""
    systems = [s for s in OURS if any(s in rows for rows in found.values())]
    heads = [head for s in systems for head in ([s] if s == "celery" else [s, "ratio"])]
    lines = []
    for name, figure, values in _figures(found, systems):
        cells = []
        for system in systems:
            cells.append(_spread(values[system]) if system in values else "")
            if system != "celery":
                cells.append(_ratio(figure, values.get(system), values.get("celery")))
        lines.append([name, figure, *cells])
    return markdown(["claim", "figure", *heads], lines) if lines else ""


def beside_others(found: dict[str, Rows]) -> str:
    """Medians of the others, and umbel against the best of them."""
    names = {system for rows in found.values() for system in rows}
    others = sorted(names - {*OURS, "bare"})
    if not others:
        return ""
    systems = ["umbel", *others, *(["bare"] if "bare" in names else [])]
    lines = []
    for name, figure, values in _figures(found, systems):
        if not any(system in values for system in others):
            continue
        medians = {s: statistics.median(v) for s, v in values.items()}
        better = max if figure in RATES else min
        best = better((s for s in others if s in medians), key=lambda s: medians[s])
        cells = [short(medians[s]) if s in medians else "" for s in systems]
        lines.append([name, figure, *cells, _ratio(figure, values.get("umbel"), values[best])])
    return markdown(["claim", "figure", *systems, "umbel to the best other"], lines)


def _figures(
    found: dict[str, Rows], systems: Sequence[str]
) -> Iterable[tuple[str, str, dict[str, list[float]]]]:
    for name, rows in found.items():
        there = [s for s in systems if rows.get(s)]
        for figure in rows[there[0]][0] if there else ():
            yield name, figure, {s: [row[figure] for row in rows[s]] for s in there}


def _ratio(figure: str, own: list[float] | None, base: list[float] | None) -> str:
    if not own or not base:
        return ""
    mine, other = statistics.median(own), statistics.median(base)
    if not mine or not other:
        return "-"
    return f"{mine / other if figure in RATES else other / mine:.1f} x"


def _spread(values: list[float]) -> str:
    return f"{short(statistics.median(values))} [{short(min(values))}..{short(max(values))}]"


def short(value: float) -> str:
    """Three figures that count, and no exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(facts: dict[str, Any]) -> str:
    """One paragraph of facts."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date']} UTC, commit {facts['commit']}: {facts['cores']} cores of {facts['cpu']}, "
        f"Linux {facts['kernel']}, Python {facts['python']}, Redis {facts['redis']}, SQLite "
        f"{facts['sqlite']}; load {facts['load']:.1f} at the start; one fdatasync of 4 KB takes "
        f"{facts['fsync_ms']:.2f} ms. {versions}."
    )


def tell(name: str, heads: list[str], lines: list[list[str | float]]) -> None:
    """Print a table of a script that compares nothing, and keep it for the page."""
    OUT.mkdir(exist_ok=True)
    told = {"heads": heads, "lines": lines}
    (OUT / f"{name}.json").write_text(json.dumps(told, indent=1))
    print(plain(told))


def plain(told: dict[str, Any]) -> str:
    """The table of a script that compares nothing: its own heads and lines."""
    return markdown(told["heads"], [[_cell(c) for c in line] for line in told["lines"]])


def _cell(cell: float | str) -> str:
    return cell if isinstance(cell, str) else short(cell)


def tables() -> dict[str, str]:
    """What there is, by name."""
    made: dict[str, str] = {}
    for path in sorted(OUT.glob("*.json")):
        told = json.loads(path.read_text())
        if path.stem == "compared":
            made["machine"] = machine(told["facts"])
            made["celery"] = beside_celery(told["rows"])
            reached = aims.lines(told["rows"], RATES, told["facts"]["fsync_ms"])
            made["aims"] = markdown(["work", "aim", "Redis", "aim", "SQLite"], reached)
            made["others"] = beside_others(told["rows"])
        elif "heads" in told:
            made[path.stem] = plain(told)
    return {name: text for name, text in made.items() if text}


def put(page: str, name: str, text: str) -> str:
    """The page with one table replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    replace: Callable[[re.Match[str]], str] = lambda _: f"{begin}\n{text}\n{end}"  # noqa: E731
    return pattern.sub(replace, page)


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    made = tables()
    if not parser.parse_args().write:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in made.items()))
        return
    page = PAGE.read_text()
    for name, text in made.items():
        page = put(page, name, text)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
