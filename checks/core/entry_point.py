"""The start and end of a program: safe standard streams, errors in one line, one exit status.

Imports the standard library and modules that need nothing else: an error while importing the rest is reported too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn, TextIO

from checks.core import signals, terminal
from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import run_and_report

_OF_THE_SHELL = (
    "POSIXLY_CORRECT", "QUOTING_STYLE", "TIME_STYLE", "BLOCK_SIZE", "BLOCKSIZE", "LS_BLOCK_SIZE", "DU_BLOCK_SIZE",
    "DF_BLOCK_SIZE", "TAR_OPTIONS", "GREP_OPTIONS", "XZ_OPT", "XZ_DEFAULTS", "GZIP", "CDPATH", "SYSTEMD_COLORS",
    "SYSTEMD_URLIFY", "SYSTEMD_PAGER",
)  # fmt: skip
"""Variables that change what the system's programs print or take: our scripts read their output."""
_NAMES = ("stdin", "stdout", "stderr")
_failures: dict[int, OSError] = {}
"""The write error of each standard stream, by descriptor. Later output is discarded."""


class _Output(io.FileIO):
    """A standard stream whose errors end neither the run nor its cleanup.

    Otherwise Rich exits with 1 on a closed pipe, and Python with 120 if the last flush fails.
    """

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        try:
            return super().write(data)
        except OSError as error:
            discard = os.open(os.devnull, os.O_WRONLY)
            os.dup2(discard, self.fileno())
            os.close(discard)
            if isinstance(error, BrokenPipeError):
                signals.reader_gone()
                return len(data)
            _failures[self.fileno()] = error
            return len(data)


@contextlib.contextmanager
def entering() -> Iterator[None]:
    """Prepare the process; if the block raises anything, report it in one line and exit."""
    try:
        prepare()
        terminal.guard()
        yield
    except SystemExit:
        raise
    except BaseException as error:
        ending = error  # the name of the clause ends with it

        def again() -> Exit:
            raise ending

        leave(run_and_report(again, say))


def leave(status: int) -> NoReturn:
    """Flush all output and exit with this status, or with 3 if standard output could not be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except KeyboardInterrupt:  # also ReaderGone
            status = Exit.INTERRUPTED
    if failure := _failures.get(1):
        with contextlib.suppress(KeyboardInterrupt):
            say(f"The host can’t be used: standard output can't be written: {failure.strerror}.")
        status = Exit.HOST_UNUSABLE
    sys.exit(int(status))


def say(line: str) -> None:
    """Print a line on standard error, through the stream that ``entering`` has guarded."""
    print(line, file=sys.stderr, flush=True)


def require_utf8(words: Sequence[str]) -> None:
    """Raise WrongUsage for an argument that is not valid UTF-8: it could not be printed or written to a report."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise WrongUsage(f"The argument {os.fsencode(word)!r} is not valid UTF-8.") from None


def prepare() -> None:
    """Make signals, the environment and the standard streams safe, whatever the parent has left.

    With an ignored SIGCHLD, the exit status of every command would be taken for 0; a blocked signal could not interrupt
    the run. Both are inherited. On a screen of 0 columns, Rich prints nothing. Streams get open, able to encode every
    character, with errors handled by ``_Output``; those that were replaced, for example by pytest, are left alone.
    """
    umask = os.umask(0o022)  # others write none of our files, and we can use them all
    os.umask((umask | 0o022) & 0o077)
    for name in _OF_THE_SHELL:
        os.environ.pop(name, None)
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(name, "1"), re.ASCII):
            del os.environ[name]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next opened file would get its descriptor
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115
    for name in _NAMES[1:]:
        stream = getattr(sys, name)
        original = f"__{name}__"
        if stream is getattr(sys, original):
            setattr(sys, name, _safe(stream))
            setattr(sys, original, getattr(sys, name))
    if threading.current_thread() is threading.main_thread():  # last: a Ctrl-C that waited is reported on these streams
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _safe(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding, errors="backslashreplace",
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip
