"""The results of a matrix: a live table, the summary, and an HTML page without scripts or other files."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from tabulate import tabulate

from checks.core.paths import GUIDE
from checks.core.rendering import render_template
from checks.evidence.model import Verification
from checks.hosts.facts import TITLES
from checks.matrix.expectations import Expectations, Verdict
from checks.matrix.run import Job, State

_CELLS = {
    Verdict.PASSED: ("passed", "✓"),
    Verdict.SKIPPED: ("skipped", "–"),
    Verdict.EXPECTED_FAILURE: ("expected", "✗"),
    Verdict.FAILED: ("failed", "✗"),
    Verdict.UNEXPECTED_PASS: ("unexpected", "!"),
}
"""The class and the mark of a cell."""
_NOT_RUN = {"kind": "none", "mark": "–", "title": "not run on this host"}


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


# On the terminal


def live(jobs: Sequence[Job]) -> Table:
    """The progress of each job."""
    table = Table("Host", "Profile", "Phase", "Passed", "Failed", "Skipped", "Time", box=None)
    for job in jobs:
        counts = [str(job.counts[kind]) for kind in ("PASS", "FAIL", "SKIP")]
        table.add_row(job.host, job.profile, job.phase or job.state, *counts, clock(job.seconds))
    return table


def line(job: Job) -> str:
    """The result of a job in one line."""
    if job.state is not State.DONE:
        return f"{job.title}: {job.state}: {job.message}"
    words = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}
    return f"{job.title}: {', '.join(f'{job.counts[kind]} {words[kind]}' for kind in words)}, {clock(job.seconds)}"


def summary(jobs: Sequence[Job], expectations: Expectations) -> str:
    """A row for each job; then each case that did not pass, and each host that was not tested, with the reason."""
    headers = ("Host", "Profile", "Engine", "Passed", "Expected failures", "Unexpected", "Skipped", "Time", "Verdict")
    rows = [_row(job, expectations) for job in jobs]
    return "\n".join([tabulate(rows, headers=headers), "", *_notes(jobs, expectations)]).rstrip()


def good(job: Job, expectations: Expectations) -> bool:
    """Whether the results of a job are as expected."""
    return all(verdict.good for verdict in job.verdicts(expectations).values())


def _row(job: Job, expectations: Expectations) -> tuple[str | int, ...]:
    if job.evidence is None:
        return (job.host, job.profile, "", "", "", "", "", clock(job.seconds), str(job.state))
    count = Counter(job.verdicts(expectations).values())
    unexpected = count[Verdict.FAILED] + count[Verdict.UNEXPECTED_PASS]
    return (
        job.host, job.profile, _engine(job.evidence), count[Verdict.PASSED], count[Verdict.EXPECTED_FAILURE],
        unexpected, count[Verdict.SKIPPED], clock(job.seconds), "unexpected" if unexpected else "as expected",
    )  # fmt: skip


def _notes(jobs: Sequence[Job], expectations: Expectations) -> Iterator[str]:
    for job in jobs:
        if job.evidence is None:
            yield f"{job.title} was not tested: {job.message or job.state}"
            continue
        for case in job.evidence.cases:
            verdict = expectations.judge(case, job.evidence.host)
            result = f"{job.title}: {case.label}: {verdict}"
            if expected := expectations.of(case.id, job.evidence.host):
                yield f"{result}: {expected.because} ({GUIDE}#{expected.entry})"
            elif verdict is Verdict.FAILED:
                yield f"{result}: expected {case.expected}; got {case.got}"
            elif verdict is Verdict.SKIPPED:
                yield f"{result}: {case.reason}"


def _engine(run: Verification) -> str:
    return f"{TITLES[run.host.engine]} {run.host.version}"


# As a page


def page(jobs: Sequence[Job], expectations: Expectations) -> str:
    """The HTML page."""
    tested = [(job, job.evidence) for job in jobs if job.evidence]
    groups: dict[str, dict[str, str]] = {}
    for _, run in tested:
        for case in run.cases:
            groups.setdefault(case.group, {}).setdefault(case.id, case.label)
    return render_template(
        "matrix.html.j2",
        when=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        jobs=[{"host": job.host, "profile": job.profile, "engine": _engine(run)} for job, run in tested],
        groups=[
            {
                "name": name,
                "rows": [
                    {"label": label, "cells": [_cell(run, case, expectations) for _, run in tested]}
                    for case, label in cases.items()
                ],
            }
            for name, cases in groups.items()
        ],
        untested=[job for job in jobs if job.evidence is None],
        failures=[failure for job, run in tested for failure in _failures(job, run, expectations)],
    )


def _cell(run: Verification, id_: str, expectations: Expectations) -> dict[str, str]:
    case = run.case(id_)
    if case is None:
        return _NOT_RUN
    verdict = expectations.judge(case, run.host)
    kind, mark = _CELLS[verdict]
    expected = expectations.of(id_, run.host)
    reason = expected.because if expected else case.reason or case.got
    return {"kind": kind, "mark": mark, "title": f"{verdict}: {reason}" if reason else str(verdict)}


def _failures(job: Job, run: Verification, expectations: Expectations) -> Iterator[dict[str, Any]]:
    for case in run.cases:
        verdict = expectations.judge(case, run.host)
        if verdict in (Verdict.PASSED, Verdict.SKIPPED):
            continue
        kind, mark = _CELLS[verdict]
        yield {
            "id": f"{job.host}-{job.profile}-{case.id}",
            "kind": kind,
            "mark": mark,
            "host": job.title,
            "label": case.label,
            "verdict": str(verdict),
            "reason": expectations.of(case.id, run.host),
            "expected": case.expected or "a failure",
            "got": case.got or "a pass",
            "commands": [(shlex.join(command.argv), command) for command in case.commands[-3:]],
        }
