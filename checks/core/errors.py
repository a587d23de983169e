"""Errors that stop a run, each with its exit status."""

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
    """A bug in this project; 70 is EX_SOFTWARE of sysexits.h."""
    INTERRUPTED = 130


class Problem(Exception):
    """An error that stops the run, reported in one line: what happened, and what to do."""

    exit = Exit.HOST_UNUSABLE

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy


class HostProblem(Problem):
    """The host can't be used: never a failed case."""


class NotTested(HostProblem):
    """The host could not be built, because its distribution's package archive is unreachable."""

    exit = Exit.NOT_TESTED


class LateAnswer(Exception):
    """A command did not end in time. It fails a case; outside of one, the host can't be used."""


class WrongUsage(Problem):
    """The user asked for something that does not exist, or for a wrong combination."""

    exit = Exit.WRONG_USAGE


class OwnFault(Problem):
    """A bug in this project that ended another process of the run, in the line that it printed."""

    exit = Exit.OWN_FAULT


class Interrupted(KeyboardInterrupt):
    """A signal ended the run."""


class ReaderGone(Interrupted):
    """The reader of the output has exited, like `head`."""
