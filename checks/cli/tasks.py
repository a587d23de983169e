"""The tasks of ``invoke --list``. The function of each declares its options and its help: see ``make_task``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import invoke

from checks.cli.task import make_task
from checks.core.errors import Exit
from checks.documents.render import DOCUMENTS, render

TASKS = {
    "verify": "checks.runner.verify",
    "matrix": "checks.matrix.command",
    "compare": "checks.matrix.compare",
    "hosts": "checks.hosts.table",
    "clean": "checks.runner.cleanup",
    "doctor": "checks.guide.doctor",
    "reproduce": "checks.guide.reproduce",
    "harden": "checks.hardening.command",
    "harden-each": "checks.hardening.command",
    "harden-all": "checks.hardening.command",
    "inject": "checks.hardening.injection.command",
    "parallel": "checks.capacity.command",
    "wslconfig": "checks.capacity.wslconfig.command",
    "nanoclaw": "checks.nanoclaw.fetch",
    "patterns": "checks.nanoclaw.discovery.patterns",
    "sabotage": "checks.mutation.command",
    "faults": "checks.mutation.faults.command",
    "render": "checks.documents.render",
    **{f"render-{document}": "" for document in DOCUMENTS},
}
"""Each task, and the module of the function with its name."""


def function_of(name: str) -> Callable[..., Exit]:
    """The function that a task calls."""
    if not TASKS[name]:
        return _render_alias(name.removeprefix("render-"))
    function: Callable[..., Exit] = getattr(importlib.import_module(TASKS[name]), name.replace("-", "_"))
    return function


def _render_alias(document: str) -> Callable[..., Exit]:
    def alias(
        check: Annotated[bool, "write nothing; exit with status 1 if the document is out of date"] = False,
    ) -> Exit:
        return render([document], check=check)

    alias.__name__, alias.__doc__ = f"render_{document}", f"The same as `invoke render {document}`."
    return alias


def collection(words: Sequence[str] = ()) -> Any:
    """The tasks that a command line names, or all if it names none. Importing the modules of all takes a second.

    For the completion of a command line, the others are there by name only.
    """
    named = [name for name in TASKS if name in words]
    if "--complete" in words:
        return invoke.Collection(
            *(make_task(function_of(name)) if name in named else _name_only(name) for name in TASKS)
        )
    return invoke.Collection(*(make_task(function_of(name)) for name in named or TASKS))


def _name_only(name: str) -> invoke.Task[Callable[..., None]]:
    return invoke.Task(lambda _: None, name=name)
