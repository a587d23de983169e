"""The first program of a process of this project's own: it becomes the real one, tied to the process that started it.

``python child.py PARENT PROGRAM [ARGUMENT]...``: where the process PARENT ends without ending this one, as by
SIGKILL, this one gets SIGTERM, also after execve(2): see prctl(2). A thread can't call it safely between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program."""
    parent, *argv = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):  # else it has ended before
        os.execv(argv[0], argv)  # noqa: S606 - the caller's own Python


if __name__ == "__main__":
    main()
