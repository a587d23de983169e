"""Assertions of cases: what was expected, and what the case got."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from checks.core.answers import Unreadable, understood
from checks.core.process import Completed

T = TypeVar("T")
_SHOWN = 600  # characters of a value in a message


class Mismatch(AssertionError):
    """A case got something other than it expected.

    ``fix`` is a troubleshooting entry that replaces the case's own.
    """

    def __init__(self, expected: str, got: str, *, fix: str = "") -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got
        self.fix = fix


def expect(held: bool, expected: str, got: object) -> None:
    """Fail the case unless ``held``, with these texts in the report."""
    if not held:
        raise Mismatch(expected, shown(got))


def expect_readable(parse: Callable[[str], T], text: str, expected: str) -> T:
    """What ``parse`` makes of an output. Fails the case for one that it can't parse: that is docker's fault."""
    try:
        return understood(parse, text)
    except Unreadable as error:
        raise Mismatch(expected, f"{shown(text)} ({error})") from error


def expect_run(done: Completed, *, status: int = 0, stdout: str | None = None, stderr_has: str | None = None) -> None:
    """Fail the case unless the command exited with ``status`` and printed ``stdout``, and ``stderr_has`` on stderr."""
    expect(done.returncode == status, f"exit status {status}", f"exit status {done.returncode}")
    if stdout is not None:
        expect(done.stdout_bytes == stdout.encode(), f"stdout to be {stdout!r}", f"stdout {shown(done.stdout)}")
    if stderr_has is not None:
        expect(stderr_has in done.stderr, f"stderr to contain {stderr_has!r}", f"stderr {shown(done.stderr)}")


def shown(value: object) -> str:
    """A value as a report shows it: quoted where it is text, and cut where it is long."""
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
