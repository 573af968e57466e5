"""How the processes of a worker are called in ``ps``: in Celery's form, with setproctitle.

``[celeryd: mail@host:ForkPoolWorker-1]``: scripts that look for workers search for these words. The
arguments of the command line are left out, because they may hold a password.
"""

from __future__ import annotations


def set_title(node: str, process: str, note: str = "") -> None:
    """Call this process so; without setproctitle it keeps the title that it has."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"[celeryd: {node}:{process}]{f' {note}' if note else ''}")
