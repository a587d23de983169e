"""Recorded reproductions: evidence/reproductions/HOST/ENTRY.json, written only by ``invoke reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonschema

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.core.paths import ROOT, SCHEMAS
from checks.guide.catalogue import Commands, Entry, Place
from checks.guide.snapshot import HostSnapshot

DIRECTORY = ROOT / "evidence" / "reproductions"

_VERSION = 2
_SCHEMA = SCHEMAS / "reproduction.schema.json"


@dataclass(frozen=True)
class CommandResult:
    """The result of the symptom's commands: the exit status, and both outputs together."""

    exit_status: int
    output: str


@dataclass(frozen=True)
class ReproductionRecord:
    """The reproduction of one entry on one host."""

    entry: str
    host: str
    profile: str
    podman: str
    distribution: str
    kernel: str
    when: str
    seconds: float
    commands: Mapping[str, Sequence[str]]
    """All commands that ran, in the format of ``commands_of``."""
    baseline: CommandResult | None
    """On the host before the problem was caused. None if the host has the problem anyway."""
    broken: CommandResult
    fixed: CommandResult | None
    """None if the fix was not tested."""
    error_line: str
    """The line that showed the symptom."""
    snapshot: Mapping[str, Sequence[str]]
    """The doctor's snapshot of the broken host."""
    snapshot_taken_at: float
    diagnoses: Sequence[str]
    """The entries that the doctor reported on the broken host, in its order."""
    baseline_diagnoses: Sequence[str]
    """The entries that it reported on the host before."""

    @property
    def place(self) -> Place:
        return Place(host=self.host, podman=self.podman)

    @property
    def host_snapshot(self) -> HostSnapshot:
        return HostSnapshot(self.snapshot, self.snapshot_taken_at)

    def path(self, directory: Path = DIRECTORY) -> Path:
        return directory / self.host / f"{self.entry}.json"

    def write(self, directory: Path = DIRECTORY) -> Path:
        path = self.path(directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_json(path, {"version": _VERSION, **asdict(self)})
        return path


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


def load(entries: Mapping[str, Entry], directory: Path = DIRECTORY) -> Mapping[str, Sequence[ReproductionRecord]]:
    """Load the records by entry, without those whose commands differ from the catalogue's.

    Raises WrongUsage for a file that ``invoke reproduce`` did not write.
    """
    found: dict[str, list[ReproductionRecord]] = {}
    for path in sorted(directory.glob("*/*.json")):
        record = read(path)
        if record.entry in entries and record.commands == commands_of(entries[record.entry]):
            found.setdefault(record.entry, []).append(record)
    return {id_: sorted(records, key=lambda each: _numbers(each.podman)) for id_, records in found.items()}


def read(path: Path) -> ReproductionRecord:
    """Read one file. Raises WrongUsage that names it and the reason."""
    try:
        data: Any = read_json(path)
        jsonschema.validate(data, read_json(_SCHEMA))
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{path} can't be read: {error}.") from error
    except jsonschema.ValidationError as error:
        raise WrongUsage(f"{path} was not written by “invoke reproduce”: {error.json_path} {error.message}.") from error
    record = _record(data)
    if path != record.path(path.parent.parent):
        raise WrongUsage(f"{path} has the record of {record.entry} on {record.host}; its name does not match.")
    return record


def _record(data: dict[str, Any]) -> ReproductionRecord:
    values = {key: value for key, value in data.items() if key != "version"}
    for key in ("baseline", "broken", "fixed"):
        values[key] = CommandResult(**values[key]) if values[key] else None
    return ReproductionRecord(**values)


def message(error_line: str) -> str:
    """A recorded line as a user meets it, without its timestamp."""
    text = error_line.strip()
    if text.startswith('time="'):
        text = text.partition('" ')[2] or text
    return text


def _lines(several: Sequence[Commands]) -> list[str]:
    return [f"{each.user}: {each.script}" for each in several]


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]
