"""A child process on this machine: output is collected, shown on request, limited in size, and without secrets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from checks.core import redaction
from checks.core.errors import LateAnswer
from checks.core.redaction import Redactor

Echo = Callable[[str], None]

HEAD = 16 * 2**20
"""Bytes kept from the beginning of a stream: more than nanoclaw's own limit of 10 MB."""
TAIL = 2**20
"""Bytes kept from the end of a longer stream."""

_GRACE = 3.0  # seconds between SIGTERM and SIGKILL
_ECHOED = 2**20  # bytes of a stream shown while it is read
_LINE = 2000  # bytes of a line that are shown


@dataclass(frozen=True)
class Extent:
    """Size and SHA-256 (hexadecimal) of a complete stream, kept or not."""

    bytes: int
    sha256: str


def extent(data: bytes) -> Extent:
    """The extent of a stream that was kept completely."""
    return Extent(len(data), hashlib.sha256(data).hexdigest())


class Kept:
    """A stream while it is read: its extent, first ``HEAD`` bytes and last ``TAIL`` bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head: list[bytes] = []
        self._room = HEAD
        self._tail = bytearray()
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Add a piece."""
        with self._lock:
            self._size += len(piece)
            self._digest.update(piece)
            if first := piece[: self._room]:
                self._head.append(first)
                self._room -= len(first)
            self._tail += piece[len(first) :]
            if len(self._tail) > 2 * TAIL:
                del self._tail[:-TAIL]

    def value(self) -> tuple[bytes, Extent]:
        """The kept bytes without secrets, with a line in place of what was left out; and the extent of all.

        They are redacted again as a whole: in pieces of a few bytes, no secret is recognised.
        """
        with self._lock:
            left_out = self._size - (HEAD - self._room) - min(len(self._tail), TAIL)
            note = f"\n… ({left_out} bytes left out) …\n".encode() if left_out else b""
            kept = b"".join([*self._head, note, self._tail[-TAIL:]])
            return redaction.redacted(kept), Extent(self._size, self._digest.hexdigest())


_UNOPENED = 4000  # bytes kept of output without an opening, for the error message


@dataclass(frozen=True)
class Completed:
    """A command that ended by itself.

    ``argv`` is the command without its transport (ssh, env, timeout); ``seconds`` is wall time. The middle of a stream
    of more than ``HEAD + TAIL`` bytes is left out; ``stdout_extent`` and ``stderr_extent`` then describe all of it.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout_bytes: bytes
    stderr_bytes: bytes
    seconds: float
    opened: bool = True
    """Whether the remote side printed the opening, which proves that the command was started."""
    stdout_extent: Extent | None = None
    stderr_extent: Extent | None = None

    @property
    def cut(self) -> bool:
        """Whether it printed more than was kept."""
        return self.stdout_extent is not None or self.stderr_extent is not None

    @property
    def stdout(self) -> str:
        """Standard output as text; undecodable bytes are replaced."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; undecodable bytes are replaced."""
        return self.stderr_bytes.decode(errors="replace")

    @property
    def command(self) -> str:
        """The command, quoted for a shell."""
        return shlex.join(self.argv)


class TimedOut(LateAnswer):
    """A command was killed after ``timeout`` seconds; ``partial`` has its output up to then."""

    def __init__(self, partial: Completed, timeout: float) -> None:
        self.partial = partial
        self.timeout = timeout
        super().__init__(f"“{self.program}” timed out after {timeout:g} s")

    @property
    def program(self) -> str:
        """The program and its first argument, for a message: ``docker stop``."""
        argv = self.partial.argv
        start = next((at for at, word in enumerate(argv) if word in ("docker", "podman")), 0)
        return " ".join(argv[start : start + 2])


class Process:
    """A running child process. It is a session leader: killing it also kills its children.

    ``opening`` is a marker on standard output right before the command's own output. The marker and all before it (a
    login shell's greeting) are dropped, and input is sent only after it. ``env`` replaces the environment. ``prepare``
    is called with the process before its input is sent; if it raises, the process is killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        shown: Sequence[str] | None = None,
        stdin: bytes = b"",
        echo: Echo | None = None,
        opening: bytes = b"",
        env: Mapping[str, str] | None = None,
        prepare: Callable[[Process], None] | None = None,
    ) -> None:
        self._argv = tuple(redaction.redacted_text(word) for word in (shown if shown is not None else argv))
        self._echo = echo
        self._opening = opening
        self._opened = not opening
        self._may_feed = threading.Event()
        self._started = time.monotonic()
        if echo:
            echo(f"$ {shlex.join(self._argv)}")
        self._child = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=env,
        )  # fmt: skip
        assert self._child.stdin
        assert self._child.stdout
        assert self._child.stderr
        self._out = Kept()
        self._err = Kept()
        feeding = threading.Thread(target=self._feed, args=(self._child.stdin, stdin), daemon=True)
        self._threads = [
            threading.Thread(target=self._collect, args=(self._child.stdout, self._out, ""), daemon=True),
            threading.Thread(target=self._collect, args=(self._child.stderr, self._err, "! "), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if prepare:
            try:
                prepare(self)
            except BaseException:
                self.kill()
                raise
        feeding.start()
        self._threads.append(feeding)

    @property
    def pid(self) -> int:
        """The process id. It is free for other processes after ``wait`` or ``kill``."""
        return self._child.pid

    def wait(self, timeout: float) -> Completed:
        """Wait for the exit. Kills the process and raises TimedOut after ``timeout`` seconds."""
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
        """Whether the process still runs."""
        return self._child.poll() is None

    def so_far(self) -> Completed:
        """Its output up to now; its status is -1 while it runs."""
        status = self._child.poll()
        if status is not None:
            return self._completed()
        return self._printed(-1)

    def kill(self) -> None:
        """Kill the process and the children in its session. Harmless if it has exited.

        SIGTERM comes first: a script may have to put back what it was about to replace.
        """
        with contextlib.suppress(ProcessLookupError):
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGTERM)
                self._exits_within(_GRACE)
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _ends_within(self, timeout: float) -> bool:
        if self._child.poll() is None and not self._exits_within(timeout):
            return False
        self._child.wait()
        return True

    def _exits_within(self, timeout: float) -> bool:
        """Whether the running child exits in time. It is not waited for: Popen.wait would poll every 50 ms."""
        descriptor = os.pidfd_open(self._child.pid)
        try:
            ending = select.poll()
            ending.register(descriptor, select.POLLIN)
            return bool(ending.poll(timeout * 1000))
        finally:
            os.close(descriptor)

    def _completed(self) -> Completed:
        for thread in self._threads:
            thread.join(2)  # a grandchild may keep a pipe open: don't wait for it
        status = self._child.returncode
        return self._printed(status if status >= 0 else 128 - status)

    def _printed(self, status: int) -> Completed:
        seconds = time.monotonic() - self._started
        return completed(self._argv, status, self._out, self._err, seconds, opened=self._opened)

    def _feed(self, pipe: IO[bytes], data: bytes) -> None:
        if data:  # only the command may read it: a login shell would run it
            self._may_feed.wait()
        # The child may exit or be killed before it has read its input: its exit status shows that.
        with contextlib.suppress(OSError, ValueError), pipe:
            pipe.write(data)

    def _collect(self, pipe: IO[bytes], into: Kept, mark: str) -> None:
        redactor, echoed = Redactor(), _Echoed(self._echo, mark)
        # Read to the end even if the echo fails: a child with a full pipe never exits.
        with contextlib.suppress(OSError, ValueError), pipe:
            if into is self._out and (unopened := self._await_opening(pipe)):
                into.add(redactor.feed(unopened))
            while chunk := os.read(pipe.fileno(), 65536):
                piece = redactor.feed(chunk)
                into.add(piece)
                echoed.show(piece)
        rest = redactor.end()
        into.add(rest)
        echoed.show(rest)
        echoed.end()

    def _await_opening(self, pipe: IO[bytes]) -> bytes:
        """Read up to the end of the opening; if the output ends without it, return the last bytes."""
        got = bytearray()
        try:
            while not got.endswith(self._opening):
                byte = os.read(pipe.fileno(), 1)
                if not byte:
                    break
                got += byte
                del got[:-_UNOPENED]
            else:
                self._opened = True
                got.clear()
        finally:
            self._may_feed.set()
        return bytes(got)


def completed(
    argv: tuple[str, ...], status: int, out: Kept, err: Kept, seconds: float, *, opened: bool = True
) -> Completed:
    """A completed command with its kept output."""
    (stdout, of_out), (stderr, of_err) = out.value(), err.value()
    return Completed(
        argv,
        status,
        stdout,
        stderr,
        seconds,
        opened,
        of_out if of_out.bytes > HEAD + TAIL else None,
        of_err if of_err.bytes > HEAD + TAIL else None,
    )


class _Echoed:
    """Shows a stream's lines while it is read: the beginning of each, up to a total limit."""

    def __init__(self, echo: Echo | None, mark: str) -> None:
        self._echo = echo
        self._mark = mark
        self._line = b""
        self._room = _ECHOED

    def show(self, piece: bytes) -> None:
        if not self._echo or not piece:
            return
        if self._room <= 0:
            self._say(f"  {self._mark}… (the rest is not shown)")
            self._echo = None
            return
        self._room -= len(piece)
        *lines, last = piece.split(b"\n")
        for each in lines:
            self._say_line(self._line + each[:_LINE])
            self._line = b""
        self._line = (self._line + last[:_LINE])[:_LINE]

    def end(self) -> None:
        if self._line:
            self._say_line(self._line)

    def _say_line(self, line: bytes) -> None:
        self._say(f"  {self._mark}{line[:_LINE].decode(errors='replace')}")

    def _say(self, text: str) -> None:
        if self._echo:
            try:
                self._echo(text)
            except (OSError, ValueError):  # the reader has exited, like `head`
                self._echo = None
