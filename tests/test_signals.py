"""A signal during a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checks.core.errors import Exit, Interrupted
from checks.core.paths import ROOT
from checks.core.signals import raising
from tests.patience import AT_ONCE, PATIENCE


class Finalized:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(1000):
            time.sleep(0)


@pytest.mark.filterwarnings("error")
def test_a_signal_that_arrives_in_a_finalizer_still_interrupts() -> None:
    """Python ignores what a finalizer raises."""
    began = time.monotonic()
    with raising(), pytest.raises(Interrupted, match="SIGHUP"):
        finalize_and_wait()
    assert time.monotonic() - began < AT_ONCE


def finalize_and_wait() -> None:
    made = Finalized()
    del made
    time.sleep(60)


_CLEANING = """
import sys
from pathlib import Path
from checks.core import entry_point, signals
from checks.core.errors import Exit

with entry_point.entering(), signals.raising():
    try:
        print("begun", flush=True)
        sys.stdin.readline()
        raise SystemExit(0)
    finally:
        if sys.argv[2] == "held":
            with signals.held():
                print("cleaning up", flush=True)
                Path(sys.argv[1]).touch()
        else:
            print("cleaning up", flush=True)
            print("cleaning up", file=sys.stderr, flush=True)
            Path(sys.argv[1]).touch()
"""


@pytest.mark.parametrize("how", ["held", "signal"])
def test_a_cleanup_that_nobody_reads_about_is_done_whole(tmp_path: Path, how: str) -> None:
    """Ctrl-C in a pipeline ends both the run and the reader of its output."""
    done = tmp_path / "done"
    command = [sys.executable, "-c", _CLEANING, str(done), how]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, cwd=ROOT) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        if how == "signal":
            process.send_signal(signal.SIGINT)
        else:
            process.stdin.close()
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
    assert done.exists()
