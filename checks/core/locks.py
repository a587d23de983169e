"""Locks between runs: files that no other account can open, because whoever can open one can hold its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from checks.core.lines import lines_of

if TYPE_CHECKING:
    from checks.core.progress import Progress


@contextlib.contextmanager
def opened(file: Path, *, create: bool = True) -> Iterator[int]:
    """The descriptor of a lock file, made if missing, with mode 0600; its lock ends with the block. Raises OSError.

    A lock file of an older version of this project was readable by all; it is corrected.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(file, flags, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int) -> None:
    """Take the lock; wait while another process holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def taken(descriptor: int) -> bool:
    """Take the lock if it is free; whether it was."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(file: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """Hold a lock until the block ends; report ``waiting`` while another run holds it."""
    with opened(file) as lock:
        if not taken(lock):
            with progress.step(waiting):
                take(lock)
        yield


class SharedLock:
    """A lock that several processes hold at the same time, until one of them takes it alone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    @contextlib.contextmanager
    def of(cls, file: Path) -> Iterator[SharedLock]:
        """The lock of a file that is there. Raises OSError."""
        with opened(file, create=False) as descriptor:
            yield cls(descriptor)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it with others until the block ends; wait while a process has it alone."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within ``shared``: wait until no other process holds it, and keep them out until the block ends."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # gives the shared one up first
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)


def holders(descriptor: int) -> list[int]:
    """The processes that took the lock of this file, as far as this process can see them (see proc_locks(5))."""
    inode = str(os.fstat(descriptor).st_ino)
    found = []
    with contextlib.suppress(OSError):
        for line in lines_of(Path("/proc/locks").read_text()):
            words = line.split()  # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF
            if len(words) == 8 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                found.append(int(words[4]))
    return [pid for pid in found if Path(f"/proc/{pid}").exists()]
