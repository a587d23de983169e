"""Prose and steps of a troubleshooting entry as the guide and the terminal print them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from checks.guide.catalogue import Entry
from checks.guide.reproduction import Who

_WIDTH = 120
_BY = {Who.ACCOUNT: "", Who.ROOT: "As root:", Who.WINDOWS: "In PowerShell, on Windows:"}


@dataclass(frozen=True)
class Printed:
    """A step of a fix, as it is printed."""

    text: str
    block: str
    """Lines of code; empty for none."""


def steps(entry: Entry) -> Sequence[Printed]:
    """The steps of its fix. Who is to type a step's commands is said before them."""
    return [
        Printed(
            "\n\n".join(part for part in (step.text, _BY[step.commands.who]) if part),
            "\n".join(step.commands.run) or step.show,
        )
        for step in entry.fix
    ]


def filled(prose: str, label: str = "") -> str:
    """Paragraphs, broken into lines; a paragraph is what stands between empty lines. Lists are left as they are."""
    paragraphs = re.split(r"\n\s*\n", f"{label}{prose}".rstrip())
    return "\n\n".join(part if part.startswith("- ") else _wrapped(part) for part in paragraphs)


def _wrapped(paragraph: str) -> str:
    # A space within code or a link is no place to break at; neither is one before what would begin a list there.
    kept = re.sub(r"`[^`]+`|\]\([^)]*\)| (?=[-+*#>] |\d+\. )", lambda found: found[0].replace(" ", "\0"), paragraph)
    lines = textwrap.fill(kept, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")
