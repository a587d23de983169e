"""The report: a line for each case, with the details of a failure below it."""

from __future__ import annotations

from rich.text import Text

from checks.core.progress import Console, plain_console
from checks.engine.docker import plain
from checks.evidence.run import CaseResult, Evidence
from checks.hosts.facts import TITLES
from checks.hosts.process import Completed

TITLE = "Docker→Podman Compatibility Tests"

_MARKS = {"passed": ("[PASS]", "green"), "failed": ("[FAIL]", "bold red"), "skipped": ("[SKIP]", "yellow")}
_SHOWN = 1500  # characters of an output
_LAST = 3  # commands of a failed case in the report; the evidence has all


class Report:
    """Prints the report while the cases run."""

    def __init__(self, shown: Console | None = None) -> None:
        self._console = shown or plain_console()
        self._group = ""

    def begin(self) -> None:
        """The title."""
        self._print(TITLE)
        self._print("=" * (len(TITLE) + 1))

    def host(self, evidence: Evidence) -> None:
        """The host and its engine, in two lines."""
        facts = evidence.facts
        self._print(f"Host: {evidence.host} ({evidence.profile}): {facts.distribution}, kernel {facts.kernel}")
        parts = (facts.runtime, facts.network, f"cgroups {facts.cgroups}", f"storage {facts.storage}")
        self._print(f"{TITLES[facts.engine]} {facts.version} ({', '.join(part for part in parts if part)})")

    def case(self, case: CaseResult) -> None:
        """A case's line below its group's heading; for a failure also its commands, expected and got."""
        if case.group != self._group:
            self._group = case.group
            self._print("")
            self._print(f"{case.group}:")
        mark, style = _MARKS[case.outcome]
        line = Text("  ").append(mark, style).append(f" {case.label}")
        if case.outcome == "skipped":
            line.append(f": {case.reason}")
        self._console.print(line)
        if case.outcome == "failed":
            for detail in failure(case):
                self._print(f"         {detail}")

    def end(self, evidence: Evidence) -> None:
        """The agent and the count. A skipped case counts as a case, but not as passed."""
        cases = evidence.cases
        passed = sum(case.outcome == "passed" for case in cases)
        skipped = sum(case.outcome == "skipped" for case in cases)
        self._print("")
        if evidence.agent:
            self._print(f"Agent: {evidence.agent}")
        self._print(f"Results: {passed}/{len(cases)} passed" + (f", {skipped} skipped" if skipped else ""))

    def note(self, text: str) -> None:
        """A line of its own."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(text))


def failure(case: CaseResult) -> list[str]:
    """The lines below a failed case."""
    lines: list[str] = []
    left_out = len(case.record.commands) - _LAST
    if left_out > 0:
        lines.append(f"({left_out} earlier commands: see --json or --verbose)")
    for done in case.record.commands[-_LAST:]:
        lines += _command(done)
    lines += _field("expected:", case.expected)
    lines += _field("got:", case.got)
    return [*lines, f"fix:      {case.fix}"]


def _command(done: Completed) -> list[str]:
    words = Completed(tuple(plain(done.argv)), done.returncode, b"", b"", done.seconds)
    lines = _field("ran:", words.command)
    lines.append(f"status:   {done.returncode} after {done.seconds:.1f} s")
    for name, text in (("stdout:", done.stdout), ("stderr:", done.stderr)):
        if text.strip():
            cut = f"{text[:_SHOWN]}… ({len(text)} characters)" if len(text) > _SHOWN else text
            lines += _field(name, cut.strip())
    return lines


def _field(name: str, text: str) -> list[str]:
    first, *others = text.split("\n")
    return [f"{name:<10}{first}", *(f"{'':10}{line}" for line in others)]
