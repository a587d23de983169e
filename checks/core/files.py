"""Atomic writes of a run's files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from checks.core import redaction, terminal
from checks.core.owned_paths import Target, opened_directory, opened_target
from checks.core.polling import poll

_READER_TIMEOUT = 5.0  # seconds for a program to open the other end of a pipe
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write or replace a file atomically; a link of this account stays a link. Raises OSError, with nothing changed.

    A new file is readable by all whom the umask leaves; ``private``: only the owner can read it. A file of this account
    keeps its permissions to read and write. Devices and pipes are written to directly: as root, a rename would replace
    /dev/null. No link of another account is followed, and no link where other accounts can write: they could exchange
    it at any moment.
    """
    with opened_target(path) as target:
        if target.device:
            _write(_opened_device(target), data)
        else:
            _replace(target, data, private=private)


def is_replaced(name: str) -> bool:
    """Whether a new content takes the place of the old one; a device or a pipe gets both, one after the other."""
    return bool(name) and (Path(name).is_file() or not Path(name).exists())


def create(path: Path, data: bytes) -> None:
    """Create a file. Raises OSError, with nothing created: FileExistsError also for a link."""
    with opened_directory(path.parent) as directory:
        descriptor = os.open(path.name, _CREATE, 0o644, dir_fd=directory)
        try:
            _write(descriptor, data)
        except BaseException:
            os.unlink(path.name, dir_fd=directory)
            raise


def _opened_device(target: Target) -> int:
    """Raises OSError, also if no program reads a pipe: opening it would wait for one without an end."""
    link = target.status is not None and stat.S_ISLNK(target.status.st_mode)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if link else os.O_NOFOLLOW)

    def opened() -> int | None:
        try:
            return os.open(target.name, flags, dir_fd=target.directory)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    descriptor = poll(opened, timeout=_READER_TIMEOUT, interval=0.05)
    if descriptor is None:
        raise OSError(errno.ENXIO, "no program reads this pipe", str(target.path))
    os.set_blocking(descriptor, True)
    return descriptor


def _replace(target: Target, data: bytes, *, private: bool) -> None:
    there, kept = target.status, 0
    if there and stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid() and not private:
        kept = there.st_mode & 0o666  # another account's mode could make root's file setuid, or writable for all
    temporary = f".{target.name[:200]}.{secrets.token_hex(8)}.part"
    try:
        mode = 0o600 if private or kept else 0o644  # less what the umask takes, which may be too much
        descriptor = os.open(temporary, _CREATE, mode, dir_fd=target.directory)
        os.fchmod(descriptor, kept or 0o600 | os.fstat(descriptor).st_mode)
        _write(descriptor, data)
        os.replace(temporary, target.name, src_dir_fd=target.directory, dst_dir_fd=target.directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=target.directory)
        raise


def _write(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def replace_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write a value as indented JSON. Raises OSError, with nothing changed.

    Secrets are masked, and characters that control a terminal are escaped.
    """
    text = terminal.json_escaped(redaction.redacted_text(json.dumps(value, indent=1, ensure_ascii=False)))
    replace(path, f"{text}\n".encode(), private=private)
