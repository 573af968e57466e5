"""The tasks of the nightly report.

    celery -A tasks worker

A region's day ends at its own midnight, so each region's part is sent with an ``eta``. Reading is
routed to one queue and writing to another, and what waits in a queue goes by priority. One process
at a time works here, so that the order in which it does things can be told.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import ledger
from celery import Celery, chord, group
from celery.signals import task_postrun
from kombu import Exchange, Queue

app = Celery("nightly_report")


def by_kind(name, args, kwargs, options, task=None, **kw):
    """A route that is a function: what goes out goes by post."""
    if name == "tasks.deliver":
        return {"queue": "post", "routing_key": "post"}
    return None


app.conf.update(
    broker_connection_retry_on_startup=True,
    task_queues=[
        Queue("extract", Exchange("nightly"), routing_key="extract"),
        Queue("reports", Exchange("nightly"), routing_key="reports"),
        Queue("post", Exchange("nightly"), routing_key="post"),
    ],
    task_default_exchange="nightly",
    task_default_queue="reports",
    task_default_routing_key="reports",
    task_routes=[by_kind, {"tasks.read_*": {"queue": "extract"}, "tasks.count": "extract"}],
    # What waits at the broker can still be overtaken; what a worker holds can't.
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    timezone="UTC",
    result_extended=True,
)

FOLDER = Path(os.environ.get("REPORTS", "reports"))
CENT = Decimal("0.01")


@task_postrun.connect
def note_the_run(task=None, args=None, **_signal):
    """A diary of all that ran, for whoever wants to know in which order."""
    with (FOLDER / "diary").open("a") as diary:
        diary.write(json.dumps([task.name, str(list(args or ())[:1])]) + "\n")


def region_of(name):
    return next(region for region in ledger.REGIONS if region.name == name)


@app.task
def count(path):
    """How many lines there are to be read."""
    return ledger.count_lines(path)


@app.task
def read_part(path, start, stop):
    """Add up some lines: by shop and by item, exactly."""
    sales, useless = ledger.read_sales(path, start, stop)
    by_shop, by_item = {}, {}
    for sale in sales:
        by_shop[str(sale.shop)] = by_shop.get(str(sale.shop), Decimal(0)) + sale.amount
        by_item[sale.item] = by_item.get(sale.item, 0) + sale.number
    latest = max((sale.at for sale in sales), default=None)
    return {"shops": by_shop, "items": by_item, "useless": useless, "latest": latest}


def added(ones, key):
    """The sum of dictionaries."""
    total = {}
    for one in ones:
        for name, value in one[key].items():
            total[name] = total.get(name, 0) + value
    return dict(sorted(total.items()))


@app.task
def summarise(parts, name, early):
    """A region's day, and its page. Amounts are ``Decimal``, times ``datetime``, all the way."""
    region = region_of(name)
    shops = added(parts, "shops")
    net = sum(shops.values(), Decimal(0))
    summary = {
        "region": name,
        "early": early,
        "shops": shops,
        "items": added(parts, "items"),
        "useless": sum(part["useless"] for part in parts),
        "latest": max(part["latest"] for part in parts),
        "net": net,
        "tax": (net * region.tax).quantize(CENT, ROUND_HALF_UP),
        "euros": (net * ledger.RATES[region.currency]).quantize(CENT, ROUND_HALF_UP),
    }
    return {**summary, "page": str(write_page(summary))}


def write_page(summary):
    """A region's page, for people."""
    page = FOLDER / f"{summary['region']}.txt"
    lines = [f"{summary['region']}: net {summary['net']}, tax {summary['tax']}"]
    lines += [f"  shop {shop}: {amount}" for shop, amount in summary["shops"].items()]
    lines += [f"  {number} x {item}" for item, number in summary["items"].items()]
    page.write_text("\n".join(lines) + "\n")
    return page


@app.task(bind=True)
def report_region(self, name, path, size=50):
    """Read a region's file in parts: how many is known only now, so this is replaced by them."""
    lines = ledger.count_lines(path)
    started = datetime.now(UTC)
    eta = self.request.eta
    due = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    parts = [read_part.s(path, first, first + size) for first in range(0, lines, size)]
    early = due is not None and started < due
    return self.replace(chord(parts, summarise.s(name, early)))


@app.task(priority=0)
def total(summaries):
    """All regions in euros; asked for by people who wait for it."""
    best = max(summaries, key=lambda summary: summary["euros"])
    return {
        "euros": sum((summary["euros"] for summary in summaries), Decimal(0)),
        "best": best["region"],
        "useless": sum(summary["useless"] for summary in summaries),
        "early": [summary["region"] for summary in summaries if summary["early"]],
        "pages": [summary["page"] for summary in summaries],
    }


@app.task(bind=True)
def deliver(self, page, to):
    """Post a page; tells by which queue it came."""
    info = self.request.delivery_info
    return {"to": to, "page": Path(page).stem, "by": info["routing_key"]}


@app.task
def print_page(title):
    """Something to do for a printer."""
    return title


@app.task(soft_time_limit=30, track_started=True)
def hold(until):
    """Keep the worker busy until a file is there, so that work piles up behind it."""
    while not Path(until).exists():
        time.sleep(0.02)


def night(paths, etas):
    """The reports of all regions, each at its time, then their total."""
    reports = [report_region.s(name, path).set(eta=etas[name]) for name, path in paths.items()]
    return chord(group(reports), total.s())
