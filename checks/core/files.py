"""Atomic writes of a run's files."""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import pwd
import secrets
import stat
from pathlib import Path
from typing import Any

from checks.core import redaction, terminal
from checks.core.output_paths import MOST_LINKS, foreign


def replace(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write or replace a file atomically; a link of this account stays a link. Raises OSError, with nothing changed.

    A new file is readable by all; ``private``: only the owner can read it. A file of this account keeps its permissions
    to read and write. Devices and pipes are written to directly: as root, a rename would replace /dev/null. Where other
    accounts can write the directory, no link is followed: they could exchange one for another at any moment.
    """
    if why := foreign(path):
        raise PermissionError(errno.EPERM, why, str(path))
    for _ in range(MOST_LINKS):
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not _is_link(path.name, directory) or others_can_write(os.fstat(directory)):
                _replace(path.name, data, directory, private=private)
                return
        finally:
            os.close(directory)
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, "too many links", str(path))


def others_can_write(seen: os.stat_result) -> bool:
    """Whether another account can write what has this status: everyone, or a group that has other members."""
    return bool(seen.st_mode & 0o002) or bool(seen.st_mode & 0o020 and not _own_group(seen))


def _own_group(seen: os.stat_result) -> bool:
    """Whether its group has this account alone, as the user private groups of many systems have."""
    try:
        group = grp.getgrgid(seen.st_gid)
        own = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    others = [name for name in group.gr_mem if name != own.pw_name]
    shared = any(each.pw_gid == seen.st_gid and each.pw_uid != own.pw_uid for each in pwd.getpwall())
    return not others and not shared


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _replace(name: str, data: bytes, directory: int, *, private: bool) -> None:
    mode = 0o600 if private else 0o644
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISREG(there.st_mode):
            # Another account's mode could make root's file setuid, or writable for all.
            own = there.st_uid == os.geteuid() and not private
            mode = there.st_mode & 0o666 if own else mode
        elif not stat.S_ISLNK(there.st_mode):
            _write(os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), data)
            return
    temporary = f".{name[:200]}.{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
        os.fchmod(descriptor, mode)
        _write(descriptor, data)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
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
