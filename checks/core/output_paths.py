"""Whether a path that an option names can be written: asked before a run, not at its end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from checks.core.errors import WrongUsage


def require_parent_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless there is a directory for what ``option`` names; empty is no path."""
    if path == "-":
        raise WrongUsage(f"{option} - is not supported: nothing is written to standard output.", "Name a file.")
    if path and not (directory := Path(path).absolute().parent).is_dir():
        raise WrongUsage(f"{option}: the directory {directory} does not exist.")


def require_directory(option: str, path: str) -> None:
    """Raise WrongUsage unless ``path`` is a directory that can be written to, or can be made; empty is no path."""
    require_parent_directory(option, path)
    if not path:
        return
    directory = Path(path).absolute()
    if directory.exists() and not directory.is_dir():
        raise WrongUsage(f"{option}: {directory} is not a directory.")
    written = directory if directory.exists() else directory.parent
    if not os.access(written, os.W_OK | os.X_OK):
        raise WrongUsage(f"{option}: {written} can't be written.")


def foreign(path: Path) -> str:
    """Why a file is not written at ``path``: there is a link, a pipe or a device of another account. Empty if not so.

    In a directory that all accounts share, anyone can put a link to one of the user's own files.
    """
    for _ in range(40):  # links in a row, as many as Linux follows
        try:
            seen = path.lstat()
        except OSError:
            return ""
        if not stat.S_ISREG(seen.st_mode) and seen.st_uid not in (os.geteuid(), 0):
            return f"{path} is not a file, and belongs to another account (uid {seen.st_uid})"
        if not stat.S_ISLNK(seen.st_mode):
            return ""
        path = path.parent / path.readlink()
    return ""


def require_file(option: str, path: str) -> None:
    """Raise WrongUsage unless the file that ``option`` names can be written at the end of a run; empty is no path."""
    require_parent_directory(option, path)
    if not path:
        return
    file = Path(path).absolute()
    if file.is_dir():
        raise WrongUsage(f"{option}: {file} is a directory; name a file in it.")
    if why := foreign(file):
        raise WrongUsage(f"{option}: {why}.", "Name another file.")
    # A file is written aside and renamed, which is up to its directory; a device or a pipe is written to.
    written = file if file.exists() and not file.is_file() else file.resolve().parent
    if not os.access(written, os.W_OK):
        raise WrongUsage(f"{option}: {written} can't be written.")
