"""Evidence of a hardening run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.core.paths import ROOT
from checks.evidence import source

DIRECTORY = ROOT / "evidence" / "hardening"
SCHEMA = Path(__file__).with_name("hardening.schema.json")


class Findings(source.Source):
    """What one hardening run found out on a host."""

    def write(self, directory: Path, kind: str, found: Any, seconds: float) -> Path:
        """Leave what was found in a file of the host's and the kind's own in ``directory``; its path."""
        return self.leave(directory / f"{self.stem}-{kind}.json", {"kind": kind, "found": found}, seconds)


@dataclass(frozen=True)
class Stored:
    """One run's evidence, as its file has it."""

    kind: str
    host: Mapping[str, Any]
    started: str
    agent: str
    found: Any

    @property
    def name(self) -> str:
        """The host's name."""
        return str(self.host["name"])


def committed(directory: Path = DIRECTORY) -> Sequence[Stored]:
    """All evidence in the directory, by name."""
    return [read(path) for path in sorted(directory.glob("*.json"))]


def read(path: Path) -> Stored:
    """One file. Raises WrongUsage where it is no evidence, or is not of the host that it names."""
    data = source.load_validated(path, SCHEMA, "a hardening run")
    return Stored(data["kind"], data["host"], data["started"], data["agent"], data["found"])
