"""The discovery in a child process, with limits on its processor time and memory.

The parsers are native code: while one runs, no Python code runs, so only the kernel can stop it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from checks.core import tools
from checks.core.errors import WrongUsage
from checks.core.paths import PACKAGES
from checks.nanoclaw.discovery.discover import Found, discover

SECONDS, MEMORY = 40, 1 << 30
"""Processor time and bytes of memory for a checkout: nanoclaw 2.2.0 takes 5 s and less than 300 MB."""
_BY_SIGNAL = 128  # an exit status above it is that of a process that a signal ended
_LARGEST = 1 << 20
"""Bytes of an answer: 30 times that of nanoclaw."""


class _Answer(msgspec.Struct):
    """What the child writes: what it found, or why the checkout can't be read."""

    found: list[Found] = []
    wrong: str = ""


def discover_in_child(checkout: Path) -> list[Found]:
    """As ``discover``. Also raises WrongUsage if the sources take too long or too much memory."""
    # Its modules come from this project, whatever the working directory has of that name.
    argv = [sys.executable, "-P", "-m", __name__, str(SECONDS), str(MEMORY), str(checkout)]
    done = tools.run(argv, env={"PYTHONPATH": str(PACKAGES)})
    match done.returncode and done.returncode - _BY_SIGNAL:
        case 0:
            answer = msgspec.json.decode(done.stdout_bytes, type=_Answer)
            if answer.wrong:
                raise WrongUsage(answer.wrong)
            return answer.found
        case signal.SIGXCPU:
            limit = f"within {SECONDS} s of processor time"
        case signal.SIGABRT | signal.SIGSEGV | signal.SIGKILL:  # a parser aborts where it gets no memory
            limit = f"with {MEMORY >> 20} MB of memory"
        case _:
            raise RuntimeError(f"the discovery failed: {done.stderr[-2000:]}")
    raise WrongUsage(f"The sources in {checkout} can't be read {limit}.", "Is it nanoclaw's source?")


def _main(seconds: str, memory: str, checkout: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever waits for the answer may be killed
    limits = {resource.RLIMIT_CPU: int(seconds), resource.RLIMIT_AS: int(memory), resource.RLIMIT_CORE: 0}
    for kind, amount in limits.items():
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (amount if most == resource.RLIM_INFINITY else min(amount, most), most))
    answer = _Answer()
    try:
        answer.found = discover(Path(checkout))
    except WrongUsage as problem:
        answer.wrong = str(problem)
    except MemoryError:
        os.abort()
    if len(written := msgspec.json.encode(answer)) > _LARGEST:
        written = msgspec.json.encode(_Answer(wrong=f"{checkout} has too many commands: it is not nanoclaw's source."))
    with os.fdopen(1, "wb") as output:
        output.write(written)


if __name__ == "__main__":
    _main(*sys.argv[1:])
