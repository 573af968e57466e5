"""``Task``: what ``@app.task`` makes of a function, and the base of class-based tasks.

A task is one object for the life of the process. Calling it runs its function here; ``delay`` and
``apply_async`` send a message instead. What it is doing at the moment is not kept in it but in
``request``, per thread.
https://docs.celeryq.dev/en/stable/reference/celery.app.task.html
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

from umbel.app import steering
from umbel.app.arguments import Check, check_of
from umbel.app.sending import call_of, check_options, way_of
from umbel.app.standing import Absent, RequestStack
from umbel.canvas import batches
from umbel.canvas.shapes import links_of
from umbel.canvas.signature import Signature, signature
from umbel.model.call import Call
from umbel.model.errors import MaxRetriesExceededError, OperationalError
from umbel.model.generics import P, R_co
from umbel.model.request import Request, running
from umbel.ports.current import current_app
from umbel.results.eager import EagerResult
from umbel.results.handle import AsyncResult

# Of a task's own arguments, where a type checker is to look at less, or more, than all of them.
R = TypeVar("R")
Rest = ParamSpec("Rest")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_SEQUENCES = (tuple, list)
_TAKES_ANY_NUMBER = 0x04  # inspect.CO_VARARGS; importing inspect costs 8 ms


class FromSetting:
    """An attribute that is a setting of the app until a class or an instance sets it."""

    __slots__ = ("_setting",)

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def __get__(self, task: Any, owner: type) -> Any:
        return None if task is None else getattr(task.app.conf, self._setting)


class _AppOf:
    """``Task.app``: the app that registered the task, else the current one; on the class too."""

    def __get__(self, task: Any, owner: Any) -> Any:
        app = owner._app if task is None else task._app
        return current_app() if app is None else app

    def __set__(self, task: Any, app: Any) -> None:
        task._app = app


class Task(Absent, Generic[P, R_co]):
    """The base of all tasks: subclass it, override its hooks, name the subclass in ``base=``.

    For type checkers it is generic in what it is called with and what it returns, as
    ``Task[[int, str], bool]``; a bare ``Task`` is called with anything and returns anything.
    """

    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError

    abstract: ClassVar[bool] = True
    name: Any = None
    _app: Any = None
    app: Any = _AppOf()

    # How often and how late it is retried.
    max_retries: Any = 3
    default_retry_delay: Any = 3 * 60
    autoretry_for: Any = ()
    dont_autoretry_for: Any = ()
    retry_kwargs: Any = None
    retry_backoff: Any = False
    retry_backoff_max: Any = 600
    retry_jitter: Any = True

    # How it is sent.
    typing: Any = None  # None: the app's ``strict_typing``
    serializer: Any = FromSetting("task_serializer")
    priority: Any = FromSetting("task_default_priority")
    compression: Any = None
    queue: Any = None
    exchange: Any = None
    routing_key: Any = None
    delivery_mode: Any = None
    expires: Any = None

    # How it is run and kept.
    rate_limit: Any = FromSetting("task_default_rate_limit")
    time_limit: Any = FromSetting("task_time_limit")
    soft_time_limit: Any = FromSetting("task_soft_time_limit")
    ignore_result: Any = FromSetting("task_ignore_result")
    store_eager_result: Any = FromSetting("task_store_eager_result")
    store_errors_even_if_ignored: Any = FromSetting("task_store_errors_even_if_ignored")
    track_started: Any = FromSetting("task_track_started")
    acks_late: Any = FromSetting("task_acks_late")
    acks_on_failure_or_timeout: Any = FromSetting("task_acks_on_failure_or_timeout")
    acks_on_failure: Any = FromSetting("task_acks_on_failure")
    acks_on_timeout: Any = FromSetting("task_acks_on_timeout")
    reject_on_worker_lost: Any = FromSetting("task_reject_on_worker_lost")
    retry_on_worker_lost: Any = FromSetting("task_retry_on_worker_lost")
    throws: Any = ()
    trail: Any = True
    send_events: Any = True
    resultrepr_maxsize: Any = 1024

    dumps_models: Any = False  # made with pydantic=True: models are sent as plain data
    _check: Check | None = None

    # - What users write

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The body of the task."""
        raise NotImplementedError("a task class must define run()")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run it here, as a function."""
        stack = running.get()
        top = stack[-1] if stack else None
        if (
            top is not None
            and top.task == self.name
            and not top.called_directly
            and not top._protected
        ):
            # A worker runs a task whose class overrides __call__ by calling it: this is that
            # attempt, on its way through the override, and not a call of its own.
            top._protected = 1
            return self.run(*args, **kwargs)
        token = running.set((*stack, Request(task=self.name, args=args, kwargs=kwargs)))
        try:
            return self.run(*args, **kwargs)
        finally:
            running.reset(token)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called in the worker before the task runs."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called in the worker after the task has returned."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called in the worker after the task has failed."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called in the worker when the task is to be retried."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called in the worker after the task has returned or failed."""

    def on_replace(self, sig: Any) -> Any:
        """Called when the task is replaced. An override must return ``super().on_replace(sig)``."""
        return steering.carry_out_replacement(self, sig)

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Another name for logs and monitors, per call."""
        return None

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task is bound to an app."""

    def overrides(self, name: str) -> bool:
        """Whether a subclass, or this task, has its own version of something above."""
        return getattr(type(self), name) is not getattr(Task, name) or name in self.__dict__

    # - Sending

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R_co]:
        """Send it: ``apply_async`` with the arguments as they would stand in a call."""
        return self.apply_async(args, kwargs)

    # A tuple of arguments is checked as far as the language can count: up to four of them, and
    # where no keyword arguments stand beside it. What any overload says of ``self`` is that the
    # task can be called so.
    @overload
    def apply_async(
        self: Callable[[], R], args: tuple[()] | None = None, kwargs: None = None, **options: Any
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self: Callable[[A], R], args: tuple[A], kwargs: None = None, **options: Any
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self: Callable[[A, B], R], args: tuple[A, B], kwargs: None = None, **options: Any
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self: Callable[[A, B, C], R], args: tuple[A, B, C], kwargs: None = None, **options: Any
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self: Callable[[A, B, C, D], R],
        args: tuple[A, B, C, D],
        kwargs: None = None,
        **options: Any,
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self,
        args: list[Any] | tuple[Any, Any, Any, Any, Any, *tuple[Any, ...]],
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[R_co]: ...
    @overload
    def apply_async(
        self, args: Sequence[Any] | None, kwargs: Mapping[str, Any], **options: Any
    ) -> AsyncResult[R_co]: ...
    @overload
    def apply_async(
        self, args: Sequence[Any] | None = None, *, kwargs: Mapping[str, Any], **options: Any
    ) -> AsyncResult[R_co]: ...

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Send it, with options: ``countdown``, ``eta``, ``expires``, ``queue``, ``priority``...

        Returns when the broker has it. Raises ``TypeError`` where the arguments do not fit the
        task's signature or an option looks misspelt, ``EncodeError`` where they can't be
        serialised, ``OperationalError`` where the broker can't be reached.
        """
        args = () if args is None else args
        kwargs = {} if kwargs is None else kwargs
        if producer is not None and (way := way_of(producer, self.app)) is not None:
            options["connection"] = way
        self.check_arguments(args, kwargs)
        if self.dumps_models:
            # Not at the top: for tasks with pydantic=True only.
            from umbel.app.validated import dumped

            args = [dumped(value) for value in args]
            kwargs = {name: dumped(value) for name, value in kwargs.items()}
        app = self.app
        conf = app.conf
        if conf.task_always_eager:
            return self._apply_eagerly(
                args, kwargs, task_id, link=link, link_error=link_error, **options
            )
        if options or task_id or link or link_error or shadow or running.get():
            options["task_id"] = task_id
            if link:
                options["link"] = link
            if link_error:
                options["link_error"] = link_error
            if shadow:
                options["shadow"] = shadow
            adds_to_parent = options.pop("add_to_parent", True)
            connection = options.pop("connection", None)
            kind = options.pop("result_cls", None) or AsyncResult
            call = call_of(
                self.name,
                args,
                kwargs,
                app.new_id,
                options,
                inherits_priority=conf.task_inherit_parent_priority,
            )
        else:
            adds_to_parent, connection, kind = False, None, AsyncResult
            call = Call(self.name, args, kwargs, app.new_id())
        app.publisher.send_one(call, self, connection)
        result = kind(call.id, None, self.name, app)
        ignores = call.options.get("ignore_result")
        if self.ignore_result if ignores is None else ignores:
            result.ignored = True
        if adds_to_parent:
            app.add_to_trail(result)
        return result

    def check_arguments(self, args: Any, kwargs: Any) -> None:
        """Raise ``TypeError`` where a call would not fit the signature, unless typing is off."""
        if not isinstance(args, _SEQUENCES):
            raise TypeError(f"args of task {self.name} must be a list or tuple, not {args!r}")
        check = self._check
        if check is None:
            check = self._make_check()
        check(*args, **kwargs)

    def _make_check(self) -> Check:
        typed = self.typing if self.typing is not None else self.app.strict_typing
        # ``run`` of a class gets self; that of a decorated plain function is a static method.
        run = self.run
        if typed:
            self._check = check_of(run, skip_first=getattr(run, "__self__", None) is not None)
        else:
            self._check = _anything
        return self._check

    def _apply_eagerly(
        self, args: Any, kwargs: Any, task_id: str | None, **options: Any
    ) -> AsyncResult:
        check_options(options)
        for name in ("countdown", "eta", "expires", "add_to_parent"):
            options.pop(name, None)
        found: AsyncResult = self.apply(args, kwargs, task_id=task_id, **options)
        return found

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: Any = None,
        loglevel: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> EagerResult[R_co]:
        """Run it here, as a worker would, and give an ``EagerResult``."""
        # Not at the top: who only sends does not run.
        from umbel.app.eager import apply, eager_request

        if throw is None:
            throw = self.app.conf.task_eager_propagates
        options.update(
            link=links_of(link, "link") or None,
            link_error=links_of(link_error, "link_error") or None,
            retries=retries,
            headers=headers,
            logfile=logfile,
            loglevel=loglevel,
        )
        request = eager_request(self, task_id, options)
        return apply(self, args or (), kwargs or {}, request, throw=bool(throw))

    # - Signatures

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature[R_co]:
        """A signature of this task: ``signature((2, 2), countdown=10)``."""
        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)

    subtask = signature

    # What a partial call is given are the last arguments: those before come with the call.
    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R_co]: ...
    @overload
    def s(
        self: Callable[Concatenate[Any, Rest], R], *args: Rest.args, **kwargs: Rest.kwargs
    ) -> Signature[R]: ...
    @overload
    def s(
        self: Callable[Concatenate[Any, Any, Rest], R], *args: Rest.args, **kwargs: Rest.kwargs
    ) -> Signature[R]: ...
    @overload
    def s(
        self: Callable[Concatenate[Any, Any, Any, Rest], R],
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> Signature[R]: ...
    @overload
    def s(self, **kwargs: Any) -> Signature[R_co]: ...

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """A signature with these arguments."""
        return self.signature(args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R_co]:
        """A signature that takes no further arguments."""
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Iterable[Any]) -> batches.xmap[R_co]:
        """A signature that runs the task for each item, in one task."""
        return batches.xmap(self, it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> batches.xstarmap[R_co]:
        """The same, with each item as the task's arguments."""
        return batches.xstarmap(self, it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> batches.chunks[R_co]:
        """Signatures that run the task for ``n`` items each."""
        return batches.chunks(self, it, n, app=self.app)

    # - Inside a running task

    @property
    def request(self) -> Request:
        """What is known of the attempt that runs here."""
        for request in reversed(running.get()):
            if request.task == self.name:
                return request
        return Request()

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Set what ``request`` gives, for tests of a task's code."""
        running.set((*running.get(), Request(*args, **{"task": self.name, **kwargs})))

    def pop_request(self) -> Request:
        """Undo the last ``push_request``."""
        *rest, last = running.get()
        running.set(tuple(rest))
        return last

    @property
    def request_stack(self) -> RequestStack:
        """The attempts of this task that run here."""
        return RequestStack(self.name)

    def add_trail(self, result: Any) -> Any:
        """Note a result as a child of the attempt that runs here; gives it."""
        if self.trail:
            self.request.children.append(result.as_tuple())
        return result

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Run this task again, later: raises ``Retry``.

        After ``max_retries`` raises ``exc``, or ``MaxRetriesExceededError``.
        """
        return steering.retry(
            self,
            args,
            kwargs,
            exc,
            throw=throw,
            eta=eta,
            countdown=countdown,
            max_retries=max_retries,
            options=options,
        )

    def replace(self, sig: Any) -> Any:
        """Let ``sig`` take the place, the id and the workflow of this task. Does not return."""
        return steering.replace(self, sig)

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add a member to the chord that this task is a member of."""
        return steering.grow_chord(self, sig, lazy=lazy)

    def update_state(
        self,
        task_id: str | None = None,
        state: str | None = None,
        meta: Any = None,
        **kwargs: Any,
    ) -> None:
        """Store a state of your own, such as ``PROGRESS`` with a dictionary."""
        request = self.request
        task_id = task_id or request.id
        if task_id is None:
            raise ValueError("update_state() outside of a running task needs a task_id")
        self.backend.store_result(task_id, meta, state or "", request=request, **kwargs)

    def signature_from_request(
        self,
        request: Request | None = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Any:
        """The running task as a signature."""
        of = self.request if request is None else request
        if queue:
            extra_options["queue"] = queue
        call = steering.call_from_request(of, args, kwargs, extra_options)
        place = {"task_id": call.id, "group_id": call.group_id, "chord": call.chord}
        options = {name: value for name, value in place.items() if value is not None}
        return self.signature(call.args, call.kwargs, **{**call.options, **options})

    subtask_from_request = signature_from_request

    def send_event(self, type_: str, retry: bool = True, **fields: Any) -> None:
        """Tell monitors something about the task that runs here: ``send_event("task-progress",
        done=3)``. It never fails for want of a broker.
        """
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, retry=retry, **fields)

    # - The rest

    @property
    def backend(self) -> Any:
        """Where its results are kept."""
        return self.app.backend

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R_co]:  # noqa: N802 - Celery's
        """The result of a call of this task, by id."""
        kwargs.setdefault("app", self.app)
        return AsyncResult(task_id, task_name=self.name, **kwargs)

    @property
    def overrides_apply_async(self) -> bool:
        """Whether the canvas must send it through its own ``apply_async``."""
        return self.overrides("apply_async")

    @property
    def accepts_error_request(self) -> bool:
        """Whether, as an error callback, it takes ``(request, exc, traceback)``: the new style.

        Celery's rule: it takes more than one positional argument, or any number.
        """
        run = self.run
        code = getattr(getattr(run, "__func__", run), "__code__", None)
        if code is None:
            return False
        bound = 1 if getattr(run, "__self__", None) is not None else 0
        return bool(code.co_flags & _TAKES_ANY_NUMBER or code.co_argcount - bound > 1)

    @property
    def __name__(self) -> str:
        return str(type.__getattribute__(type(self), "__name__"))

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Bind a class to an app."""
        cls._app = app
        cls.on_bound(app)
        return app

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app.main or '__main__'} at {id(self):#x}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # By name: the other side has, or imports, the same task.
        module = type(self).__module__
        return _unpickled, (self.name, module if module in sys.modules else None)


def _unpickled(name: str, module: str | None) -> Any:
    if module is not None:
        __import__(module)
    return current_app().tasks[name]


def _anything(*_args: Any, **_kwargs: Any) -> None:
    return None
