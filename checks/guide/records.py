"""Recorded reproductions: evidence/reproductions/HOST/ENTRY.json, written only by ``invoke reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from checks.core.paths import EVIDENCE
from checks.core.version import comparable
from checks.evidence import store
from checks.evidence.model import Reproduction
from checks.guide.catalogue import Commands, Entry, Place
from checks.guide.snapshot import HostSnapshot

DIRECTORY = EVIDENCE / Reproduction.directory


class ReproductionRecord(Reproduction, kw_only=True):
    """The reproduction of one entry on one host."""

    @property
    def place(self) -> Place:
        return Place(host=self.host, podman=self.podman)

    @property
    def host_snapshot(self) -> HostSnapshot:
        return HostSnapshot(self.snapshot, self.snapshot_taken_at)


def commands_of(entry: Entry) -> dict[str, list[str]]:
    """All commands that a reproduction of the entry runs, by purpose: the user and the lines as printed."""
    reproduce = entry.reproduce
    if reproduce is None:
        return {}
    return {
        "break": _lines(reproduce.breaking),
        "setup": _lines(reproduce.setup),
        "symptom": _lines([reproduce.symptom]),
        "fix": [] if reproduce.not_fixed else _lines(entry.fix_commands),
    }


def load(entries: Mapping[str, Entry], directory: Path | None = None) -> Mapping[str, Sequence[ReproductionRecord]]:
    """Load the records by entry, without those whose commands differ from the catalogue's.

    Raises WrongUsage where a file can't be loaded.
    """
    found: dict[str, list[ReproductionRecord]] = {}
    for record in store.committed(ReproductionRecord, directory):
        if record.entry in entries and record.commands == commands_of(entries[record.entry]):
            found.setdefault(record.entry, []).append(record)
    return {id_: sorted(records, key=lambda each: comparable(each.podman)) for id_, records in found.items()}


def message(error_line: str) -> str:
    """A recorded line as a user meets it, without its timestamp."""
    text = error_line.strip()
    if text.startswith('time="'):
        text = text.partition('" ')[2] or text
    return text


def _lines(several: Sequence[Commands]) -> list[str]:
    return [f"{each.user}: {each.script}" for each in several]
