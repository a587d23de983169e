"""Evidence made up for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from checks.core.process import Completed
from checks.engine.docker import Record
from checks.evidence.model import Outcome, Verification
from checks.evidence.run import CaseResult, Evidence
from tests.fakes import FACTS

DEBIAN_13 = replace(FACTS, distribution="Debian GNU/Linux 13 (trixie)", version="5.4.2")
DEBIAN_12 = replace(FACTS, distribution="Debian GNU/Linux 12 (bookworm)", version="4.3.1")
DOCKER = replace(DEBIAN_13, engine="docker", version="26.1.5", network="bridge", rootless=False)


def case(
    name: str, outcome: Outcome = "passed", *, out: str = "", err: str = "", status: int = 0, got: str = "", **seen: Any
) -> CaseResult:
    """A case of one command."""
    ran = Completed(("docker", "run", "image", name), status, out.encode(), err.encode(), 0.5)
    expected = {"expected": "something", "got": got or "nothing"} if outcome == "failed" else {}
    reason = {"reason": "no such thing here"} if outcome == "skipped" else {}
    record = Record([ran], seen)
    return CaseResult(name, "Group", f"Case {name}", outcome, 1.0, record, **expected, **reason)


def stored(name: str, *cases: CaseResult, profile: str = "recommended", facts: Any = DEBIAN_13) -> Verification:
    """A run's evidence, as a file would have it."""
    return Evidence(name, profile, facts, cases=list(cases)).record()


def write(directory: Path, name: str, *cases: CaseResult, profile: str = "recommended", facts: Any = DEBIAN_13) -> Path:
    """The file of a run's evidence."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}-{profile}.json"
    Evidence(name, profile, facts, cases=list(cases)).write(path)
    return path
