"""How a case says what it expects. A case that only calls docker and asserts nothing proves nothing."""

from __future__ import annotations

from checks.hosts.process import Completed

_SHOWN = 600  # characters of a value in a message


class Mismatch(AssertionError):
    """What came is not what was expected.

    ``fix`` is the guide's entry on it, where what came tells that better than the case does.
    """

    def __init__(self, expected: str, got: str, *, fix: str = "") -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got
        self.fix = fix


def expect(held: bool, expected: str, got: object) -> None:
    """Fail the case unless ``held``; the two texts are what its report says."""
    if not held:
        raise Mismatch(expected, shown(got))


def expect_run(done: Completed, *, status: int = 0, stdout: str | None = None, stderr_has: str | None = None) -> None:
    """Fail the case unless the command ended with ``status``, printed exactly ``stdout``, and said ``stderr_has``."""
    expect(done.returncode == status, f"exit status {status}", f"exit status {done.returncode}")
    if stdout is not None:
        expect(done.stdout_bytes == stdout.encode(), f"stdout to be {stdout!r}", f"stdout {shown(done.stdout)}")
    if stderr_has is not None:
        expect(stderr_has in done.stderr, f"stderr to have {stderr_has!r}", f"stderr {shown(done.stderr)}")


def shown(value: object) -> str:
    """A value as a report shows it: quoted where it is text, and cut where it is long."""
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
