"""What reproductions saw: evidence/reproductions/HOST/ENTRY.json, written by ``invoke reproduce`` and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.version import Version

from checks.core.paths import EVIDENCE
from checks.evidence import store
from checks.evidence.model import Reproduction
from checks.guide.catalogue import Entry, Seen
from checks.guide.reproduction import Commands
from checks.guide.snapshot import HostSnapshot

DIRECTORY = EVIDENCE / Reproduction.directory


class Reproduced(Reproduction, kw_only=True):
    """One entry, reproduced on one host."""

    @property
    def added(self) -> Sequence[str]:
        """What the doctor named on the broken host that the host has not by itself."""
        return [each for each in self.findings if each not in self.healthy]

    @property
    def place(self) -> Seen:
        """Where that was."""
        return Seen(self.host, self.podman)

    @property
    def look(self) -> HostSnapshot:
        """How the broken host looked."""
        return HostSnapshot(self.seen, self.asked_at)


def scripts(entry: Entry) -> dict[str, list[str]]:
    """All that a reproduction of the entry runs, by what it is for: who, and the lines as they are printed."""
    how = entry.reproduce
    if how is None:
        return {}
    return {
        "break": _told(how.breaking),
        "given": _told(how.given),
        "symptom": _told([how.symptom.commands]),
        "fix": [] if how.unmended else _told(entry.commands),
    }


def load(entries: Mapping[str, Entry], directory: Path | None = None) -> Mapping[str, Sequence[Reproduced]]:
    """Load the reproductions by entry: only those that ran the very commands that the catalogue has now.

    Raises WrongUsage where a file can't be loaded.
    """
    found: dict[str, list[Reproduced]] = {}
    for record in store.committed(Reproduced, directory):
        if record.entry in entries and record.ran == scripts(entries[record.entry]):
            found.setdefault(record.entry, []).append(record)
    return {id_: sorted(records, key=lambda each: Version(each.podman)) for id_, records in found.items()}


def message(captured: str) -> str:
    """A captured line as a reader meets it, without the time at which it was said."""
    words = captured.strip()
    if words.startswith('time="'):
        words = words.partition('" ')[2] or words
    return words


def _told(several: Sequence[Commands]) -> list[str]:
    return [f"{each.who}: {each.script}" for each in several]
