from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from checks.hosts.process import Process, TimedOut


def run(script: str, *, stdin: bytes = b"", timeout: float = 10) -> tuple[int, bytes, bytes]:
    done = Process(["sh", "-c", script], stdin=stdin).wait(timeout)
    return done.status, done.stdout, done.stderr


def test_streams_are_collected_apart_with_the_status() -> None:
    assert run("echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")


def test_binary_input_and_output_arrive_whole() -> None:
    data = os.urandom(3_000_000)
    assert run("cat", stdin=data) == (0, data, b"")


def test_a_child_that_never_reads_its_input_is_no_error() -> None:
    assert run("exit 3", stdin=b"x" * 1_000_000)[0] == 3


def test_a_death_by_signal_is_told_as_a_shell_tells_it() -> None:
    assert run("kill -TERM $$")[0] == 128 + signal.SIGTERM


def test_past_its_bound_it_is_killed_with_its_children_and_what_it_printed_is_kept() -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut) as late:
        run("echo begun; sleep 77.5 & echo $!; wait", timeout=0.5)
    assert time.monotonic() - started < 5
    begun, pid = late.value.partial.out.split()
    assert begun == "begun"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_grandchild_that_holds_the_pipes_open_does_not_hold_us() -> None:
    started = time.monotonic()
    status, out, _ = run("setsid sleep 60 & echo $!; exit 0")
    os.kill(int(out), signal.SIGKILL)
    assert status == 0
    assert time.monotonic() - started < 10


def test_verbose_shows_the_command_and_its_lines_as_they_come() -> None:
    shown: list[str] = []
    Process(["sh", "-c", "echo one; printf two; echo three >&2"], echo=shown.append).wait(10)
    assert shown[0] == "$ sh -c 'echo one; printf two; echo three >&2'"
    assert sorted(shown[1:]) == ["  ! three", "  one", "  two"]
