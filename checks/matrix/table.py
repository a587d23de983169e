"""The matrix as tables: a live one while it runs, and the summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from tabulate import tabulate

from checks.core.paths import GUIDE
from checks.hosts.base import TITLES
from checks.matrix.expectations import Expectations, Verdict
from checks.matrix.run import Job, State


def live(jobs: Sequence[Job]) -> Table:
    """How far each job is."""
    table = Table("Host", "Profile", "Phase", "Passed", "Failed", "Skipped", "Time", box=None)
    for job in jobs:
        counts = [str(job.counts[kind]) for kind in ("PASS", "FAIL", "SKIP")]
        table.add_row(job.host, job.profile, job.phase or job.state, *counts, clock(job.seconds))
    return table


def line(job: Job) -> str:
    """What is said of a job that has come to its end."""
    if job.state is not State.DONE:
        return f"{job.host} ({job.profile}): {job.state}: {job.message}"
    told = ", ".join(
        f"{job.counts[kind]} {word}" for kind, word in (("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped"))
    )
    return f"{job.host} ({job.profile}): {told}, {clock(job.seconds)}"


def summary(jobs: Sequence[Job], expectations: Expectations) -> str:
    """A row a job; below it what failed, and why, and what kept a host from being tested."""
    rows = [_row(job, job.verdicts(expectations)) for job in jobs]
    headers = ("Host", "Profile", "Engine", "Passed", "Expected failures", "Unexpected", "Skipped", "Time", "Verdict")
    return "\n".join([tabulate(rows, headers=headers), "", *_notes(jobs, expectations)]).rstrip()


def good(job: Job, expectations: Expectations) -> bool:
    """Whether a job that ran to its end shows what is known, and nothing else."""
    return all(verdict.good for verdict in job.verdicts(expectations).values())


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _row(job: Job, verdicts: dict[str, Verdict]) -> tuple[str, ...]:
    if job.evidence is None:
        return (job.host, job.profile, "", "", "", "", "", clock(job.seconds), str(job.state))
    facts = job.evidence.host
    count = [
        sum(verdict is each for verdict in verdicts.values()) for each in (Verdict.PASSED, Verdict.EXPECTED_FAILURE)
    ]
    bad = sum(not verdict.good for verdict in verdicts.values())
    skipped = sum(verdict is Verdict.SKIPPED for verdict in verdicts.values())
    return (
        job.host, job.profile, f"{TITLES[facts.engine]} {facts.version}", *(str(each) for each in count),
        str(bad), str(skipped), clock(job.seconds), "unexpected" if bad else "as expected",
    )  # fmt: skip


def _notes(jobs: Sequence[Job], expectations: Expectations) -> Iterator[str]:
    for job in jobs:
        if job.evidence is None:
            yield f"{job.host} ({job.profile}) was not tested: {job.message or job.state}"
            continue
        for case in job.evidence.cases:
            verdict, known = expectations.judge(case, job.evidence.host), expectations.of(case.id, job.evidence.host)
            told = f"{job.host} ({job.profile}): {case.label}: {verdict}"
            if known:
                yield f"{told}: {known.because} ({GUIDE}#{known.entry})"
            elif verdict is Verdict.FAILED:
                yield f"{told}: expected {case.expected}; got {case.got}"
            elif verdict is Verdict.SKIPPED:
                yield f"{told}: {case.reason}"
