"""The end of a command: its exit status, and the one line that reports an error."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from checks.core import redaction
from checks.core.errors import (
    Exit,
    HostProblem,
    Interrupted,
    LateAnswer,
    NotTested,
    OwnFault,
    Problem,
    ReaderGone,
    WrongUsage,
)
from checks.core.lines import lines_of
from checks.core.paths import ROOT
from checks.core.run_directories import cache

_BEGINNINGS = {Exit.WRONG_USAGE: "Wrong usage: ", Exit.OWN_FAULT: ""}
_OF_THE_HOST = "The host can’t be used: "
_INDENT = "    "
_KINDS: tuple[type[Problem], ...] = (WrongUsage, HostProblem, NotTested, OwnFault)


def headline(problem: Problem) -> str:
    """The line that reports a problem, and its other lines indented: none of them can pass for one of a report."""
    text = str(problem).replace("\n", f"\n{_INDENT}")
    return f"{_BEGINNINGS.get(problem.exit, _OF_THE_HOST)}{text}"


def reported(status: int, line: str) -> BaseException:
    """What ended another process of this program, which has reported that status and line."""
    if status == Exit.INTERRUPTED:
        return Interrupted(line)
    kind = next((kind for kind in _KINDS if kind.exit == status), HostProblem)
    return kind(line.removeprefix(_BEGINNINGS.get(kind.exit, _OF_THE_HOST)).replace(f"\n{_INDENT}", "\n"))


_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT)
_NO_THREAD = "can't start new thread"


def run_and_report(run: Callable[[], Exit], say: Callable[[str], None]) -> Exit:
    """Run a command; report the error that stopped it in one line, then its notes, and return the exit status.

    Only ``run`` itself returns CASE_FAILED; no error does.
    """
    try:
        return run()
    except Problem as problem:
        line, status = "\n  ".join([headline(problem), *_notes(problem)]), problem.exit
    except LateAnswer as late:
        line, status = headline(HostProblem(f"{late}.")), Exit.HOST_UNUSABLE
    except (ReaderGone, BrokenPipeError):
        return Exit.INTERRUPTED
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        line, status = f"The host can’t be used: {error.strerror or error}{named}", Exit.HOST_UNUSABLE
    except KeyboardInterrupt as interrupt:
        line, status = f"{'; '.join(['Interrupted', *_notes(interrupt)])}.", Exit.INTERRUPTED
    except Exception as error:
        if lacking(error):
            line, status = f"The host can’t be used: {str(error) or type(error).__name__}", Exit.HOST_UNUSABLE
        elif missing := _missing_package(error):
            line, status = headline(missing), missing.exit
        else:
            line, status = own_fault(error), Exit.OWN_FAULT
    with contextlib.suppress(OSError, ReaderGone):
        say(line)
    return status


def lacking(error: BaseException) -> bool:
    """Whether an error says that this machine lacks memory, processes, descriptors or space for the program itself."""
    if isinstance(error, OSError):
        return error.errno in _SCARCE
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def decisive(error: BaseException) -> BaseException:
    """The error that decides among those a teardown raised: one of the host or of the machine, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    each = [decisive(one) for one in error.exceptions]
    return next((one for one in each if isinstance(one, Problem) or lacking(one)), each[0])


def _missing_package(error: Exception) -> HostProblem | None:
    if not isinstance(error, ModuleNotFoundError) or (error.name or "checks").startswith("checks"):
        return None
    if Path(sys.prefix) == ROOT / ".venv":
        with contextlib.suppress(OSError):  # scripts/lib.sh then makes it anew
            (ROOT / ".venv" / "stamp").unlink()
    return HostProblem(
        f"The Python package “{error.name}” is not installed in {sys.prefix}.",
        "Run scripts/verify-podman-compat.sh, or: pip install -r requirements.txt -c constraints.txt",
    )


def _notes(error: BaseException) -> list[str]:
    """Notes added to the error during cleanup."""
    return list(getattr(error, "__notes__", ()))


def own_fault(error: Exception) -> str:
    """Write the traceback to a private file; the line that names the error and the file."""
    what = lines_of(f"This is a bug in this project: {type(error).__name__}: {str(error).strip()[:300]}")[0]
    try:
        return f"{what} Traceback: {_written(error)}"
    except OSError as unwritable:
        return f"{what} The traceback could not be written: {unwritable.strerror}."


def _written(error: Exception) -> Path:
    text = redaction.redacted_text("".join(traceback.format_exception(error))).encode(errors="backslashreplace")
    try:
        directory = cache() / "faults"
        directory.mkdir(exist_ok=True)
        return _private(text, directory)
    except (Problem, OSError):
        return _private(text, Path(tempfile.gettempdir()))


def _private(text: bytes, directory: Path) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="nanoclaw-verify-", suffix=".traceback", dir=directory)  # 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return Path(name)
