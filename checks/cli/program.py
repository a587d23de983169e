"""Invoke with this project's exit statuses, of which 1 is reserved for failed cases.

Invoke itself exits with 1 after a mistyped option, after an error in a task and after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import PurePath
from typing import Any, TypeVar

import invoke.main
from invoke import Config, Exit, Program
from invoke.completion.complete import complete
from invoke.exceptions import ParseError

from checks.core import errors, terminal
from checks.core.entry_point import leave, require_utf8, say
from checks.core.errors import WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from checks.core.version import version

_NO_EFFECT = ("command-timeout", "config", "dry", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only")
"""Invoke's options for shell commands and for its own settings. No task here uses any."""

T = TypeVar("T")


def with_option_names(words: Sequence[str]) -> list[str]:
    """The words of a command line, with ``render A B`` spelled ``render --name A --name B``.

    Invoke has no option that takes several words. All words after the task are options or names of documents.
    """
    words = list(words)
    # Elsewhere it is the value of another task's option. While a command line is completed, invoke's own name is first.
    start = next((at + 1 for at, word in enumerate(words[:2]) if word == "render"), len(words))
    named = words[:start]
    for word in words[start:]:
        if not word.startswith("-") and named[-1] != "--name":
            named.append("--name")
        named.append(word)
    return named


def _guarded(stage: Callable[..., T], *, parses: bool = False) -> Callable[..., T]:
    """Wrap a stage of the program: it returns its result, or ends the process with an exit status.

    ``parses``: the stage only runs Invoke's parser, so its errors are wrong usage.
    """

    @wraps(stage)
    def guarded(self: ProjectProgram, *args: Any, **kwargs: Any) -> T:
        results: list[T] = []
        ended: list[int] = []

        def run() -> errors.Exit:
            try:
                results.append(stage(self, *args, **kwargs))
            except Exit as end:  # a task's exit status; Invoke's own end after --help
                if end.message:
                    raise WrongUsage(end.message) from end
                ended.append(end.code)
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


class ProjectProgram(Program):
    """The program behind ``invoke``. A stage that fails ends the process."""

    create_config = _guarded(Program.create_config)
    parse_core = _guarded(Program.parse_core, parses=True)
    parse_collection = _guarded(Program.parse_collection)
    update_config = _guarded(Program.update_config, parses=True)
    _make_parser = _guarded(Program._make_parser)  # noqa: SLF001

    def print_version(self) -> None:
        """Print the version of this project, not that of Invoke."""
        number, _, _ = version().partition("+")  # without the commit
        terminal.say(f"nanoclaw-podman-verify {number}")

    def _parse_tasks(self) -> None:
        if self.args.complete.value:  # what follows “--” is a command line that is being typed, whatever it is
            return
        require_utf8(sys.argv)
        self.core.unparsed[:] = with_option_names(self.core.unparsed)
        super().parse_tasks()
        if self.core.remainder:
            raise WrongUsage(f"No task takes arguments after “--”: {self.core.remainder}")
        if (format_ := self.args["list-format"].value) not in ("flat", "nested", "json"):
            raise WrongUsage(f"--list-format is “{format_}”; it must be one of flat, nested, json.")
        for name in _NO_EFFECT:
            if self.args[name].value:
                raise WrongUsage(f"Invoke's own option --{name} has no effect on these tasks.", "Leave it out.")
        for task in self.tasks:
            for argument in task.args.values():
                given = argument.value if argument.kind is list else [argument.raw_value]
                if "" in given:
                    raise WrongUsage(f"--{argument.names[0]} has an empty value.", f"See: invoke --help {task.name}")
                if argument.kind is list:
                    self._require_values(f"--{argument.names[0]}", task.name or "")

    def _parse_cleanup(self) -> None:
        if self.args.complete.value:
            self._complete()
        super().parse_cleanup()

    def _complete(self) -> None:
        """Print the words that may follow in a command line; none where it is wrong, which is not the shell's problem.

        The shell has split it already, at spaces: a quote that is still open is part of a word.
        """
        typed = with_option_names(self.core.remainder.split())
        if typed and PurePath(typed[0]).name in self.binary_names:
            del typed[0]
        self.core.remainder = shlex.join(typed)
        with contextlib.suppress(ValueError, ParseError):
            complete(
                names=self.binary_names,
                core=self.core,
                initial_context=self.initial_context,
                collection=self.collection,
                parser=self._make_parser(),
            )
        leave(errors.Exit.OK)

    def _require_values(self, option: str, task: str) -> None:
        """Raise WrongUsage if the repeatable option lacks a value: for Invoke it is then one that was not given."""
        typed = [word for word in self.core.unparsed if word == option or word.startswith(f"{option}=")]
        values = [
            value for each in self.tasks if option[2:] in each.args for value in each.args[option[2:]].value or ()
        ]
        if len(typed) > len(values):
            raise WrongUsage(f"{option} needs a value.", f"See: invoke --help {task}")

    def _execute(self) -> None:
        # A task passes its exit status on as an exception; any status but 0 skips the tasks after it.
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
    parse_cleanup = _guarded(_parse_cleanup)
    execute = _guarded(_execute)


class _OwnConfig(Config):
    """Invoke's settings, without the user's configuration files and variables: those belong to other projects."""

    @staticmethod
    def global_defaults() -> dict[str, Any]:
        defaults: dict[str, Any] = Config.global_defaults()
        defaults["tasks"]["search_root"] = str(ROOT)
        return defaults

    def _load_file(self, prefix: str, absolute: bool = False, merge: bool = True) -> None:
        """Take nothing from files."""

    def load_shell_env(self) -> None:
        """Ignore the INVOKE_… variables."""


def main() -> None:
    """Run ``invoke`` with this project's tasks, from any directory."""
    ProjectProgram(name="Invoke", binary="inv[oke]", binary_names=["invoke", "inv"], config_class=_OwnConfig).run()


def run_installed(namespace: Any) -> None:
    """Run the command of the installed package with these tasks."""
    name = terminal.INSTALLED
    ProjectProgram(name=name, binary=name, binary_names=[name], namespace=namespace, config_class=_OwnConfig).run()


def take_over() -> None:
    """Replace the class of the running ``invoke``, which is loading these tasks, for its remaining stages."""
    program = invoke.main.program
    if type(program) is Program:
        program.__class__ = ProjectProgram
