"""What can keep a run from giving an answer, each kind with its own exit status."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of every command of this project."""

    OK = 0
    CASE_FAILED = 1
    WRONG_USAGE = 2
    HOST_UNUSABLE = 3
    NOT_TESTED = 4
    OWN_FAULT = 70
    """A bug of this project; 70 is EX_SOFTWARE of sysexits.h."""
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


class NotTested(HostProblem):
    """The host could not even be built, since nothing here reaches the archive of its distribution."""

    exit = Exit.NOT_TESTED


class WrongUsage(Problem):
    """The user asked for something that does not exist or does not fit together."""

    exit = Exit.WRONG_USAGE


class Interrupted(KeyboardInterrupt):
    """A signal asks the run to end."""


class ReaderGone(Interrupted):
    """Whoever read the output has gone, as `head` does."""
