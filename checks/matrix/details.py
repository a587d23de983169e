"""What a reader can ask of a cell of the matrix: its verdict, and of a case that did not pass, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from checks.engine.docker import NOTICE
from checks.evidence.model import Case, Command, Verification
from checks.guide.catalogue import Entry
from checks.matrix.differences import normalized
from checks.matrix.expectations import Expectations, Verdict

NOT_TESTED = "–"
"""The mark of a case that did not run on a host."""
MARKS = {
    Verdict.PASSED: "✓",
    Verdict.SKIPPED: "○",
    Verdict.EXPECTED_FAILURE: "✗",
    Verdict.FAILED: "✗",
    Verdict.UNEXPECTED_PASS: "!",
}
"""The mark of each verdict."""


@dataclass(frozen=True)
class Detail:
    """One case that did not pass on one host."""

    run: Verification
    case: Case
    verdict: Verdict
    because: str
    """Why it is expected to fail, or why it was skipped."""
    entry: str
    """The anchor of its troubleshooting entry; empty without one."""
    entry_title: str
    fix: str
    """The fix in one line, as Markdown; empty without one."""

    @property
    def id(self) -> str:
        """The anchor in the page."""
        return f"{self.run.name}-{self.run.profile}-{self.case.id}"

    @property
    def where(self) -> str:
        """The host with its profile."""
        return f"{self.run.name} ({self.run.profile})"

    @property
    def expected(self) -> str:
        """What the case expected."""
        return self.case.expected or "a failure"

    @property
    def got(self) -> str:
        """What it got."""
        return self.case.got or "a pass"

    @property
    def commands(self) -> Sequence[Command]:
        """The last commands of the case."""
        return self.case.commands[-3:]


def details(
    runs: Sequence[Verification], expectations: Expectations, entries: Mapping[str, Entry]
) -> Mapping[tuple[str, str, str], Detail]:
    """Every case that did not pass, by its host, profile and id."""
    found = (each for run in runs for each in _of_run(run, expectations, entries))
    return {(each.run.name, each.run.profile, each.case.id): each for each in found}


def _of_run(run: Verification, expectations: Expectations, entries: Mapping[str, Entry]) -> Iterator[Detail]:
    for case in run.cases:
        verdict = expectations.judge(case, run.host)
        if verdict is Verdict.PASSED:
            continue
        expected = expectations.of(case.id, run.host) if verdict is not Verdict.SKIPPED else None
        because = expected.because if expected else case.reason
        name = expected.entry if expected else case.entry.partition("#")[2]
        entry = entries.get(name)
        fix = entry.quick_fix if entry else case.fix
        yield Detail(run, case, verdict, because, name, entry.title if entry else name, fix)


def short(text: str, most: int = 150) -> str:
    """What a case expected or got in one line, without what differs between any two runs."""
    line = " ⏎ ".join(NOTICE.sub("", normalized(text)).strip().split("\n"))
    return line if len(line) <= most else f"{line[: most - 1]}…"
