"""Reading an untrusted nanoclaw checkout: bounded, and nothing outside of it."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.terminal import one_line

LARGEST = 256 << 20
"""Bytes of all files of a directory: 20 times the size of a real agent's sources."""
MAX = 50_000
"""Entries of a directory, including subdirectories."""


@dataclass(frozen=True)
class Entry:
    """An entry of a directory; links are not followed."""

    name: str
    """Its path below the directory."""
    mode: int
    """Type and permissions, as in ``stat.st_mode``."""
    data: bytes = b""
    """A regular file's content."""
    target: str = ""
    """The target of a symbolic link."""


def entries(directory: Path, root: Path, *, skip: Callable[[Path], bool] | None = None) -> Iterator[Entry]:
    """Everything below a directory of the checkout ``root``, sorted by path; ``root`` may be the directory itself.

    ``skip`` tells, for a path below the directory, whether to leave it out, with everything below it.

    Raises WrongUsage where a link leads out of the checkout, where something is neither a file, a directory nor a link,
    where there is more of it than LARGEST or MAX allow, and where a name is not UTF-8.
    """
    start = _inside(directory, root)
    room = LARGEST
    for path in walk(start, skip):
        name, seen = str(path.relative_to(start)), path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            target = str(path.readlink())
            if target.startswith("/"):
                raise WrongUsage(
                    f"{_shown(path)} is a link to {_shown(target)}, outside of the checkout.", "Remove the link."
                )
            _inside(path, root)
            yield Entry(name, seen.st_mode, target=_readable(target, path))
        elif stat.S_ISREG(seen.st_mode):
            data = _read(path, room)
            room -= len(data)
            yield Entry(name, seen.st_mode, data)
        elif stat.S_ISDIR(seen.st_mode):
            yield Entry(name, seen.st_mode)
        else:
            raise WrongUsage(f"{_shown(path)} is neither a file nor a directory.", "Remove it from the checkout.")


def read(file: Path, root: Path, largest: int = 4 << 20) -> bytes:
    """The content of a file of the checkout ``root``, at most ``largest`` bytes.

    Raises WrongUsage where it is larger, is not a regular file, or lies outside of the checkout.
    """
    return _read(_inside(file, root), largest)


def _inside(path: Path, root: Path) -> Path:
    """The resolved path. Raises WrongUsage if it is outside of ``root``."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        raise WrongUsage(f"{_shown(path)} leads to {_shown(real)}, outside of the checkout {root}.", "Remove the link.")
    return real


def walk(directory: Path, skip: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Everything below a directory, sorted, parents first; links are not followed. Any depth. ``skip`` as above.

    Raises WrongUsage where there are more than MAX entries, and where a name is not UTF-8.
    """
    below, room = [directory], MAX
    while below:
        path = below.pop()
        if path != directory:
            if skip and skip(path.relative_to(directory)):
                continue
            yield path
        if path == directory or (path.is_dir() and not path.is_symlink()):
            with os.scandir(path) as found:  # never all of it: it may have millions of entries
                names = [_readable(child.name, path) for child in itertools.islice(found, room + 1)]
            room -= len(names)
            if room < 0:
                raise WrongUsage(f"{_shown(directory)} has more than {MAX} files: it is not nanoclaw's source.")
            below += [path / name for name in sorted(names, reverse=True)]


def _readable(name: str, where: Path) -> str:
    """A name in a checkout. Raises WrongUsage if it is not UTF-8: no output and no digest can contain it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WrongUsage(f"{_shown(where)} has a name that is not UTF-8: {name!r}.", "Rename the file.") from None
    return name


def _read(path: Path, largest: int) -> bytes:
    # O_NOFOLLOW and O_NONBLOCK: the file may have been replaced by a link or a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise WrongUsage(f"{_shown(path)} is not a regular file.")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise WrongUsage(f"{_shown(path)} makes the checkout larger than {largest} bytes, the limit.")
    return data


def _shown(name: Path | str) -> str:
    """A name of a checkout in a message: it can't begin a line of its own."""
    return one_line(str(name))
