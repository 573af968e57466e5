"""The program that looks at files for ``--reload``: a line on stdout for each change, no more.

``python -m umbel.worker.watching PID CHANGED:PATH...``; CHANGED is when it changed last, as far as
is known (ns). It ends when the process PID, its parent, is gone. It is a process of its own because
the watcher's threads must not be where children are forked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from umbel.worker import parentage

# Changes that come together (a checkout, a formatter) are one.
_TOGETHER_MS = 400
# The backstop for changes that the system does not tell of: network mounts, or those before this.
_LOOK_MS = 1000


def watch(parent: int, known: Mapping[str, int]) -> None:
    """Write the names of what has changed, until the parent is gone."""
    from watchfiles import watch as changes_of

    parentage.die_with_parent(parent)
    standing = dict(known)
    # Folders, because most editors put a new file in the place of the old one. What else changes in
    # them is not filtered out: with a busy database there, the next look would never come.
    for _ in changes_of(
        *sorted({os.path.dirname(path) for path in known}),
        watch_filter=None,
        debounce=_TOGETHER_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
        raise_interrupt=False,
    ):
        if os.getppid() != parent:
            return
        changed = []
        for path, before in standing.items():
            now = _changed_ns(path)
            if now not in (before, None):
                standing[path] = now or 0
                changed.append(os.path.basename(path))
        if changed:
            os.write(1, f"{', '.join(sorted(changed))}\n".encode())


def _changed_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        # Deleted, or about to be replaced.
        return None


if __name__ == "__main__":
    given = [word.partition(":") for word in sys.argv[2:]]
    watch(int(sys.argv[1]), {path: int(changed_ns) for changed_ns, _, path in given})
