"""Checks that an output path can be written, before the run starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from checks.core.errors import WrongUsage

MOST_LINKS = 40
"""Chained links, as many as Linux follows."""


def require_parent_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless the parent directory of an option's path exists; an empty path is skipped."""
    if path == "-":
        raise WrongUsage(f"{option} - is not supported: output goes to a file only.", "Name a file.")
    if path and not (directory := Path(path).absolute().parent).is_dir():
        raise WrongUsage(f"{option}: the directory {directory} does not exist.")


def require_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless ``path`` is a writable directory or can be made; an empty path is skipped."""
    require_parent_directory(option, path)
    if not path:
        return
    directory = Path(path).absolute()
    if directory.exists() and not directory.is_dir():
        raise WrongUsage(f"{option}: {directory} is not a directory.")
    written = directory if directory.exists() else directory.parent
    if not os.access(written, os.W_OK | os.X_OK):
        raise WrongUsage(f"{option}: {written} is not writable.")


def foreign(path: Path) -> str:
    """Why ``path`` is refused: a link, pipe or device of another account, or its file in a sticky directory.

    Empty if it is fine. In a shared directory, anyone can make a link to one of the user's files. In a sticky
    directory, only a file's owner may replace it. Root could, but follows the same rule.
    """
    for _ in range(MOST_LINKS):
        try:
            seen = path.lstat()
        except OSError:
            return ""
        if not stat.S_ISREG(seen.st_mode) and seen.st_uid not in (os.geteuid(), 0):
            return f"{path} is not a regular file and belongs to another account (uid {seen.st_uid})"
        if not stat.S_ISLNK(seen.st_mode):
            sticky = path.parent.stat().st_mode & stat.S_ISVTX
            if stat.S_ISREG(seen.st_mode) and sticky and seen.st_uid != os.geteuid():
                return f"{path} belongs to another account (uid {seen.st_uid})"
            return ""
        path = path.parent / path.readlink()
    return ""


def require_file(option: str, path: str) -> None:
    """Raise WrongUsage unless an option's file can be written at the end of a run; an empty path is skipped."""
    require_parent_directory(option, path)
    if not path:
        return
    file = Path(path).absolute()
    if file.is_dir():
        raise WrongUsage(f"{option}: {file} is a directory; name a file in it.")
    if why := foreign(file):
        raise WrongUsage(f"{option}: {why}.", "Name another file.")
    # A file is replaced by a rename, which needs a writable directory; a device or pipe is written to.
    written = file if file.exists() and not file.is_file() else file.resolve().parent
    if not os.access(written, os.W_OK):
        raise WrongUsage(f"{option}: {written} is not writable.")
