"""Inside the nursery: import the app once, say what it is like, and fork children from it.

The nursery is the only process beside the children that runs user code: the app's modules, the
worker-level signals. ``gc.freeze`` before the first fork keeps the pages of the app shared (ten
children: 21 MB of their own with it, 375 MB without). It forks on request and keeps no book: with
a subreaper a child is handed over to the supervisor by a second fork; without one the nursery stays
the parent and reports deaths.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from umbel.app.tracebacks import own_traceback
from umbel.model.errors import EncodeError, UmbelError, WorkerShutdown, WorkerTerminate
from umbel.wire import json_forms, pidbox
from umbel.worker import parentage
from umbel.worker.alarms import Alarms
from umbel.worker.briefing import Briefing
from umbel.worker.channel import Channel, ChannelClosed
from umbel.worker.options import ChildOptions
from umbel.worker.slots import Board, Slot

logger = logging.getLogger(__name__)

# What a terminal, an operator or a service manager sends to the whole group. The supervisor alone
# acts on them, and tells the others.
GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Prepared(NamedTuple):
    """An app that is ready to be forked from."""

    briefing: Briefing
    start_child: Callable[[ChildOptions, Slot], int]
    # A worker-level event (``worker_ready``, ``worker_shutting_down``, ``worker_shutdown``).
    tell: Callable[[str, Mapping[str, Any]], None]
    # A command from outside that needs the app: method and arguments; gives the answer.
    answer: Callable[[str, Mapping[str, Any]], Any] | None = None


# Imports and announces the app; True where this worker has had a nursery before: then nothing is
# shown, purged or announced again.
Prepare = Callable[[bool], Prepared]


class Household(NamedTuple):
    """What a nursery gets from its supervisor at birth."""

    supervisor: int  # pid
    board: Board
    poke_fd: int
    lifeline_fd: int  # the supervisor holds the other end
    is_adopting: bool  # the supervisor is a subreaper
    is_again: bool
    signal_mask: set[int]  # as it was before the fork


def live(channel: Channel, household: Household, prepare: Prepare) -> int:
    """The life of a nursery process; gives its exit code."""
    parentage.die_with_parent(household.supervisor)
    # SIGUSR2 tells a child of new orders; one that can't hear it yet looks before its first claim.
    for number in (*GROUP_SIGNALS, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, household.signal_mask)
    try:
        prepared = prepare(household.is_again)
    except UmbelError as error:
        return _give_up(channel, f"Error: {error}\n")
    except SystemExit as error:
        return _give_up(channel, f"Error: the app ended its process: exit({error.code!r})\n")
    except BaseException as error:  # noqa: BLE001 - user code; its traceback is the message
        return _give_up(channel, own_traceback(error))
    nursery = _Nursery(channel, household, prepared)
    try:
        nursery.serve()
    except ChannelClosed:
        return 1
    return 0


class _Nursery:
    def __init__(self, channel: Channel, household: Household, prepared: Prepared) -> None:
        self._channel = channel
        self._household = household
        self._prepared = prepared
        # Only where the nursery stays the parent: pids whose deaths it must report.
        self._children: set[int] = set()
        self._alarms = None if household.is_adopting else Alarms([signal.SIGCHLD])

    def serve(self) -> None:
        """Report, then fork and tell on request until told to stop."""
        self._channel.send({"is": "ready", "briefing": self._prepared.briefing.as_dict()})
        gc.collect()
        gc.freeze()
        _warn_of_threads()
        while True:
            if self._alarms is not None:
                self._report_deaths(self._alarms)
            request, files = self._channel.receive()
            match request["do"]:
                case "fork":
                    self._fork(request, files)
                case "tell":
                    self._prepared.tell(request["what"], request["facts"])
                case "ask":
                    self._answer(request)
                case "stop":
                    self._prepared.tell("worker_shutdown", {})
                    return

    def _answer(self, request: Mapping[str, Any]) -> None:
        answer: Any
        stops = ""
        try:
            assert self._prepared.answer is not None
            answer = self._prepared.answer(request["method"], request["arguments"])
        except (WorkerShutdown, WorkerTerminate) as error:
            answer, stops = None, type(error).__name__
        except Exception as error:  # a user's command may raise anything
            logger.exception("Control command error: %r", error)
            answer = {"error": repr(error)}
        try:
            text = json_forms.dumps(answer)
        except EncodeError:
            text = json_forms.dumps(pidbox.plain(answer))
        self._channel.send(
            {"is": "answer", "number": request["number"], "text": text, "stops": stops}
        )

    def _fork(self, request: Mapping[str, Any], files: list[int]) -> None:
        options = ChildOptions(
            **{**request["options"], "queues": tuple(request["options"]["queues"])}
        )
        reply = {"number": options.number, "generation": request["generation"]}
        self._prepared.tell("worker_before_create_process", {})
        # What is buffered here would be written by each fork.
        _flush()
        # A child that is told to stop at once must not take over our deafness: it would be told in
        # vain. Until it is grown up the signal waits.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            pid = self._fork_once(options, request["generation"], files)
        except OSError as error:
            self._channel.send({"is": "unforked", **reply, "error": str(error)})
        else:
            self._channel.send({"is": "forked", **reply, "pid": pid})
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for fd in files:
                os.close(fd)

    def _fork_once(self, options: ChildOptions, generation: int, files: list[int]) -> int:
        if self._household.is_adopting:
            return self._fork_twice(options, generation, files)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _end_with(lambda: self._become_child(options, generation, files, parent))
        self._children.add(pid)
        return pid

    def _fork_twice(self, options: ChildOptions, generation: int, files: list[int]) -> int:
        """The process between dies at once, and its child falls to the supervisor."""
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            os.close(reading)
            here = os.getpid()
            try:
                pid = os.fork()
            except OSError:
                os._exit(1)
            if pid:
                os.write(writing, str(pid).encode())
                os._exit(0)
            os.close(writing)
            supervisor = self._household.supervisor

            def grow_up() -> int:
                parentage.await_adoption(here, supervisor)
                return self._become_child(options, generation, files, supervisor)

            _end_with(grow_up)
        os.close(writing)
        try:
            os.waitpid(middle, 0)
            told = os.read(reading, 32)
        finally:
            os.close(reading)
        if not told:
            raise OSError("fork failed in the process between")
        return int(told)

    def _become_child(
        self, options: ChildOptions, generation: int, files: list[int], parent: int
    ) -> int:
        household = self._household
        if not parentage.die_with_parent(parent):
            parentage.die_with_pipe(household.lifeline_fd)
        if self._alarms is not None:
            self._alarms.forget_in_fork()
        self._channel.close()
        # SIGTERM is back already, and heard from here on; the group's other signals stay ignored.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        slot = Slot(
            household.board,
            options.number,
            lanes=options.threads,
            read_fd=files[0],
            write_fd=files[1],
            poke_fd=household.poke_fd,
        )
        if not slot.claim(generation, os.getpid()):
            return 0
        if options.pool == "prefork":
            # Many children can't share a terminal's input.
            sys.stdin = open(os.devnull)  # noqa: SIM115 - for the life of the process
        return self._prepared.start_child(options, slot)

    def _report_deaths(self, alarms: Alarms) -> None:
        """Wait for a request, reporting deaths that come before it."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(alarms.fileno(), select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if alarms.fileno() in ready:
                alarms.rung()
                for pid in list(self._children):
                    self._report_state(pid)
            if self._channel.fileno() in ready:
                return

    def _report_state(self, pid: int) -> None:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found:
            if not os.WIFSTOPPED(status):
                self._children.discard(pid)
            self._channel.send({"is": "changed", "pid": pid, "status": status})


def _end_with(life: Callable[[], int]) -> None:
    """Run the life of a forked process and end it; never returns."""
    code = 1
    try:
        code = life()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the top of a process: show what ended it
        # Not sys.stderr, which may cut it into lines of the log.
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with suppress(Exception):
            _flush()
        os._exit(code)


def _warn_of_threads() -> None:
    """Say what a fork leaves behind: the DeprecationWarning of Python 3.12 is hidden by default."""
    names = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    if names:
        logger.warning(
            "The app has started threads at its import or in worker_init: %s. Children are forked "
            "without them, and a lock that one of them holds stays locked there. Start them in "
            "worker_process_init.",
            ", ".join(names),
        )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()


def _give_up(channel: Channel, message: str) -> int:
    stream = sys.__stderr__
    if stream is not None:
        stream.write(message)
        stream.flush()
    with suppress(ChannelClosed):
        channel.send({"is": "failed"})
    return 1
