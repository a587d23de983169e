"""``docs/TROUBLESHOOTING.md``, rendered from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from checks.core.paths import GUIDE, ROOT
from checks.core.rendering import render_template
from checks.guide import catalogue, records
from checks.guide.catalogue import Entry, Error, Section, Seen
from checks.guide.printing import Printed, filled, steps
from checks.guide.records import Reproduced

DOCUMENT = ROOT / GUIDE


def files() -> Mapping[Path, str]:
    """The document."""
    entries = catalogue.load()
    return {DOCUMENT: text(entries, records.load(entries))}


def text(entries: Mapping[str, Entry], reproduced: Mapping[str, Sequence[Reproduced]]) -> str:
    """The document, from the catalogue and from what was reproduced of it."""
    mended = sum(any(run.mended for run in runs) for runs in reproduced.values())
    by_section = {section: [each for each in entries.values() if each.section is section] for section in Section}
    return render_template(
        "troubleshooting.md.j2",
        entries=list(entries.values()),
        sections=[
            (section.value, [_shown(entry, reproduced.get(entry.id, ())) for entry in of_it])
            for section, of_it in by_section.items()
        ],
        counted=filled(_counted(len(entries), mended, len(reproduced) - mended)),
    )


def _counted(entries: int, mended: int, seen: int) -> str:
    others = f"; {seen} more were only seen, since their fix is beyond a throwaway host" if seen else ""
    return f"{mended} of the {entries} entries were reproduced and mended so{others}. Each says where."


def errors(entry: Entry, runs: Sequence[Reproduced]) -> Sequence[Error]:
    """Its messages: those that its reproductions captured, then those of the catalogue.

    What showed the symptom is a message only where it is one that the look-up finds the entry by.
    """
    captured: dict[str, list[Seen]] = {}
    for run in runs:
        said = records.message(run.captured)
        if entry.matched(catalogue.Lines([said])):
            captured.setdefault(said, []).append(run.place)
    return [*(Error(said, tuple(places)) for said, places in captured.items()), *entry.errors]


def _shown(entry: Entry, runs: Sequence[Reproduced]) -> dict[str, object]:
    first, *others = steps(entry)
    return {
        "title": entry.title,
        "behaviour": filled(entry.behaviour, "**Error:** ") if entry.behaviour else "",
        "errors": [(error.text, _captured(error.seen)) for error in errors(entry, runs)],
        "cause": filled(entry.cause, "**Cause:** "),
        "fix": filled(first.text, "**Fix:** "),
        "block": first.block,
        "steps": [Printed(filled(step.text), step.block) for step in others],
        "prevention": filled(entry.prevention, "**Prevention:** ") if entry.prevention else "",
        "links": filled("More: " + ", ".join(f"[{link.text}]({link.url})" for link in entry.links)) + "."
        if entry.links
        else "",
        "proof": filled(_proof(entry, runs)),
    }


def _proof(entry: Entry, runs: Sequence[Reproduced]) -> str:
    mended = [run.place for run in runs if run.mended]
    seen = [run.place for run in runs if not run.mended]
    told = []
    if mended:
        by_itself = not (entry.reproduce and entry.reproduce.breaking)
        how = ", as it is by itself: seen" if by_itself else ": broken on purpose, seen"
        told.append(f"Reproduced on {_places(mended)}{how}, mended as written here.")
    if seen and entry.reproduce:
        told.append(f"Seen on {_places(seen)}, and not mended there: {entry.reproduce.unmended}.")
    if not told:
        why = entry.not_reproduced or "no run has broken a host this way and mended it yet"
        told.append(f"Not reproduced here: {why}.")
    return " ".join(told)


def _captured(seen: Sequence[Seen]) -> str:
    return filled(f"Captured on {_places(seen)}.") if seen else ""


def _places(seen: Sequence[Seen]) -> str:
    return ", ".join(str(each) for each in seen)
