from __future__ import annotations

import errno
import os

import pytest

from checks.problems import Exit, HostProblem, Interrupted, WrongUsage, settled


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (WrongUsage("No such case.", "See --list."), 2, "Wrong usage: No such case. See --list."),
        (HostProblem("No Podman."), 3, "The host can’t be used: No Podman."),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), 3, "can’t be used: No space left on device: /x"),
        (Interrupted("SIGTERM"), 130, "Interrupted; everything that the run had made was removed."),
    ],
)
def test_what_keeps_a_command_from_an_answer_is_one_line_and_a_status(
    error: BaseException, status: int, line: str
) -> None:
    def fails() -> Exit:
        raise error

    said: list[str] = []
    assert settled(fails, said.append) == status
    (came,) = said
    assert came.endswith(line)


def test_an_answer_is_passed_on_without_a_word() -> None:
    assert settled(lambda: Exit.CASE_FAILED, pytest.fail) == Exit.CASE_FAILED
