"""Reading an untrusted nanoclaw checkout: bounded, and nothing outside of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
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
        name = str(path.relative_to(start))
        with _opened(path, os.O_PATH) as descriptor:
            mode = os.fstat(descriptor).st_mode
            target = os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(mode) else ""
        if stat.S_ISLNK(mode):
            if target.startswith("/"):
                raise WrongUsage(
                    f"{_shown(path)} is a link to {_shown(target)}, outside of the checkout.", "Remove the link."
                )
            _inside(path, root)
            yield Entry(name, mode, target=_readable(target, path))
        elif stat.S_ISREG(mode):
            data = _read(path, room)
            room -= len(data)
            yield Entry(name, mode, data)
        elif stat.S_ISDIR(mode):
            yield Entry(name, mode)
        else:
            raise WrongUsage(f"{_shown(path)} is neither a file nor a directory.", "Remove it from the checkout.")


def lay_out(sources: Iterable[Entry], directory: Path) -> None:
    """Write entries below a new directory. Permissions are those of the checkout, whatever the umask."""
    made = [(directory, 0o755)]
    directory.mkdir(parents=True)
    for each in sources:
        path = directory / each.name
        if each.target:
            path.symlink_to(each.target)
        elif stat.S_ISDIR(each.mode):
            path.mkdir()
            made.append((path, each.mode & 0o777))
        else:
            path.write_bytes(each.data)
            path.chmod(each.mode & 0o777)
    for path, mode in reversed(made):  # a directory may be read-only
        path.chmod(mode)


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
    real = Path(os.path.realpath(directory))  # it may be named by a link, or relative
    below, room = [directory], MAX
    while below:
        path = below.pop()
        if path != directory:
            if skip and skip(path.relative_to(directory)):
                continue
            yield path
        if path == directory or (path.is_dir() and not path.is_symlink()):
            # Never all of it: it may have millions of entries.
            place = real / path.relative_to(directory)
            with _opened(place, os.O_RDONLY | os.O_DIRECTORY) as descriptor, os.scandir(descriptor) as found:
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
    with _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:  # it may have been replaced by a pipe
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WrongUsage(f"{_shown(path)} is not a regular file.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(largest + 1)
    if len(data) > largest:
        raise WrongUsage(f"{_shown(path)} makes the checkout larger than {largest} bytes, the limit.")
    return data


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor of a path that had no link in it. Raises WrongUsage if it has one now.

    The checkout's owner may put a link in place of a file, or of a directory above it, after the look at it.
    """
    changed = WrongUsage(
        f"{_shown(path)} was replaced while the checkout was read.", "Copy the checkout, then try that."
    )
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise (changed if error.errno in (errno.ELOOP, errno.ENOTDIR) else error) from None
    try:
        if Path(f"/proc/self/fd/{descriptor}").readlink() != path:
            raise changed
        yield descriptor
    finally:
        os.close(descriptor)


def _shown(name: Path | str) -> str:
    """A name of a checkout in a message: it can't begin a line of its own."""
    return one_line(str(name))
