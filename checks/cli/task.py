"""Invoke's tasks, made from functions: the signature, the annotations and the docstring declare a task completely."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from invoke import Context, Exit, Task

from checks.core import errors


def make_task(run: Callable[..., errors.Exit]) -> Task[Callable[..., None]]:
    """A task with the name and the docstring of ``run``, which ends with the exit status that it returns.

    ``run`` takes either its options as arguments, or one dataclass whose fields they are. Each is annotated with its
    help: ``Annotated[str, "help"]``. ``bool`` makes a switch, ``Sequence[str]`` a repeatable option, ``str | bool`` an
    option whose value may be missing. An option without a default is positional.
    """
    classes = (hint for hint in get_type_hints(run).values() if isinstance(hint, type) and is_dataclass(hint))
    declared: Callable[..., Any] = next(classes, run)
    hints = get_type_hints(declared, include_extras=True)
    options = inspect.signature(declared).parameters
    kinds = {
        name: get_args(hints[name])[0] if get_origin(hints[name]) is Annotated else hints[name] for name in options
    }
    repeatable = [name for name, kind in kinds.items() if get_origin(kind) is Sequence]

    def body(_: Context, **given: Any) -> None:
        given.update({name: tuple(given.get(name) or ()) for name in repeatable})
        raise Exit(code=run(declared(**given)) if declared is not run else run(**given))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    body.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("context", kind),
            *(each.replace(kind=kind, default=each.default or None if each.name in repeatable else each.default)
              for each in options.values()),
        ]
    )  # fmt: skip
    body.__name__, body.__doc__ = run.__name__, run.__doc__
    return Task(
        body,
        iterable=repeatable,
        optional=[name for name, kind in kinds.items() if isinstance(kind, types.UnionType)],
        auto_shortflags=False,
        help=dict(_helps(options.values(), hints)),
    )


def _helps(options: Sequence[inspect.Parameter] | Any, hints: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each option's help. A default that the user could type is added."""
    for option in options:
        _, text = get_args(hints[option.name])
        typed = isinstance(option.default, str) and option.default
        yield option.name, f"{text} (default: {option.default})" if typed else text
