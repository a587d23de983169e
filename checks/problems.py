"""What can keep a run from giving an answer, each kind with its own exit status."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import traceback
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from checks import redaction


class Exit(IntEnum):
    """Exit statuses of every command of this project."""

    OK = 0
    CASE_FAILED = 1
    WRONG_USAGE = 2
    HOST_UNUSABLE = 3
    UNPROVEN = 4
    OWN_FAULT = 70
    """A bug of this project; 70 is EX_SOFTWARE of sysexits.h."""
    INTERRUPTED = 130


class Problem(Exception):
    """A run that can't go on, told to the user as one line: what happened, and what to do about it."""

    exit = Exit.HOST_UNUSABLE

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy


class HostProblem(Problem):
    """The host can't be used: never a failed case."""


class Unproven(HostProblem):
    """The host could not even be built, since nothing here reaches the archive of its distribution."""

    exit = Exit.UNPROVEN


class WrongUsage(Problem):
    """The user asked for something that does not exist or does not fit together."""

    exit = Exit.WRONG_USAGE


def require_folder_of(option: str, path: str) -> None:
    """Raise WrongUsage unless there is a folder for what ``option`` names; empty is no path."""
    if path == "-":
        raise WrongUsage(f"{option} - is not supported: nothing is written to standard output.", "Name a file.")
    if path and not (folder := Path(path).absolute().parent).is_dir():
        raise WrongUsage(f"{option}: the folder {folder} does not exist.")


def require_folder(option: str, path: str) -> None:
    """Raise WrongUsage unless ``path`` is a folder that can be written to, or can be made; empty is no path."""
    require_folder_of(option, path)
    if not path:
        return
    folder = Path(path).absolute()
    if folder.exists() and not folder.is_dir():
        raise WrongUsage(f"{option}: {folder} is not a folder.")
    written = folder if folder.exists() else folder.parent
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
    require_folder_of(option, path)
    if not path:
        return
    file = Path(path).absolute()
    if file.is_dir():
        raise WrongUsage(f"{option}: {file} is a folder; name a file in it.")
    if why := foreign(file):
        raise WrongUsage(f"{option}: {why}.", "Name another file.")
    # A file is written aside and renamed, which is up to its folder; a device or a pipe is written to.
    written = file if file.exists() and not file.is_file() else file.resolve().parent
    if not os.access(written, os.W_OK):
        raise WrongUsage(f"{option}: {written} can't be written.")


class Interrupted(KeyboardInterrupt):
    """A signal asks the run to end."""


class ReaderGone(Interrupted):
    """Whoever read the output has gone, as `head` does."""


def headline(problem: Problem) -> str:
    """The line by which a user is told of a problem."""
    return f"{'Wrong usage' if isinstance(problem, WrongUsage) else 'The host can’t be used'}: {problem}"


def settled(run: Callable[[], Exit], say: Callable[[str], None]) -> Exit:
    """The exit status of a command, whichever way ``run`` ends; what kept it from an answer is said in one line.

    Only ``run`` itself returns CASE_FAILED: no error becomes that status.
    """
    try:
        return run()
    except Problem as problem:
        line, status = " ".join([headline(problem), *_notes(problem)]), problem.exit
    except (ReaderGone, BrokenPipeError):
        return Exit.INTERRUPTED
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        line, status = f"The host can’t be used: {error.strerror or error}{named}", Exit.HOST_UNUSABLE
    except KeyboardInterrupt as interrupt:
        line, status = f"{'; '.join(['Interrupted', *_notes(interrupt)])}.", Exit.INTERRUPTED
    except Exception as error:
        line, status = _fault(error), Exit.OWN_FAULT
    with contextlib.suppress(OSError, ReaderGone):
        say(line)
    return status


def _notes(error: BaseException) -> list[str]:
    """What was seen after the error, on the way out."""
    return list(getattr(error, "__notes__", ()))


def _fault(error: Exception) -> str:
    """Write the traceback to a file that only this account can read; the line that names the error and the file."""
    what = f"This is a bug of the project: {type(error).__name__}: {str(error).strip()[:300]}".splitlines()[0]
    try:
        return f"{what} Its traceback: {_written(error)}"
    except OSError as unwritable:
        return f"{what} Its traceback could not be written: {unwritable.strerror}."


def _written(error: Exception) -> Path:
    from checks.runs import cache  # noqa: PLC0415 - it imports this module

    text = redaction.redacted_text("".join(traceback.format_exception(error))).encode(errors="backslashreplace")
    try:
        folder = cache() / "faults"
        folder.mkdir(exist_ok=True)
        return _private(text, folder)
    except (Problem, OSError):
        return _private(text, Path(tempfile.gettempdir()))


def _private(text: bytes, folder: Path) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="nanoclaw-verify-", suffix=".traceback", dir=folder)  # 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return Path(name)
