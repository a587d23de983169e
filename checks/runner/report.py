"""The report: a line for each case, with the details of a failure below it."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from checks.core.errors import Problem, ReaderGone
from checks.core.lines import lines_of
from checks.core.process import Completed
from checks.core.progress import Console, plain_console
from checks.engine.docker import NOTICE, plain
from checks.evidence.run import CaseResult, Evidence
from checks.hosts.facts import TITLES

TITLE = "Docker→Podman Compatibility Tests"

_MARKS = {"passed": ("[PASS]", "green"), "failed": ("[FAIL]", "bold red"), "skipped": ("[SKIP]", "yellow")}
_SHOWN = 1500  # characters of an output
_LAST = 3  # commands of a failed case in a verbose report; the evidence has all
_COLUMNS, _ROWS = 80, 6  # of a terminal; rows below the line of a failed case
_STATUS = re.compile(r"\b(?:exit )?status (\d{1,3})\b")
_INDENT, _NAME = "         ", 10  # before and for the name of a field


class Report:
    """Prints the report while the cases run."""

    def __init__(self, shown: Console | None = None, *, verbose: bool = False) -> None:
        self._console = shown or plain_console()
        self._verbose = verbose
        self._group = ""
        self._cases: list[CaseResult] = []

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
        self._cases.append(case)
        if case.group != self._group:
            self._group = case.group
            self._print("")
            self._print(f"{case.group}:")
        mark, style = _MARKS[case.outcome]
        line = Text("  ").append(mark, style).append(f" {case.label}")
        if case.outcome == "skipped":
            line.append(f": {case.reason}")
        if case.accepted:
            line.append(f" (accepted: {case.accepted})")
        self._console.print(line)
        if case.outcome == "failed":
            for detail in failure(case, verbose=self._verbose):
                self._print(f"{_INDENT}{detail}")

    def end(self, evidence: Evidence) -> None:
        """The agent, the counts and the failed cases. A skipped case counts as a case, but not as passed."""
        self._print("")
        if evidence.agent:
            self._print(f"Agent: {evidence.agent}")
        self._print(f"{_summary(evidence.cases)} ({evidence.host})")

    @contextlib.contextmanager
    def summarized_if_stopped(self) -> Iterator[None]:
        """Print the counts of the cases that have ended if an error or the user stops the block."""
        try:
            yield
        except ReaderGone:
            raise
        except (KeyboardInterrupt, Problem):
            if self._cases:
                self._print(f"\nThe run did not reach its end. So far:\n{_summary(self._cases)}")
            raise

    def note(self, text: str) -> None:
        """A line of its own."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(text))


def _summary(cases: Sequence[CaseResult]) -> str:
    """The failed cases and the counts."""
    count = Counter(case.outcome for case in cases)
    others = [f"{count[outcome]} {outcome}" for outcome in ("failed", "skipped") if count[outcome]]
    named = {
        "Failed": [case.label for case in cases if case.failed],
        "Failed, accepted": [case.label for case in cases if case.accepted],
    }
    lines = [f"{what}: {'; '.join(labels)}" for what, labels in named.items() if labels]
    results = ", ".join([f"{count['passed']}/{len(cases)} passed", *others])
    return "\n".join([*lines, f"Results: {results}"])


def failure(case: CaseResult, *, verbose: bool) -> list[str]:
    """The lines below a failed case: in short, at most six rows of a terminal with 80 columns; else with all output."""
    lines = _all_commands(case.record.commands[-_LAST:]) if verbose else _one_command(case)
    lines += _field("expected:", case.expected, rows=None if verbose else 1)
    # The entry's address is kept whole, so that it can be opened.
    entry = _field("more:", case.entry, rows=None) if case.entry else []
    fix = _field("fix:", case.fix, rows=None if verbose else 1) if case.fix else []
    room = _ROWS - len(lines) - len(fix) - sum(-(-len(f"{_INDENT}{line}") // _COLUMNS) for line in entry)
    got = _field("got:", case.got, rows=None) if verbose else _field("got:", _got(case), rows=max(1, room))
    return [*lines, *got, *fix, *entry]


def _got(case: CaseResult) -> str:
    """What came, with the last line of a failed command's stderr, which has its reason."""
    got = NOTICE.sub("", case.got)
    stderr = NOTICE.sub("", case.record.commands[-1].stderr).strip() if case.record.commands else ""
    if not stderr or case.record.commands[-1].returncode == 0:
        return got
    reason = lines_of(stderr)[-1]
    return got if reason in got else f"{got}; stderr: {reason}"


def _one_command(case: CaseResult) -> list[str]:
    """The command that explains a failure in one row: the last with the status that the case got, or the last one."""
    commands = case.record.commands
    if not commands:
        return []
    found = _STATUS.search(case.got)
    done = next((each for each in reversed(commands) if found and each.returncode == int(found[1])), commands[-1])
    status = f" → {done.returncode}"
    [line] = _field("ran:", Completed(tuple(plain(done.argv)), 0, b"", b"", 0).command, rows=1, room=len(status))
    return [line + status]


def _all_commands(commands: Sequence[Completed]) -> list[str]:
    return [line for done in commands for line in _command(done)]


def _command(done: Completed) -> list[str]:
    words = Completed(tuple(plain(done.argv)), done.returncode, b"", b"", done.seconds)
    lines = _field("ran:", words.command, rows=None)
    lines.append(f"status:   {done.returncode} after {done.seconds:.1f} s")
    for name, text in (("stdout:", done.stdout), ("stderr:", done.stderr)):
        if text.strip():
            cut = f"{text[:_SHOWN]}… ({len(text)} characters)" if len(text) > _SHOWN else text
            lines += _field(name, cut.strip(), rows=None)
    return lines


def _field(name: str, text: str, *, rows: int | None, room: int = 0) -> list[str]:
    """A field's lines. With ``rows``, the text in one paragraph, cut to so many rows; ``room`` columns stay free."""
    if rows is not None:
        width = _COLUMNS - len(_INDENT) - _NAME - room
        lines = textwrap.wrap(text[:_SHOWN], width, max_lines=rows, placeholder="…") or [""]
    else:
        lines = text.split("\n")
    first, *others = lines
    return [f"{name:<{_NAME}}{first}", *(f"{'':{_NAME}}{line}" for line in others)]
