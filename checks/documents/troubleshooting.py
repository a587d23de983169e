"""``docs/TROUBLESHOOTING.md``, rendered from the catalogue and the recorded reproductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from checks.core.paths import GUIDE, ROOT
from checks.core.rendering import render_template
from checks.guide import catalogue, records
from checks.guide.catalogue import Entry, Error, Place, SearchText, Section, wrap
from checks.guide.records import ReproductionRecord

DOCUMENT = ROOT / GUIDE


def files() -> Mapping[Path, str]:
    """The document."""
    entries = catalogue.load()
    return {DOCUMENT: text(entries, records.load(entries))}


def text(entries: Mapping[str, Entry], reproduced: Mapping[str, Sequence[ReproductionRecord]]) -> str:
    """The document's text."""
    fixed = sum(any(record.fixed for record in several) for several in reproduced.values())
    return render_template(
        "troubleshooting.md.j2",
        entries=list(entries.values()),
        sections=[
            (
                section.heading,
                [_values(each, reproduced.get(each.id, ())) for each in entries.values() if each.section is section],
            )
            for section in Section
        ],
        summary=wrap(_summary(len(entries), fixed, len(reproduced) - fixed)),
    )


def _summary(entries: int, fixed: int, symptom_only: int) -> str:
    counted = f"Of {entries} entries, {fixed} were reproduced and fixed on throwaway hosts."
    if symptom_only:
        counted += f" For {symptom_only} more, the symptom was reproduced, but a throwaway host can't test the fix."
    return f"{counted} Each entry names the hosts."


def errors(entry: Entry, several: Sequence[ReproductionRecord]) -> Sequence[Error]:
    """The entry's messages: those that its reproductions captured, then those of the catalogue.

    A captured line is a message only if ``--explain`` finds the entry by it.
    """
    captured: dict[str, list[Place]] = {}
    for record in several:
        line = records.message(record.error_line)
        if entry.match_length(SearchText([line])):
            captured.setdefault(line, []).append(record.place)
    return [*(Error(text=line, observed=tuple(places)) for line, places in captured.items()), *entry.errors]


def _values(entry: Entry, several: Sequence[ReproductionRecord]) -> dict[str, object]:
    first, *others = entry.fix
    links = ", ".join(f"[{link.text}]({link.url})" for link in entry.links)
    return {
        "title": entry.title,
        "behaviour": wrap(entry.behaviour, "**Error:** ") if entry.behaviour else "",
        "errors": [
            (error.text, wrap(f"Captured on {_joined(error.observed)}.") if error.observed else "")
            for error in errors(entry, several)
        ],
        "cause": wrap(entry.cause, "**Cause:** "),
        "fix": wrap(first.introduction, "**Fix:** "),
        "block": first.block,
        "steps": [{"text": wrap(step.introduction), "block": step.block} for step in others],
        "prevention": wrap(entry.prevention, "**Prevention:** ") if entry.prevention else "",
        "links": wrap(f"More: {links}") + "." if links else "",
        "reproduced": wrap(_reproduced(entry, several)),
    }


def _reproduced(entry: Entry, several: Sequence[ReproductionRecord]) -> str:
    fixed = [record.place for record in several if record.fixed]
    symptom_only = [record.place for record in several if not record.fixed]
    sentences = []
    if fixed:
        how = "" if entry.reproduce and entry.reproduce.breaking else ", without changes to the host"
        sentences.append(f"Reproduced on {_joined(fixed)}{how}. The fix above was tested there.")
    if symptom_only and entry.reproduce:
        sentences.append(f"Seen on {_joined(symptom_only)}; the fix was not tested: {entry.reproduce.not_fixed}.")
    if not sentences:
        sentences.append(entry.why_not_reproduced)
    return " ".join(sentences)


def _joined(places: Sequence[Place]) -> str:
    return ", ".join(map(str, places))
