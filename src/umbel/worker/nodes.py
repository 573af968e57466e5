"""Names of workers: the node, as users know it, and the id of one run of it.

A node is ``name@host``; each run of a worker adds a short random part, so that two runs (or two
workers of one name) never share a consumer. Consumers are named ``<node>#<run>.<slot>.<epoch>``,
which shows the node to whoever lists them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from umbel.model.ids import hostname

DEFAULT_NAME = "celery"


def node_name(wanted: str | None) -> str:
    """The node of ``-n``: ``%h`` is the host, ``%n`` its first part, ``%d`` its domain.

    A name without ``@`` is taken as the host, as Celery does.
    """
    name, at, host = (wanted or "").partition("@")
    if not at:
        name, host = "", name
    return expand(f"{name or DEFAULT_NAME}@{host or hostname()}", hostname())


def expand_for(text: str, node: str) -> str:
    """The file name of ``--logfile`` or ``--pidfile``: ``%n`` is the node's name, ``%h`` its host,
    ``%p`` the whole node."""
    name, _, host = node.partition("@")
    return expand(text.replace("%p", node), host, name)


def expand(text: str, host: str, name: str = "") -> str:
    """Fill in ``%h``, ``%n``, ``%d``; ``%i`` and ``%I`` are those of a main process."""
    first, _, domain = host.partition(".")
    parts = {"%%": "%", "%h": host, "%n": name or first, "%d": domain, "%i": "0", "%I": ""}
    expanded, rest = "", text
    while rest:
        before, percent, rest = rest.partition("%")
        expanded += before
        if percent:
            code = percent + rest[:1]
            expanded += parts.get(code, code)
            rest = rest[1:]
    return expanded


def worker_id(node: str) -> str:
    """A new run of a node."""
    return f"{node}#{os.urandom(3).hex()}"


def runs_of(node: str, consumers: Iterable[str]) -> set[str]:
    """Which runs of this node have live consumers (or are live workers), by their names."""
    runs = set()
    for consumer in consumers:
        owner, mark, rest = consumer.rpartition("#")
        if mark and owner == node:
            runs.add(f"{owner}#{rest.partition('.')[0]}")
    return runs
