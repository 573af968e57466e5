"""The worker as a program: from the options of the command line to a supervisor that runs.

Beside the supervisor there is what belongs to the process rather than to the worker: its directory,
its pid file, its title, and whether it is replaced by a new one of itself at the end.
"""

from __future__ import annotations

import os
import sys

from umbel.ports.engine import EngineOptions, Pair
from umbel.worker import nodes, reloading, titles
from umbel.worker.briefing import Briefing
from umbel.worker.health import Health
from umbel.worker.options import WorkerOptions
from umbel.worker.pidfile import PidFile
from umbel.worker.rearing import Prepared
from umbel.worker.saying import UNTIL_THE_APP_IS_KNOWN, say, set_up_logs
from umbel.worker.supervisor import Supervisor


def run(options: WorkerOptions) -> int:
    """Be a worker; gives the exit code. Called before any app is imported."""
    if options.workdir:
        os.chdir(options.workdir)
    node = nodes.node_name(options.hostname)
    set_up_logs(UNTIL_THE_APP_IS_KNOWN)
    if options.reload:
        reloading.check()
    titles.set_title(node, "MainProcess", "-active-")

    def prepare(is_again: bool) -> Prepared:
        # In the nursery only: this process must stay small.
        from umbel.worker.preparing import prepare

        titles.set_title(node, "Nursery")

        return prepare(options, node, is_again=is_again)

    health = None
    if options.health_file or options.health_http:
        path = nodes.expand_for(options.health_file, node) if options.health_file else None
        health = Health(path, options.health_http)
    pidfile = PidFile(nodes.expand_for(options.pidfile, node)) if options.pidfile else None
    if pidfile is not None:
        pidfile.acquire()
    try:
        supervisor = Supervisor(
            node,
            prepare,
            _open_pair,
            remaps_term=os.environ.get("REMAP_SIGTERM") == "SIGQUIT",
            health=health,
            is_reloading=options.reload,
        )
        code = supervisor.run()
    finally:
        if health is not None:
            health.close()
        if pidfile is not None:
            pidfile.release()
    if supervisor.wants_restart and sys.orig_argv:
        say(f"Restarting worker ({' '.join(sys.orig_argv)})")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return code


def _open_pair(briefing: Briefing) -> Pair:
    from umbel.engines.opening import open_pair

    # While the broker hangs, this process hears nothing else: so it asks with less patience than
    # children do, and asks again.
    patience_s = max(briefing.beat_s, 1.0)

    def impatient(options: EngineOptions) -> EngineOptions:
        return options._replace(
            connect_timeout_s=min(options.connect_timeout_s, patience_s),
            reply_timeout_s=min(options.reply_timeout_s, patience_s),
        )

    return open_pair(
        briefing.broker_url,
        briefing.result_url,
        impatient(briefing.broker_options),
        impatient(briefing.result_options),
    )
