"""What a run saw, as data: the host's facts, and per case what was run, how it ended and what was observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checks.core import files
from checks.engine.docker import Record, plain
from checks.hosts.base import Facts
from checks.hosts.process import Completed, Extent, extent

VERSION = 1
SCHEMA = Path(__file__).with_name("run.schema.json")

_KEPT = 2000  # bytes of an output that the evidence holds in full


@dataclass
class CaseResult:
    """How one case ended."""

    id: str
    group: str
    label: str
    outcome: str
    """``passed``, ``failed`` or ``skipped``."""
    seconds: float
    record: Record
    expected: str = ""
    got: str = ""
    reason: str = ""
    """Why it was skipped."""
    fix: str = ""


@dataclass
class Evidence:
    """One run's evidence, in the making."""

    host: str
    profile: str
    facts: Facts
    agent: str = ""
    """Which agent ran, and how the base of its image came; empty where none ran."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    cases: list[CaseResult] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The evidence in the form that run.schema.json describes."""
        return {
            "version": VERSION,
            "started": self.started.isoformat(timespec="seconds"),
            "host": {"name": self.host, "profile": self.profile, **self.facts.as_json()},
            **({"agent": self.agent} if self.agent else {}),
            "cases": [_case(case) for case in self.cases],
        }

    def write(self, path: Path, *, private: bool = False) -> None:
        """Write it as JSON; ``private``: for its owner alone to read."""
        files.replace_json(path, self.as_json(), private=private)


def _case(case: CaseResult) -> dict[str, Any]:
    optional = {"expected": case.expected, "got": case.got, "reason": case.reason}
    return {
        "id": case.id,
        "group": case.group,
        "label": case.label,
        "outcome": case.outcome,
        "seconds": round(case.seconds, 3),
        **{key: value for key, value in optional.items() if value},
        "commands": [_command(done) for done in case.record.commands],
        "observations": case.record.observations,
    }


def _command(done: Completed) -> dict[str, Any]:
    return {
        "argv": plain(done.argv),
        "status": done.returncode,
        "seconds": round(done.seconds, 3),
        "stdout": _output(done.stdout_bytes, done.stdout_extent),
        "stderr": _output(done.stderr_bytes, done.stderr_extent),
    }


def _output(kept: bytes, whole: Extent | None) -> dict[str, Any]:
    printed = whole or extent(kept)
    return {
        "bytes": printed.bytes,
        "sha256": printed.sha256,
        "text": kept[:_KEPT].decode(errors="replace"),
    }
