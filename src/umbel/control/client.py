"""``app.control`` and ``app.control.inspect()``: Celery's methods, each a command to workers.

What must hold for workers that are not there now is written down at the broker as well: a revoked
task does not run on a worker that starts tomorrow.
https://docs.celeryq.dev/en/stable/reference/celery.app.control.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from umbel.control.mailbox import Addressees, Mailbox, by_node
from umbel.model.errors import NotBuiltYet

TERM = "SIGTERM"
Answers = list[dict[str, Any]]


class Keeper(Protocol):
    """What of remote control is kept at the broker, not said."""

    def remember_revoked(self, task_ids: Sequence[str]) -> None:
        """Let tasks not run, from now on, wherever."""
        ...

    def remember_revoked_stamps(self, stamps: Mapping[str, Sequence[str]]) -> None:
        """The same for whatever has one of these stamps."""
        ...

    def purge(self) -> int:
        """Delete what waits in the app's queues; gives how many."""
        ...


class Inspect:
    """Questions to workers. Each gives ``{node: answer}``, or None where nobody has answered."""

    def __init__(
        self,
        control: Control,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        connection: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self._control = control
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def ask(self, method: str, **arguments: Any) -> Any:
        """Ask any question, also one of your own ``@inspect_command``."""
        answers = self._control.broadcast(
            method,
            arguments=arguments,
            destination=self.destination,
            reply=True,
            timeout=self.timeout,
            limit=self.limit,
            callback=self.callback,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        if not answers:
            return None
        found = by_node(answers)
        return found.get(self.destination) if isinstance(self.destination, str) else found

    _request = ask  # programs that have commands of their own call Celery's by this name

    def active(self, safe: bool | None = None) -> Any:
        """What runs now. ``safe``: arguments as text."""
        return self.ask("active", safe=safe)

    def scheduled(self, safe: bool | None = None) -> Any:
        """What waits for its time in the queues of a worker, the earliest thousand of each."""
        return self.ask("scheduled", **_if_said(safe=safe))

    def reserved(self, safe: bool | None = None) -> Any:
        """What workers have taken and not begun."""
        return self.ask("reserved", **_if_said(safe=safe))

    def stats(self) -> Any:
        """Numbers about workers and their processes."""
        return self.ask("stats")

    def revoked(self) -> Any:
        """Ids of tasks that must not run."""
        return self.ask("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """The tasks that workers know, with attributes: ``"tasks.add [rate_limit=10/m]"``."""
        return self.ask("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def ping(self, destination: Sequence[str] | str | None = None) -> Any:
        """Who is there: ``{node: {"ok": "pong"}}``."""
        if destination:
            self.destination = destination
        return self.ask("ping")

    def active_queues(self) -> Any:
        """The queues that workers consume."""
        return self.ask("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """``{id: [state, request]}`` of the tasks that workers know of."""
        if len(ids) == 1 and isinstance(ids[0], list | tuple):
            ids = tuple(ids[0])
        return self.ask("query_task", ids=list(ids))

    def conf(self, with_defaults: bool = False) -> Any:
        """The settings of workers, passwords hidden."""
        return self.ask("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What workers tell each other when one starts."""
        return self.ask("hello", from_node=from_node, revoked=revoked)

    def clock(self) -> Any:
        """The logical clocks of workers."""
        return self.ask("clock")

    def report(self) -> Any:
        """What a bug report should say."""
        return self.ask("report")

    def memsample(self) -> Any:
        """Answered by Celery's workers only; umbel's say that they can't."""
        return self.ask("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """Answered by Celery's workers only; umbel's say that they can't."""
        return self.ask("memdump", samples=samples)

    def objgraph(
        self,
        type: str = "Request",  # noqa: A002 - Celery's name
        n: int = 200,
        max_depth: int = 10,
    ) -> Any:
        """Answered by Celery's workers only; umbel's say that they can't."""
        return self.ask("objgraph", num=n, max_depth=max_depth, type=type)


class Control:
    """Commands to workers.

    All methods take ``destination`` (nodes), ``pattern`` with ``matcher`` (glob, pcre), and
    ``reply=True`` with ``timeout`` (seconds) and ``limit``: then they give a list of
    ``{node: answer}``, else None.
    """

    def __init__(self, mailbox: Mailbox, keeper: Keeper) -> None:
        self.mailbox = mailbox
        self._keeper = keeper

    def inspect(self, *args: Any, **kwargs: Any) -> Inspect:
        """Questions: ``inspect(destination, timeout=1.0, callback, connection, limit, pattern,
        matcher)``."""
        return Inspect(self, *args, **kwargs)

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | str | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Answers | None:
        """Say a command; further keywords are arguments of it. ``connection`` and ``channel`` are
        Celery's: the app's own connection is used."""
        if isinstance(destination, str):
            destination = [destination]
        if pattern is not None and matcher is None:
            matcher = "glob"
        to = Addressees(destination, pattern, matcher)
        given = {**(arguments or {}), **extra_kwargs}
        if not reply:
            self.mailbox.cast(command, given, to)
            return None
        return self.mailbox.call(
            command,
            given,
            to,
            timeout_s=1.0 if timeout is None else float(timeout),
            limit=limit,
            callback=callback,
        )

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> Answers:
        """Who is there: ``[{node: {"ok": "pong"}}]``."""
        asked = {"reply": True, "timeout": timeout, **kwargs}
        return self.broadcast("ping", {}, destination, **asked) or []

    def revoke(
        self,
        task_id: str | Sequence[str],
        destination: Any = None,
        terminate: bool = False,
        signal: str = TERM,
        **kwargs: Any,
    ) -> Answers | None:
        """Let a task, or several, not run: for 30 days, on all workers, also those to come.

        ``terminate``: one that runs is ended with the process that runs it, and is REVOKED; with
        ``signal="SIGUSR1"``, ``SoftTimeLimitExceeded`` is raised in it instead. ``destination``
        bounds who is told, not where the task may not run.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        self._keeper.remember_revoked(ids)
        given: dict[str, Any] = {"task_id": task_id if isinstance(task_id, str) else ids}
        given |= {"terminate": terminate, "signal": signal or TERM}
        return self.broadcast("revoke", given, destination, **kwargs)

    def terminate(
        self,
        task_id: str | Sequence[str],
        destination: Any = None,
        signal: str = TERM,
        **kwargs: Any,
    ) -> Answers | None:
        """``revoke`` with ``terminate=True``."""
        return self.revoke(task_id, destination, terminate=True, signal=signal, **kwargs)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Any = None,
        terminate: bool = False,
        signal: str = TERM,
        **kwargs: Any,
    ) -> Answers | None:
        """Let tasks not run that have one of these stamps: ``{"customer": ["a", "b"]}``."""
        self._keeper.remember_revoked_stamps(
            {name: _listed(value) for name, value in headers.items()}
        )
        given = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", given, destination, **kwargs)

    def rate_limit(
        self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any
    ) -> Answers | None:
        """Change the rate limit of a task: ``"10/m"``, a number a second, 0 for none."""
        given = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", given, destination, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Answers | None:
        """Change the time limits of a task, in seconds, for what begins from now on."""
        given = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", given, destination, **kwargs)

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Answers | None:
        """Consume one more queue."""
        given = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type}
        given |= {"routing_key": routing_key, **(options or {})}
        return self.broadcast("add_consumer", given, destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Consume a queue no more."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Let workers send task events."""
        return self.broadcast("enable_events", {}, destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Let workers send no task events."""
        return self.broadcast("disable_events", {}, destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Start ``n`` more processes."""
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Keep ``n`` processes less; what they run is finished first."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def autoscale(
        self,
        max: int,  # noqa: A002 - Celery's names
        min: int,  # noqa: A002
        destination: Any = None,
        **kwargs: Any,
    ) -> Answers | None:
        """Change the bounds of workers that scale themselves."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Answers | None:
        """Import the app anew and replace all processes; what they run is finished first.

        Needs ``worker_pool_restarts``. Everything is imported anew, so that ``reload`` says
        nothing new; umbel's workers refuse ``modules`` and ``reloader``.
        """
        given = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", given, destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Let workers finish what runs, and end. Nobody answers."""
        return self.broadcast("shutdown", {}, destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Answers | None:
        """Let workers send a heartbeat event now."""
        return self.broadcast("heartbeat", {}, destination, **kwargs)

    def election(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refused: it ends every Celery worker that hears it."""
        raise NotBuiltYet(
            "app.control.election is not built: Celery's workers end when they hear of one "
            "(5.7); take a lock at your broker instead"
        )

    def purge(self, connection: Any = None) -> int:
        """Delete all messages that wait in the app's queues; gives how many."""
        return self._keeper.purge()

    discard_all = purge


def _if_said(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return [str(each) for each in values]
