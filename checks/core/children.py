"""Processes of this program's own that end together."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from checks.core.paths import PACKAGES, ROOT

_FIRST = PACKAGES / "checks" / "core" / "child.py"


def tied(*argv: str) -> list[str]:
    """A command that gets SIGTERM from the kernel where this process, or the thread that starts it, has ended."""
    return [sys.executable, "-I", "-S", str(_FIRST), str(os.getpid()), *argv]


class Children:
    """The running processes: each a Python module of this project, its output on a pipe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self.closed = False

    def start(self, *words: str, stdin: int = subprocess.DEVNULL, stderr: int | None = None) -> subprocess.Popen[str]:
        """Start ``python -m WORDS…`` in the project's directory. Raises KeyboardInterrupt once they are closed.

        Each leads a session of its own, so that Ctrl-C reaches this process alone, which ends them. It is ``tied``.
        """
        with self._lock:
            if self.closed:
                raise KeyboardInterrupt
            child = subprocess.Popen(
                tied(sys.executable, "-u", "-m", *words), cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr,
                text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self._running.append(child)
            return child

    def close(self) -> None:
        """Terminate all, which makes them clean up, and wait for them."""
        with self._lock:
            self.closed = True
            for child in self._running:
                if child.poll() is None:
                    child.terminate()
        for child in self._running:
            child.wait()
