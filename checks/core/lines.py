"""Lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterator


def lines_of(text: str) -> list[str]:
    """The lines of what a program printed or of a file, without their ends (``\\n`` or ``\\r\\n``).

    ``str.splitlines`` also breaks at characters that a name, a comment or a message may contain, such as a form feed or
    U+2028: what is written after one would pass for a line.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def blocks_of(
    text: str, begin: re.Pattern[str], end: re.Pattern[str]
) -> Iterator[tuple[re.Match[str], str, re.Match[str]]]:
    """The lines between one that is ``begin`` and the next that is ``end``: both matches, and the text between them.

    Each line is read once: a pattern for the whole block would read on from every beginning that has no end.
    """
    opened: re.Match[str] | None = None
    inside: list[str] = []
    for line in lines_of(text):
        if opened is None:
            opened, inside = begin.fullmatch(line), []
        elif closed := end.fullmatch(line):
            yield opened, "\n".join(inside), closed
            opened = None
        else:
            inside.append(line)
