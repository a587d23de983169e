"""Invoke, with this project's exit statuses: nothing but a failed case ends with 1.

Invoke itself ends with 1 for a mistyped option, an error in a task and Ctrl-C alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import invoke.main
from invoke import Config, Exit, Program
from invoke.exceptions import ParseError

from checks.core import errors
from checks.core.entry_point import leave, require_utf8, say
from checks.core.errors import WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT

_NO_EFFECT = ("command-timeout", "config", "dry", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only")
"""Options of Invoke for shell commands and settings of its own: no task here has any."""

T = TypeVar("T")


def _guarded(prepared: Callable[..., T], *, parses: bool = False) -> Callable[..., T]:
    """A stage of the program from which only its result comes back; everything else ends the process.

    ``parses``: the stage runs Invoke's parser alone, so that its errors are about what was typed.
    """

    @wraps(prepared)
    def guarded(self: FrontDoor, *args: Any, **kwargs: Any) -> T:
        results: list[T] = []
        ended: list[int] = []

        def run() -> errors.Exit:
            try:
                results.append(prepared(self, *args, **kwargs))
            except Exit as asked:  # how a task hands its status on, and how Invoke ends after --help
                if asked.message:
                    raise WrongUsage(asked.message) from asked
                ended.append(asked.code)
            except ParseError as wrong:
                named = wrong.context.name if wrong.context else None
                raise WrongUsage(f"{wrong}", f"See: invoke {f'--help {named}' if named else '--list'}") from wrong
            except errors.Problem:
                raise
            except Exception as wrong:
                if not parses:
                    raise
                raise WrongUsage(f"{wrong}".strip() or type(wrong).__name__, "See: invoke --help") from wrong
            return errors.Exit.OK

        status = run_and_report(run, say)
        if not results:
            leave(ended[0] if ended else status)
        return results[0]

    return guarded


class FrontDoor(Program):
    """The program behind ``invoke``. Each stage ends the process by itself where it does not succeed."""

    create_config = _guarded(Program.create_config)
    parse_core = _guarded(Program.parse_core, parses=True)
    parse_collection = _guarded(Program.parse_collection)
    parse_cleanup = _guarded(Program.parse_cleanup)
    update_config = _guarded(Program.update_config, parses=True)
    _make_parser = _guarded(Program._make_parser)  # noqa: SLF001

    def _parse_tasks(self) -> None:
        require_utf8(sys.argv)
        super().parse_tasks()
        if self.core.remainder:
            raise WrongUsage(f"Nothing is passed on behind “--”: {self.core.remainder}")
        for name in _NO_EFFECT:
            if self.args[name].value:
                raise WrongUsage(f"Invoke's own option --{name} has no effect on these tasks.", "Leave it out.")
        for task in self.tasks:
            for argument in task.args.values():
                given = argument.value if argument.kind is list else [argument.raw_value]
                if "" in given:
                    raise WrongUsage(f"--{argument.names[0]} has an empty value.", f"See: invoke --help {task.name}")

    def _execute(self) -> None:
        # One after the other: a task hands its status on by an exception, which ends them all where it is not 0.
        tasks = list(self.tasks)
        for task in tasks:
            self.tasks[:] = [task]
            try:
                super().execute()
            except Exit as ended:
                if ended.code or ended.message:
                    raise
        leave(errors.Exit.OK)

    parse_tasks = _guarded(_parse_tasks, parses=True)
    execute = _guarded(_execute)


class _OwnConfig(Config):
    """Invoke's settings without files and variables of the user's, which are about other projects."""

    @staticmethod
    def global_defaults() -> dict[str, Any]:
        defaults: dict[str, Any] = Config.global_defaults()
        defaults["tasks"]["search_root"] = str(ROOT)
        return defaults

    def _load_file(self, prefix: str, absolute: bool = False, merge: bool = True) -> None:
        """Take nothing from files."""

    def load_shell_env(self) -> None:
        """Take nothing from INVOKE_… variables."""


def main() -> None:
    """Be ``invoke`` for this project's tasks, from whichever directory it is called."""
    FrontDoor(
        name="Invoke", binary="inv[oke]", binary_names=["invoke", "inv"], version=invoke.__version__,
        config_class=_OwnConfig,
    ).run()  # fmt: skip


def adopt() -> None:
    """Become the class of the ``invoke`` that is just loading these tasks, for the stages that are yet to come."""
    program = invoke.main.program
    if type(program) is Program:
        program.__class__ = FrontDoor
