"""Lines of text."""

from __future__ import annotations


def lines_of(text: str) -> list[str]:
    """The lines of what a program printed or of a file, without their ends (``\\n`` or ``\\r\\n``).

    ``str.splitlines`` also breaks at characters that a name, a comment or a message may contain, such as a form feed or
    U+2028: what is written after one would pass for a line.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]
