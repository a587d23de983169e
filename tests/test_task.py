from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import pytest
from invoke import Context, Task
from invoke import Exit as TaskExit

from checks.cli.task import make_task
from checks.cli.tasks import TASKS, collection, function_of
from checks.core.errors import Exit


@dataclass(frozen=True)
class Options:
    host: Annotated[str, "a host"] = "auto"
    only: Annotated[Sequence[str], "some of them"] = ()
    dry_run: Annotated[bool, "change nothing"] = False


def by_options(options: Options) -> Exit:
    """Do it.

    Exit status: 0 done.
    """
    return Exit.OK if options == Options("auto", ("a",), dry_run=True) else Exit.CASE_FAILED


def by_arguments(a: Annotated[str, "one"], text: Annotated[str | bool | None, "a text"] = None) -> Exit:
    return Exit.OK if (a, text) == ("one", True) else Exit.CASE_FAILED


def status(task: Task[Callable[..., None]], **given: object) -> int:
    with pytest.raises(TaskExit) as ended:
        task(Context(), **given)
    return ended.value.code


def test_a_dataclass_declares_the_options_of_a_task() -> None:
    task = make_task(by_options)
    host, only, dry_run = task.get_arguments()
    assert (task.name, task.__doc__) == ("by_options", by_options.__doc__)
    assert (host.names, host.help, host.value) == (("host",), "a host (default: auto)", "auto")
    assert (only.kind, only.help, only.value) == (list, "some of them", [])
    assert (dry_run.names, dry_run.attr_name, dry_run.kind) == (("dry-run",), "dry_run", bool)
    assert status(task, host="auto", only=["a"], dry_run=True) == Exit.OK
    assert status(task, host="auto", only=[], dry_run=True) == Exit.CASE_FAILED


def test_the_arguments_of_a_function_declare_them_too() -> None:
    task = make_task(by_arguments)
    a, text = task.get_arguments()
    assert (a.positional, text.positional, text.optional) == (True, False, True)
    assert status(task, a="one", text=True) == Exit.OK


def test_only_the_tasks_that_are_named_are_loaded() -> None:
    assert set(collection(["verify", "--only", "x", "clean"]).task_names) == {"verify", "clean"}
    assert collection(["--list"]).task_names.keys() == TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_and_option_has_a_help(name: str) -> None:
    task = make_task(function_of(name))
    summary, _, rest = str(task.__doc__).partition("\n")
    assert summary.endswith(".")
    assert len(summary) <= 110
    assert not rest or "Exit status: 0 " in rest
    assert all(option.help for option in task.get_arguments())
