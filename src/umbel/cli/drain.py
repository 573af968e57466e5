"""``umbel drain``: before a fleet goes back to Celery, put everything where Celery's workers look.

umbel's workers must have stopped. Those that were killed are waited for: their leases pass within
seconds, and what they held is among what is put back. What can't be handed over is named, and the
exit code is then 1.
"""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import Any

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import SectionCommand, names
from umbel.model.clock import monotonic_s
from umbel.model.join import JOIN_TASK
from umbel.model.queues import is_own_queue
from umbel.ports.broker import Broker, SweepPolicy
from umbel.ports.graveyard import Wanted
from umbel.ports.handover import HandedOver, Handover
from umbel.worker import verdicts

_MOST_DEAD = 100_000


@click.command("drain", cls=SectionCommand)
@click.option("-Q", "--queues", type=names, help="Only these queues; else all that are found.")
@click.option("--dead", is_flag=True, help="Dead letters too, where Celery's workers survive them.")
@click.option("-f", "--force", is_flag=True, help="Also while umbel's workers run.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def drain(
    invocation: Invocation, /, queues: str | None, dead: bool, force: bool, is_json: bool
) -> None:
    """Put what only umbel's workers see into the queues, for Celery's workers.

    Messages that wait for their time go back with their eta, and what was lost with a process is
    served next. Stop umbel's workers first, and drain once more when the last producer has moved.
    """
    app = invocation.load_app()
    wanted = queues.split(",") if queues else None
    with closing(app.open_pair().broker) as broker:
        handover: Handover | None = broker.handover
        if handover is None:
            raise click.ClickException(
                f"nothing but umbel reads {broker.url}, so there is nobody to hand over to; "
                "`umbel drain` is for a Redis that Celery's workers share"
            )
        if not force:
            _wait_for_leases(app.conf, broker)
        report: dict[str, Any] = {"queues": [], "dead": 0, "dead_left": {}, "broadcasts": []}
        for queue in wanted or handover.queues():
            if is_own_queue(queue):
                report["broadcasts"].append(queue)
            else:
                report["queues"].append(handover.hand_over(queue)._asdict())
        if dead:
            report["dead"], report["dead_left"] = _replay(app, broker, wanted)
        report["dead_kept"] = broker.graveyard.count(Wanted(queues=wanted))
        report["revoked"] = len(broker.revocations.since(0)[1])
    if is_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _tell(report)
    if any(one["verdicts"] or one["joins"] for one in report["queues"]):
        raise SystemExit(1)


def _wait_for_leases(conf: Any, broker: Broker) -> None:
    """Give up killed workers; raises where some are alive."""
    most = int(conf.task_max_deliveries)
    policy = SweepPolicy(
        float(conf.worker_lease_seconds),
        float(conf.worker_sweep_interval),
        most,
        verdicts.poison(most),
        verdicts.begun(),
    )
    # The first sweep after a while gives everybody a new lease.
    limit_s = monotonic_s() + policy.lease_s + 3 * policy.interval_s
    is_told = False
    while True:
        broker.sweep(policy)
        workers = broker.workers()
        if not workers:
            return
        if monotonic_s() >= limit_s:
            raise click.ClickException(
                f"umbel workers are running ({', '.join(workers)}); stop them first, or say "
                "--force: what they put aside from then on is not drained"
            )
        if not is_told:
            is_told = True
            click.echo(
                f"Waiting whether {', '.join(workers)} still runs; a killed worker's lease "
                f"passes within {policy.lease_s:g} s.",
                err=True,
            )
        threading.Event().wait(policy.interval_s)


def _replay(app: Any, broker: Broker, queues: list[str] | None) -> tuple[int, dict[int, str]]:
    """Put dead letters back that do no harm; gives how many, and why others stay."""
    from umbel.wire.acceptance import complaint
    from umbel.wire.serializers import content_types

    accept = content_types(app.conf.accept_content)
    harmless: list[int] = []
    left: dict[int, str] = {}
    for letter in broker.graveyard.letters(Wanted(queues=queues), _MOST_DEAD):
        why = complaint(letter.raw, accept)
        if letter.task == JOIN_TASK:
            why = "it is the claim of a chord, which only an umbel worker can use"
        if why is None:
            harmless.append(letter.number)
        else:
            left[letter.number] = why
    replayed = broker.graveyard.replay(Wanted(numbers=harmless)) if harmless else 0
    return replayed, left


def _tell(report: dict[str, Any]) -> None:
    rows = [HandedOver(**row) for row in report["queues"]]
    for row in rows:
        if row.due or row.lost:
            click.echo(
                f"{row.queue}: {row.due} with an eta, {row.lost} that were lost with a process"
            )
    moved = sum(row.due + row.lost for row in rows) + report["dead"]
    click.echo(f"Put back {_count(moved, 'message')}, {report['dead']} of them dead letters.")
    for number, why in report["dead_left"].items():
        click.echo(f"Dead letter {number} stays: {why}", err=True)
    if report["dead_kept"] and not report["dead_left"]:
        click.echo(f"{_count(report['dead_kept'], 'dead letter')} left; --dead puts them back too.")
    if report["revoked"]:
        click.echo(
            f"{_count(report['revoked'], 'revoked task')} only umbel remembers: Celery's workers "
            "would run their messages."
        )
    for queue in report["broadcasts"]:
        click.echo(f"{queue} holds broadcasts that one umbel worker heard; they are left.")
    verdicts_left = sum(row.verdicts for row in rows)
    joins_left = sum(row.joins for row in rows)
    if verdicts_left or joins_left:
        click.echo(
            f"Left for an umbel worker to finish: {_count(verdicts_left, 'decided task')} whose "
            f"result is not stored yet, {_count(joins_left, 'completed chord')} whose body is not "
            "sent yet. Run one for a moment, stop it, and drain again.",
            err=True,
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
