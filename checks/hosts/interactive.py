"""Interactive children (pexpect): limited in output, and without secrets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from queue import Queue
from typing import TypeAlias

import pexpect
from pexpect.popen_spawn import PopenSpawn

from checks.core.redaction import Redactor

MAX_OUTPUT = 4 * 2**20
"""Bytes of output of a session: pexpect keeps all of it until the expected text arrives."""

_PIECE = 65536
_WINDOW = 2**18  # bytes; without a window pexpect searches everything again after each piece


class OutputLimitExceeded(Exception):
    """The child printed more than ``MAX_OUTPUT`` bytes."""


class _Limit:
    """Redacts and limits a child's output."""

    def __init__(self) -> None:
        self._redactor = Redactor()
        self._room = MAX_OUTPUT

    def of(self, read: Callable[[], bytes]) -> bytes:
        """The next piece, redacted. Raises Flood, and EOF as ``read`` does."""
        try:
            piece = self._redactor.feed(read())
        except pexpect.EOF:
            if rest := self._redactor.end():
                return rest
            raise
        self._room -= len(piece)
        if self._room < 0:
            raise OutputLimitExceeded
        return piece


class Terminal(pexpect.spawn):  # type: ignore[type-arg]
    """A child on its own terminal."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        self._limit = _Limit()
        super().__init__(argv[0], list(argv[1:]), timeout=timeout, maxread=_PIECE, searchwindowsize=_WINDOW, echo=False)

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
        return self._limit.of(lambda: super(Terminal, self).read_nonblocking(size, timeout))


class Pipes(PopenSpawn):  # type: ignore[type-arg]
    """A child on plain pipes."""

    _read_queue: Queue[bytes | None]

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        self._limit = _Limit()
        super().__init__(list(argv), timeout=timeout, maxread=_PIECE, searchwindowsize=_WINDOW)

    def read_nonblocking(self, size: int, timeout: float | None) -> bytes:  # type: ignore[override]
        return self._limit.of(
            lambda: super(Pipes, self).read_nonblocking(size, timeout)  # type: ignore[no-untyped-call]
        )

    def _read_incoming(self) -> None:
        # A thread that reads ahead, without a limit of pexpect's. It stops at the limit of the session.
        assert self.proc.stdout
        room = MAX_OUTPUT
        with contextlib.suppress(OSError, ValueError):  # the pipe was closed
            while room >= 0 and (piece := os.read(self.proc.stdout.fileno(), _PIECE)):
                room -= len(piece)
                self._read_queue.put(piece)
        self._read_queue.put(None)


Child: TypeAlias = Terminal | Pipes


def spawn_interactive(argv: Sequence[str], *, tty: bool, timeout: float) -> Child:
    """Start an interactive child. ``timeout``: seconds of each wait."""
    return Terminal(argv, timeout) if tty else Pipes(argv, timeout)
