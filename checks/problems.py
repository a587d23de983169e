"""What can keep a run from giving an answer, each kind with its own exit status."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """Exit statuses of every command of this project."""

    OK = 0
    CASE_FAILED = 1
    WRONG_USAGE = 2
    HOST_UNUSABLE = 3
    UNPROVEN = 4
    INTERRUPTED = 130


class Problem(Exception):
    """A run that can't go on, told to the user as one line: what happened, and what to do about it."""

    exit = Exit.HOST_UNUSABLE

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy


class HostProblem(Problem):
    """The host can't be used: never a failed case."""


class Unproven(HostProblem):
    """The host could not even be built, since nothing here reaches the archive of its distribution."""

    exit = Exit.UNPROVEN


class WrongUsage(Problem):
    """The user asked for something that does not exist or does not fit together."""

    exit = Exit.WRONG_USAGE


def require_folder_of(option: str, path: str) -> None:
    """Raise WrongUsage unless there is a folder for what ``option`` names; empty is no path."""
    if path and not (folder := Path(path).absolute().parent).is_dir():
        raise WrongUsage(f"{option}: the folder {folder} does not exist.")


def require_file(option: str, path: str) -> None:
    """Raise WrongUsage unless the file that ``option`` names can be written at the end of a run; empty is no path."""
    require_folder_of(option, path)
    if not path:
        return
    file = Path(path).absolute()
    if file.is_dir():
        raise WrongUsage(f"{option}: {file} is a folder; name a file in it.")
    # A file is written aside and renamed, which is up to its folder; a device or a pipe is written to.
    written = file if file.exists() and not file.is_file() else file.resolve().parent
    if not os.access(written, os.W_OK):
        raise WrongUsage(f"{option}: {written} can't be written.")


class Interrupted(KeyboardInterrupt):
    """A signal asks the run to end."""


def headline(problem: Problem) -> str:
    """The line by which a user is told of a problem."""
    return f"{'Wrong usage' if isinstance(problem, WrongUsage) else 'The host can’t be used'}: {problem}"


def settled(run: Callable[[], Exit], say: Callable[[str], None]) -> Exit:
    """The exit status of a command, whichever way ``run`` ends; what kept it from an answer is said in one line."""
    try:
        return run()
    except Problem as problem:
        say(headline(problem))
        return problem.exit
    except BrokenPipeError:  # who read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.INTERRUPTED
    except OSError as error:
        say(f"The host can’t be used: {error.strerror}: {error.filename or 'no file named'}")
        return Exit.HOST_UNUSABLE
    except KeyboardInterrupt:
        say("Interrupted; everything that the run had made was removed.")
        return Exit.INTERRUPTED
