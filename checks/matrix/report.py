"""The results of a matrix on the terminal: a live table, and the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.table import Table
from tabulate import tabulate

from checks.core.paths import GUIDE
from checks.matrix.expectations import Expectations, Verdict
from checks.matrix.overview import engine
from checks.matrix.run import Job, State


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


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
        job.host, job.profile, engine(job.evidence), count[Verdict.PASSED], count[Verdict.EXPECTED_FAILURE],
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
