"""What reproductions saw: evidence/reproductions/HOST/ENTRY.json, written by ``invoke reproduce`` and nothing else."""

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
from checks.guide.catalogue import Entry, Seen
from checks.guide.reproduction import Commands
from checks.guide.snapshot import HostSnapshot

DIRECTORY = ROOT / "evidence" / "reproductions"

_VERSION = 1
_SCHEMA = SCHEMAS / "reproduction.schema.json"


@dataclass(frozen=True)
class Shown:
    """How the symptom's command ended at one time, and what it said on both outputs."""

    status: int
    output: str


@dataclass(frozen=True)
class Reproduced:
    """One entry, broken on purpose on one host."""

    entry: str
    host: str
    profile: str
    podman: str
    distribution: str
    kernel: str
    when: str
    seconds: float
    ran: Mapping[str, Sequence[str]]
    """The scripts that were run, as ``scripts`` has them."""
    unbroken: Shown | None
    broken: Shown
    mended: Shown | None
    captured: str
    """The line that showed the symptom."""
    seen: Mapping[str, Sequence[str]]
    """How the broken host looked to the doctor."""
    asked_at: float
    findings: Sequence[str]
    """The entries that the doctor named on the broken host, in its order."""
    healthy: Sequence[str]
    """Those that it named on the host as it was resumed: what that host has by itself."""

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

    def path(self, directory: Path = DIRECTORY) -> Path:
        """Its file."""
        return directory / self.host / f"{self.entry}.json"

    def write(self, directory: Path = DIRECTORY) -> Path:
        """Write it."""
        path = self.path(directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_json(path, {"version": _VERSION, **asdict(self)})
        return path


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


def load(entries: Mapping[str, Entry], directory: Path = DIRECTORY) -> Mapping[str, Sequence[Reproduced]]:
    """What was reproduced, by entry: only what ran the very commands that the catalogue has now.

    Raises WrongUsage where a file can't be one that ``invoke reproduce`` wrote.
    """
    found: dict[str, list[Reproduced]] = {}
    for path in sorted(directory.glob("*/*.json")):
        record = read(path)
        if record.entry in entries and record.ran == scripts(entries[record.entry]):
            found.setdefault(record.entry, []).append(record)
    return {id_: sorted(records, key=lambda each: _numbers(each.podman)) for id_, records in found.items()}


def read(path: Path) -> Reproduced:
    """One file. Raises WrongUsage that names it and what is wrong."""
    try:
        data: Any = read_json(path)
        jsonschema.validate(data, read_json(_SCHEMA))
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{path} can't be read: {error}.") from error
    except jsonschema.ValidationError as error:
        raise WrongUsage(f"{path} was not written by “invoke reproduce”: {error.json_path} {error.message}.") from error
    if path != Reproduced.path(_record(data), path.parent.parent):
        raise WrongUsage(f"{path} is about {data['entry']} on {data['host']}: its name says otherwise.")
    return _record(data)


def _record(data: dict[str, Any]) -> Reproduced:
    values = {key: value for key, value in data.items() if key != "version"}
    for key in ("unbroken", "broken", "mended"):
        values[key] = Shown(**values[key]) if values[key] else None
    return Reproduced(**values)


def message(captured: str) -> str:
    """A captured line as a reader meets it, without the time at which it was said."""
    words = captured.strip()
    if words.startswith('time="'):
        words = words.partition('" ')[2] or words
    return words


def _told(several: Sequence[Commands]) -> list[str]:
    return [f"{each.who}: {each.script}" for each in several]


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]
