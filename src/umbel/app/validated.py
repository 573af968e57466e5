"""``@app.task(pydantic=True)``: arguments become models as the annotations say, results plain data.

pydantic is imported when the first such task is made, and is nobody's dependency before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, get_type_hints

from umbel.model.errors import ImproperlyConfigured


def validated(
    function: Callable[..., Any],
    name: str,
    *,
    strict: bool,
    context: Mapping[str, Any] | None,
    dump_kwargs: Mapping[str, Any] | None,
) -> Callable[..., Any]:
    """The function, with its arguments validated and its result dumped."""
    try:
        BaseModel: Any = import_module("pydantic").BaseModel  # noqa: N806 - a class
    except ImportError as error:
        raise ImproperlyConfigured(
            f"task {name} says pydantic=True, and pydantic is not installed: pip install pydantic"
        ) from error
    # Not at the top: 8 ms, for tasks of this kind only.
    import inspect

    hints = get_type_hints(function)
    signature = inspect.signature(function)
    dump = {"mode": "json", **(dump_kwargs or {})}

    def model_of(hint: Any) -> Any:
        # Model, or Model | None.
        for kind in (hint, *getattr(hint, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                return kind
        return None

    models = {name: kind for name, hint in hints.items() if (kind := model_of(hint))}
    models.pop("return", None)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for argument, model in models.items():
            value = bound.arguments.get(argument)
            if value is not None:
                bound.arguments[argument] = model.model_validate(
                    value, strict=strict, context=context
                )
        result = function(*bound.args, **bound.kwargs)
        return result.model_dump(**dump) if isinstance(result, BaseModel) else result

    return run


def dumped(value: Any) -> Any:
    """An argument as it is sent: models as plain data."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json")
