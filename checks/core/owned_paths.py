"""Opening paths component by component, so that no link of another account is followed.

In a shared directory, anyone can make a link to one of the user's directories or files. Each component is opened before
it is checked: nobody can exchange it in between.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.core.lines import lines_of

_MAX_LINKS = 40
"""Links in a path, as many as Linux follows."""

_OVERFLOW = 65534
"""The uid that the kernel shows for such an owner. Elsewhere it is that of an account, nobody."""
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Foreign(PermissionError):
    """A part of a path belongs to another account."""


@dataclass(frozen=True)
class Target:
    """What a path leads to: an entry of an open directory."""

    directory: int
    name: str
    path: Path
    status: os.stat_result | None
    """None: there is no such entry. A link is replaced, or leads to an open pipe or device, such as /dev/stdout."""
    device: bool = False
    """Whether to write to it directly, because it is not a regular file."""


@contextlib.contextmanager
def opened_target(path: Path) -> Iterator[Target]:
    """Open the directory of the entry that ``path`` leads to.

    Where other accounts can write a directory, a link in it is the entry, and is not followed. Raises Foreign for a
    link, pipe or device of another account, and for its file in a sticky directory, where only its owner may replace
    it. Root could replace it, but follows the same rule. Raises OSError.
    """
    for _ in range(_MAX_LINKS):
        with opened_directory(path.parent) as directory:
            seen = _status(path.name, directory)
            around = os.fstat(directory)
            _require_own(path, seen, around)
            link = seen is not None and stat.S_ISLNK(seen.st_mode)
            device = seen is not None and not stat.S_ISREG(seen.st_mode) and not link
            if link and around.st_dev == Path("/proc").stat().st_dev:  # it leads to what this process has opened
                if stat.S_ISREG(os.stat(path.name, dir_fd=directory).st_mode):
                    raise OSError(errno.EINVAL, "it leads to a file that is open; name the file itself", str(path))
                device = True
            shared = others_can_write(around, directory) or around.st_uid not in (os.geteuid(), 0)
            if device or not link or shared:
                yield Target(directory, path.name, path, seen, device)
                return
            path = path.parent / os.readlink(path.name, dir_fd=directory)
    raise OSError(errno.ELOOP, "too many links", str(path))


@contextlib.contextmanager
def opened_directory(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open a directory; ``make``: make it and its parents if missing. Raises Foreign, OSError."""
    names = list(reversed(path.parts))
    at = os.open("/" if path.is_absolute() else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    links = 0
    try:
        while names:
            name = names.pop()
            there = _entered(name, at, make=make)
            if not stat.S_ISLNK(os.fstat(there).st_mode):
                os.close(at)
                at = there
                continue
            try:
                target = _link_target(there, path)
            finally:
                os.close(there)
            if (links := links + 1) > _MAX_LINKS:
                raise OSError(errno.ELOOP, "too many links", str(path))
            names += reversed(target.parts)
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    try:
        yield directory
    finally:
        os.close(directory)


def require_own(path: Path) -> None:
    """Check that this account and root alone decide where a directory's path leads, and what is in it.

    Each directory on the way has the next name, also the directories that have the links. Raises Foreign, OSError.
    """
    names, here, links = list(reversed(path.parts[1:])), Path("/"), 0
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            continue
        _require_private(here, sticky=True)
        there = here / name
        seen = there.lstat()
        if not stat.S_ISLNK(seen.st_mode):
            here = there
            continue
        _require_owner(there, seen)
        if (links := links + 1) > _MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links", str(path))
        target = there.readlink()
        here = Path("/") if target.is_absolute() else here
        names += reversed(target.parts[target.is_absolute() :])
    _require_private(here, sticky=False)


def _require_private(directory: Path, *, sticky: bool) -> None:
    """``sticky``: the sticky bit protects what is in it."""
    seen = directory.stat()
    _require_owner(directory, seen)
    if others_can_write(seen, directory) and not (sticky and seen.st_mode & stat.S_ISVTX):
        raise Foreign(errno.EPERM, f"Other accounts can write {directory}", str(directory))


def _require_owner(path: Path, seen: os.stat_result) -> None:
    if seen.st_uid not in (0, os.geteuid(), unmapped()):
        raise Foreign(errno.EPERM, f"{path} belongs to another account (uid {seen.st_uid})", str(path))


@functools.cache
def unmapped() -> int:
    """The uid of files whose owner is nobody of this user namespace; -1 where every uid is somebody."""
    lines = [line.split() for line in lines_of(Path("/proc/self/uid_map").read_text())]
    mapped = any(int(first) <= _OVERFLOW < int(first) + int(count) for first, _, count in lines)
    return -1 if mapped else _OVERFLOW


def others_can_write(seen: os.stat_result, where: Path | int) -> bool:
    """Whether more than its owner can write a directory: everyone, a group that has other members, or an ACL's.

    With an ACL, the mode's bits of the group are what the ACL may grant to anyone.
    """
    return bool(seen.st_mode & 0o002) or bool(seen.st_mode & 0o020 and (_has_acl(where) or not _own_group(seen)))


def _has_acl(where: Path | int) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(where)
    except OSError as error:
        return error.errno != errno.ENOTSUP


def _entered(name: str, at: int, *, make: bool) -> int:
    try:
        return os.open(name, _ENTRY, dir_fd=at)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=at)
    return os.open(name, _ENTRY, dir_fd=at)


def _link_target(link: int, path: Path) -> Path:
    owner = os.fstat(link).st_uid
    target = Path(os.readlink("", dir_fd=link))
    if owner not in (os.geteuid(), 0):
        raise Foreign(
            errno.EPERM, f"{path} leads through a link that belongs to another account (uid {owner})", str(path)
        )
    return target


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _require_own(path: Path, seen: os.stat_result | None, around: os.stat_result) -> None:
    if seen is None or seen.st_uid == os.geteuid():
        return
    if not stat.S_ISREG(seen.st_mode) and seen.st_uid != 0:
        why = f"{path} is not a regular file and belongs to another account (uid {seen.st_uid})"
    elif stat.S_ISREG(seen.st_mode) and around.st_mode & stat.S_ISVTX:
        why = f"{path} belongs to another account (uid {seen.st_uid})"
    else:
        return
    raise Foreign(errno.EPERM, why, str(path))


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
