"""Evidence of a hardening run: written by one that ran, and read back by what is rendered from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from checks import evidence
from checks.hosts import identity, recipe
from checks.hosts.base import Facts
from checks.hosts.recipe import ROOT
from checks.problems import WrongUsage

FOLDER = ROOT / "evidence" / "hardening"
SCHEMA = Path(__file__).with_name("findings.schema.json")
VERSION = 1
KINDS = ("each", "all", "lattice")


@dataclass(frozen=True)
class Findings:
    """What one hardening run found out on a host."""

    host: str
    profile: str
    facts: Facts
    agent: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def write(self, folder: Path, kind: str, found: Any, seconds: float) -> Path:
        """Leave what was found in a file of the host's and the kind's own in ``folder``; its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.host.replace('/', '_')}-{kind}.json"
        data = {
            "version": VERSION,
            "kind": kind,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(seconds),
            "host": {"name": self.host, "profile": self.profile, **self.facts.as_json()},
            "agent": self.agent,
            "found": found,
        }
        aside = path.with_name(f".{path.name}.part")
        aside.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        aside.replace(path)
        return path


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


def committed(folder: Path = FOLDER) -> Sequence[Stored]:
    """All evidence in the folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def read(path: Path) -> Stored:
    """One file. Raises WrongUsage where it is no evidence, or is not of the host that it names."""
    try:
        data = json.loads(path.read_text())
        jsonschema.validate(data, json.loads(SCHEMA.read_text()))
        jsonschema.validate(data["host"], json.loads(evidence.SCHEMA.read_text())["properties"]["host"])
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise WrongUsage(f"{path} is no evidence of a hardening run: {reason}.") from error
    found = Stored(data["kind"], data["host"], data["started"], data["agent"], data["found"])
    if found.name in recipe.known() and (wrong := identity.foreign(recipe.load(found.name), found.host)):
        raise WrongUsage(f"{path} is not evidence of {found.name}: {' '.join(wrong)}", "Run that host again.")
    return found
