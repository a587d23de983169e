"""Checks that an output path can be written, before the run starts."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.owned_paths import Foreign, opened_directory, opened_target


def require_parent_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless the parent directory of an option's path exists; an empty path is skipped."""
    if path == "-":
        raise WrongUsage(f"{option} - is not supported: output goes to a file only.", "Name a file.")
    if not path:
        return
    directory = Path(path).absolute().parent
    with _own_paths_only(option, directory):
        if not directory.is_dir():
            raise WrongUsage(f"{option}: the directory {directory} does not exist.")


def require_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless ``path`` is a writable directory or can be made; an empty path is skipped."""
    require_parent_directory(option, path)
    if not path:
        return
    directory = Path(path).absolute()
    with _own_paths_only(option, directory):
        if directory.exists() and not directory.is_dir():
            raise WrongUsage(f"{option}: {directory} is not a directory.")
        written = directory if directory.exists() else directory.parent
        with opened_directory(written):
            pass
    if not os.access(written, os.W_OK | os.X_OK):
        raise WrongUsage(f"{option}: {written} is not writable.")


def require_file(option: str, path: str) -> None:
    """Raise WrongUsage unless an option's file can be written at the end of a run; an empty path is skipped."""
    require_parent_directory(option, path)
    if not path:
        return
    file = Path(path).absolute()
    with _own_paths_only(option, file):
        if file.is_dir():
            raise WrongUsage(f"{option}: {file} is a directory; name a file in it.")
        with opened_target(file) as target:
            # A file is replaced by a rename, which needs a writable directory; a device or pipe is written to.
            written = target.path if target.device else target.path.parent
            if not os.access(written, os.W_OK):
                raise WrongUsage(f"{option}: {written} is not writable.")
            if target.device and not stat.S_ISFIFO(file.stat().st_mode):  # a pipe's reader would see the end
                # /dev/tty can be opened only by a process that has a terminal, whatever its mode says.
                os.close(os.open(file, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))


@contextlib.contextmanager
def _own_paths_only(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except Foreign as error:
        raise WrongUsage(f"{option}: {error.strerror}.", "Name another path.") from error
    except OSError as error:
        raise WrongUsage(f"{option}: {path} can't be opened: {error.strerror}.") from error
