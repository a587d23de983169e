from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checks.core import process
from checks.core.paths import ROOT
from checks.core.process import Process, TimedOut
from tests.patience import AT_ONCE, PATIENCE


def run(script: str, *, stdin: bytes = b"", timeout: float = 10) -> tuple[int, bytes, bytes]:
    done = Process(["sh", "-c", script], stdin=stdin).wait(timeout)
    return done.returncode, done.stdout_bytes, done.stderr_bytes


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
    with pytest.raises(TimedOut) as error:
        run("echo begun; sleep 600 & echo $!; wait", timeout=3)
    assert time.monotonic() - started < AT_ONCE
    begun, pid = error.value.partial.stdout.split()
    assert begun == "begun"
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_script_that_is_killed_can_put_back_what_it_had_moved(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    script = 'trap "mv $0.before $0" EXIT; trap "exit 1" TERM; mv "$0" "$0.before"; echo moved; sleep 77.5'
    child = Process(["sh", "-c", script, str(file)])
    while "moved" not in child.so_far().stdout:
        time.sleep(0.02)
    child.kill()
    assert file.read_text() == "mine"


def test_a_process_that_ignores_sigterm_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.2)
    child = Process(["sh", "-c", 'trap "" TERM; echo deaf; while :; do sleep 1; done'])
    while "deaf" not in child.so_far().stdout:
        time.sleep(0.02)
    child.kill()
    assert not child.running()


def test_a_grandchild_that_holds_the_pipes_open_does_not_hold_us() -> None:
    started = time.monotonic()
    status, out, _ = run("setsid sleep 600 & echo $!; exit 0")
    os.kill(int(out), signal.SIGKILL)
    assert status == 0
    assert time.monotonic() - started < AT_ONCE


def test_verbose_shows_the_command_and_its_lines_as_they_come() -> None:
    shown: list[str] = []
    Process(["sh", "-c", "echo one; printf two; echo three >&2"], echo=shown.append).wait(10)
    assert shown[0] == "$ sh -c 'echo one; printf two; echo three >&2'"
    assert sorted(shown[1:]) == ["  ! three", "  one", "  two"]


def test_an_endless_output_is_counted_and_digested_and_not_kept() -> None:
    """1.5 GB in a process that may have 700 MB: what is kept is the beginning and the end."""
    script = """
import hashlib, resource
from checks.core.process import HEAD, TAIL, Process
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
shown = []
done = Process(["sh", "-c", "echo first; head -c 1500000000 /dev/zero; echo last"], echo=shown.append).wait(300)
assert done.cut and done.returncode == 0, done.returncode
assert done.stdout_extent.bytes == 1500000011, done.stdout_extent
assert done.stdout_bytes.startswith(b"first\\n") and done.stdout_bytes.endswith(b"last\\n")
assert HEAD + TAIL <= len(done.stdout_bytes) <= HEAD + TAIL + 100, len(done.stdout_bytes)
assert sum(map(len, shown)) < 2**21
whole = hashlib.sha256(b"first\\n")
for _ in range(1500):
    whole.update(bytes(1000000))
whole.update(b"last\\n")
assert done.stdout_extent.sha256 == whole.hexdigest()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_kept_of_a_long_stream_is_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HEAD", 10)
    monkeypatch.setattr(process, "TAIL", 4)
    for size in (0, 9, 10, 11, 14, 15, 40):
        data = bytes(range(65, 65 + size))
        kept = process.Kept()
        for at in range(0, size, 3):
            kept.add(data[at : at + 3])
        value, extent = kept.value()
        assert extent == process.extent(data)
        note = f"\n… ({size - 14} bytes left out) …\n".encode()
        assert value == (data if size <= 14 else data[:10] + note + data[-4:])


def test_an_echo_that_nobody_reads_any_more_does_not_keep_the_child_waiting() -> None:
    def gone(line: str) -> None:
        if not line.startswith("$"):
            raise BrokenPipeError

    done = Process(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' '\\n'; exit 3"], echo=gone).wait(30)
    assert (done.returncode, len(done.stdout_bytes)) == (3, 3_000_000)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_child_that_is_killed_while_it_is_fed_leaves_no_error_behind() -> None:
    for _ in range(5):
        child = Process(["sleep", "60"], stdin=b"x" * 5_000_000)
        child.kill()
        child.so_far()
