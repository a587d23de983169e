from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from checks.core.errors import Exit, HostProblem, Interrupted, ReaderGone, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory, require_file


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (WrongUsage("No such case.", "See --list."), 2, "Wrong usage: No such case. See --list."),
        (HostProblem("No Podman."), 3, "The host can’t be used: No Podman."),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), 3, "can’t be used: No space left on device: /x"),
        (Interrupted("SIGTERM"), 130, "Interrupted."),
    ],
)
def test_an_error_is_one_line_and_a_status(error: BaseException, status: int, line: str) -> None:
    def fails() -> Exit:
        raise error

    lines: list[str] = []
    assert run_and_report(fails, lines.append) == status
    (got,) = lines
    assert got.endswith(line)


def test_the_notes_of_an_error_are_lines_below_it() -> None:
    def fails() -> Exit:
        problem = HostProblem("No Podman.")
        problem.add_note("Install it: (docs)")
        raise problem

    lines: list[str] = []
    assert run_and_report(fails, lines.append) == 3
    assert lines == ["The host can’t be used: No Podman.\n  Install it: (docs)"]


def test_an_exit_status_is_passed_on_without_output() -> None:
    assert run_and_report(lambda: Exit.CASE_FAILED, pytest.fail) == Exit.CASE_FAILED


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("two\nlines"), RecursionError("deep"), TypeError()])
def test_a_bug_is_one_line_and_70_with_its_traceback_in_a_private_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fails() -> Exit:
        raise error

    lines: list[str] = []
    assert run_and_report(fails, lines.append) == 70
    (line,) = lines
    assert "\n" not in line
    (file,) = (tmp_path / "nanoclaw-verify" / "faults").iterdir()
    assert line.endswith(str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "in fails" in file.read_text()


def test_a_bug_is_reported_where_nothing_can_be_written_and_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr("tempfile.tempdir", "/dev/null")
    lines: list[str] = []

    def fails() -> Exit:
        raise KeyError("x")

    def unread(line: str) -> None:
        lines.append(line)
        raise BrokenPipeError

    assert run_and_report(fails, unread) == 70
    assert "could not be written" in lines[0]


@pytest.mark.parametrize("error", [ReaderGone(), BrokenPipeError()])
def test_output_that_nobody_reads_any_more_ends_without_a_word(error: BaseException) -> None:
    def fails() -> Exit:
        raise error

    assert run_and_report(fails, pytest.fail) == Exit.INTERRUPTED


def test_a_file_named_as_standard_output_or_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for check in (require_file, require_directory):
        with pytest.raises(WrongUsage, match="--x - is not supported"):
            check("--x", "-")
        check("--x", "")
        check("--x", str(tmp_path / "new"))
    with pytest.raises(WrongUsage, match="is not a directory"):
        require_directory("--x", str(tmp_path / "file"))
    require_directory("--x", str(tmp_path))
