"""``docs/TROUBLESHOOTING.md``, rendered from the catalogue."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checks.hosts.recipe import ROOT
from checks.problems import Exit, settled
from checks.progress import Progress
from checks.rendering import deliver, render_template
from checks.troubleshooting import catalogue
from checks.troubleshooting.catalogue import Entry, Section, Seen, Who

GUIDE = "docs/TROUBLESHOOTING.md"
DOCUMENT = ROOT / GUIDE

_WIDTH = 120
_BY = {Who.ACCOUNT: "", Who.ROOT: "As root:", Who.WINDOWS: "In PowerShell, on Windows:"}


@dataclass(frozen=True)
class Printed:
    """A step of a fix, as it is printed."""

    text: str
    block: str
    """Lines of code; empty for none."""


def render_troubleshooting(*, check: bool = False) -> Exit:
    """Render the document, or with ``check`` say whether the one that stands there is stale."""
    return settled(
        lambda: deliver(DOCUMENT, text(catalogue.load()), check=check, command="invoke render-troubleshooting"),
        Progress().say,
    )


def text(entries: Mapping[str, Entry]) -> str:
    """The document."""
    by_section = {section: [each for each in entries.values() if each.section is section] for section in Section}
    return render_template(
        "troubleshooting.md.j2",
        entries=list(entries.values()),
        sections=[(section.value, [_shown(entry) for entry in of_it]) for section, of_it in by_section.items()],
    )


def steps(entry: Entry) -> Sequence[Printed]:
    """The steps of its fix. Who is to type a step's commands is said before them."""
    return [
        Printed(
            "\n\n".join(part for part in (step.text, _BY[step.commands.who]) if part),
            "\n".join(step.commands.run) or step.show,
        )
        for step in entry.fix
    ]


def _shown(entry: Entry) -> dict[str, object]:
    first, *others = steps(entry)
    return {
        "title": entry.title,
        "behaviour": filled(entry.behaviour, "**Error:** ") if entry.behaviour else "",
        "errors": [(error.text, _captured(error.seen)) for error in entry.errors],
        "cause": filled(entry.cause, "**Cause:** "),
        "fix": filled(first.text, "**Fix:** "),
        "block": first.block,
        "steps": [Printed(filled(step.text), step.block) for step in others],
        "prevention": filled(entry.prevention, "**Prevention:** ") if entry.prevention else "",
        "links": filled("More: " + ", ".join(f"[{link.text}]({link.url})" for link in entry.links)) + "."
        if entry.links
        else "",
        "proof": filled(_proof(entry)),
    }


def _links(entry: Entry) -> str:
    links = ", ".join(f"[{link.text}]({link.url})" for link in entry.links)
    return filled(f"More: {links}.") if links else ""


def _proof(entry: Entry) -> str:
    if entry.reproduced:
        return f"Reproduced on {_places(entry.reproduced)}: broken on purpose, seen, mended as written here."
    return f"Not reproduced here: {entry.not_reproduced or 'no run has broken a host this way and mended it yet'}."


def _captured(seen: Sequence[Seen]) -> str:
    return filled(f"Captured on {_places(seen)}.") if seen else ""


def _places(seen: Sequence[Seen]) -> str:
    return ", ".join(str(each) for each in seen)


def filled(prose: str, label: str = "") -> str:
    """Paragraphs, broken into lines; a paragraph is what stands between empty lines. Lists are left as they are."""
    paragraphs = re.split(r"\n\s*\n", f"{label}{prose}".rstrip())
    return "\n\n".join(part if part.startswith("- ") else _wrapped(part) for part in paragraphs)


def _wrapped(paragraph: str) -> str:
    # A space within code or a link is no place to break at; neither is one before what would begin a list there.
    kept = re.sub(r"`[^`]+`|\]\([^)]*\)| (?=[-+*#>] |\d+\. )", lambda found: found[0].replace(" ", "\0"), paragraph)
    lines = textwrap.fill(kept, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")
