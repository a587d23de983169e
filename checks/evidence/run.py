"""A verification while it runs: the host's facts, and how each case ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from checks.core.process import Completed, Extent, extent
from checks.engine.docker import Record, plain
from checks.evidence import store
from checks.evidence.model import Case, Command, Host, Outcome, Output, Verification
from checks.evidence.store import Provenance, build
from checks.hosts.facts import Facts

CRASHED = "the case to finish without an error of its own"
"""The expectation in the report of a case that raised something other than a mismatch."""

_KEPT = 2000  # bytes of an output that the evidence holds in full


@dataclass
class CaseResult:
    """How one case ended."""

    id: str
    group: str
    label: str
    outcome: Outcome
    seconds: float
    record: Record
    expected: str = ""
    got: str = ""
    reason: str = ""
    """Why it was skipped."""
    fix: str = ""
    """The quick fix of the troubleshooting entry for its failure."""
    entry: str = ""
    """Where that entry is."""
    accepted: str = ""
    """Why the user accepts its failure."""

    @property
    def failed(self) -> bool:
        """Whether it failed, and nobody accepts that."""
        return self.outcome == "failed" and not self.accepted

    @property
    def crashed(self) -> bool:
        """Whether an error of this project ended it, or a result that this project does not understand."""
        return self.expected == CRASHED


@dataclass
class Evidence:
    """The evidence of a run that is not over."""

    host: str
    profile: str
    facts: Facts
    agent: str = ""
    """The agent that ran, and the base of its image; empty where none ran."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    cases: list[CaseResult] = field(default_factory=list)

    @property
    def described_host(self) -> Host:
        """The host as the evidence has it."""
        values: dict[str, object] = Provenance(self.host, self.profile, self.facts).values()
        return msgspec.convert(values["host"], Host)

    def record(self) -> Verification:
        """The run as its file has it."""
        return build(
            Verification,
            {
                **Provenance(self.host, self.profile, self.facts, self.started).values(),
                "agent": self.agent,
                "cases": [_case(case) for case in self.cases],
            },
        )

    def write(self, path: Path, *, private: bool = False) -> None:
        """Write it as JSON; ``private``: readable by its owner alone."""
        store.write(path, self.record(), private=private)


def _case(case: CaseResult) -> Case:
    failed = case.outcome == "failed"
    return Case(
        id=case.id,
        group=case.group,
        label=case.label,
        outcome=case.outcome,
        seconds=round(case.seconds, 3),
        expected=case.expected if failed else None,
        got=case.got if failed else None,
        fix=case.fix if failed else "",
        entry=case.entry if failed else "",
        reason=case.reason,
        accepted=case.accepted,
        commands=[_command(done) for done in case.record.commands],
        observations=case.record.observations,
    )


def _command(done: Completed) -> Command:
    return Command(
        argv=plain(done.argv),
        status=done.returncode,
        seconds=round(done.seconds, 3),
        stdout=_output(done.stdout_bytes, done.stdout_extent),
        stderr=_output(done.stderr_bytes, done.stderr_extent),
    )


def _output(kept: bytes, complete: Extent | None) -> Output:
    printed = complete or extent(kept)
    return Output(bytes=printed.bytes, sha256=printed.sha256, text=kept[:_KEPT].decode(errors="replace"))
