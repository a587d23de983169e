"""One child process on this machine: input fed, output collected (and shown, if asked) as it comes, time bounded."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

Echo = Callable[[str], None]

_UNOPENED = 4000  # bytes that are kept of what comes before an opening, to be told where there is none


@dataclass(frozen=True)
class Completed:
    """A command that ended by itself.

    ``argv`` is what was asked of the host, without what carried it there (ssh, env, timeout); ``seconds`` is wall time.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    opened: bool = True
    """Whether the command was started at all: a far side that never prints its opening may have run something else."""

    @property
    def out(self) -> str:
        """Standard output as text; undecodable bytes are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def err(self) -> str:
        """Standard error as text; undecodable bytes are replaced."""
        return self.stderr.decode(errors="replace")

    @property
    def command(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.argv)


class TimedOut(Exception):
    """A command that had to be killed after ``bound`` seconds; ``partial`` holds what it had printed by then."""

    def __init__(self, partial: Completed, bound: float) -> None:
        super().__init__(f"{partial.command} did not end within {bound:g} s")
        self.partial = partial
        self.bound = bound


class Process:
    """A running child process. It is a session leader, so that killing it takes its own children along.

    ``opening`` is what the far side prints on standard output right before the command's own: it and all before it (a
    login shell's greeting) are dropped, and input is fed only then.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        shown: Sequence[str] | None = None,
        stdin: bytes = b"",
        echo: Echo | None = None,
        opening: bytes = b"",
    ) -> None:
        self._argv = tuple(shown if shown is not None else argv)
        self._echo = echo
        self._opening = opening
        self._opened = not opening
        self._may_feed = threading.Event()
        self._started = time.monotonic()
        if echo:
            echo(f"$ {shlex.join(self._argv)}")
        self._child = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._child.stdin
        assert self._child.stdout
        assert self._child.stderr
        self._out: list[bytes] = []
        self._err: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._feed, args=(self._child.stdin, stdin), daemon=True),
            threading.Thread(target=self._collect, args=(self._child.stdout, self._out, ""), daemon=True),
            threading.Thread(target=self._collect, args=(self._child.stderr, self._err, "! "), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float) -> Completed:
        """Wait for the end. Raises TimedOut, with the process killed, when ``timeout`` seconds go by first."""
        try:
            ended = self._ends_within(timeout)
        except BaseException:
            self.kill()
            raise
        if not ended:
            self.kill()
            raise TimedOut(self._completed(), timeout)
        return self._completed()

    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._child.poll() is None

    def so_far(self) -> Completed:
        """What it has printed up to now; its status is -1 while it runs."""
        status = self._child.poll()
        if status is not None:
            return self._completed()
        seconds = time.monotonic() - self._started
        return Completed(self._argv, -1, b"".join(self._out), b"".join(self._err), seconds, self._opened)

    def kill(self) -> None:
        """Kill the process and the children that stayed in its session. Harmless when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _ends_within(self, timeout: float) -> bool:
        if self._child.poll() is None:
            # Popen's own wait looks every 50 ms when it has a bound.
            descriptor = os.pidfd_open(self._child.pid)
            try:
                ending = select.poll()
                ending.register(descriptor, select.POLLIN)
                if not ending.poll(timeout * 1000):
                    return False
            finally:
                os.close(descriptor)
        self._child.wait()
        return True

    def _completed(self) -> Completed:
        for thread in self._threads:
            thread.join(2)  # a grandchild that outlives the child may hold a pipe open: don't wait for it
        return Completed(
            self._argv,
            self._child.returncode if self._child.returncode >= 0 else 128 - self._child.returncode,
            b"".join(self._out),
            b"".join(self._err),
            time.monotonic() - self._started,
            self._opened,
        )

    def _feed(self, pipe: IO[bytes], data: bytes) -> None:
        if data:  # nothing but the command itself may read it: another shell would run it
            self._may_feed.wait()
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(data)

    def _collect(self, pipe: IO[bytes], into: list[bytes], mark: str) -> None:
        line = b""
        with pipe:
            if into is self._out and (unopened := self._await_opening(pipe)):
                into.append(unopened)
            while chunk := os.read(pipe.fileno(), 65536):
                into.append(chunk)
                if self._echo:
                    *lines, line = (line + chunk).split(b"\n")
                    for each in lines:
                        self._echo(f"  {mark}{each[:2000].decode(errors='replace')}")
        if self._echo and line:
            self._echo(f"  {mark}{line[:2000].decode(errors='replace')}")

    def _await_opening(self, pipe: IO[bytes]) -> bytes:
        """Read up to the opening's end and no further; the end of what came where the output ends without it."""
        came = bytearray()
        while not came.endswith(self._opening):
            byte = os.read(pipe.fileno(), 1)
            if not byte:
                break
            came += byte
            del came[:-_UNOPENED]
        else:
            self._opened = True
            came.clear()
        self._may_feed.set()
        return bytes(came)
