"""``invoke matrix``: the verification on several hosts, compared with the expected failures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.live import Live

from checks.core import files, run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.options import EvidenceOption, TimeoutFactorOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory, require_file
from checks.core.progress import Progress, plain_console
from checks.core.terminal import say_text
from checks.hosts import recipe
from checks.matrix import expectations, page, report
from checks.matrix.expectations import Expectations
from checks.matrix.run import Job, State, jobs_of, run_all
from checks.nanoclaw import agent
from checks.runner import verify

_MAX_AT_ONCE = 2  # more guests slow each other down by more than they save


@dataclass(frozen=True)
class MatrixOptions:
    """The options of ``invoke matrix``."""

    host: Annotated[Sequence[str], "a throwaway host; repeatable (default: all, see invoke hosts)"] = ()
    at_once: Annotated[str, "run this many cases of a host at a time, on as many copies of it: 1 or 2"] = "1"
    html: Annotated[str, "write the verdicts and the results to this file, as one HTML page"] = ""
    evidence: EvidenceOption = "evidence"
    timeout_factor: TimeoutFactorOption = "1"
    nanoclaw: Annotated[str, "run the cases that start an agent, with that of this nanoclaw checkout"] = ""


def matrix(options: MatrixOptions) -> Exit:
    """Run the verification on several throwaway hosts, and compare each result with the expected failures.

    Exit status: 0 every result is as expected; 1 at least one is not; 2 wrong usage; 3 a host can't be built or booted
    here; 4 no host was tested, because the package archives are unreachable.
    """
    return run_and_report(lambda: _matrix(options), Progress().say)


def _matrix(options: MatrixOptions) -> Exit:
    if options.at_once not in [str(n) for n in range(1, _MAX_AT_ONCE + 1)]:
        raise WrongUsage(f"--at-once is {options.at_once}; it must be a number from 1 to {_MAX_AT_ONCE}.")
    require_file("--html", options.html)
    require_directory("--evidence", options.evidence)
    verify.factor_of(options.timeout_factor)
    for host in options.host:
        if host not in recipe.known():
            raise WrongUsage(
                f"“{host}” is not a throwaway host; a matrix runs on throwaway hosts only.",
                f"Known: {', '.join(recipe.known())}. For another machine: invoke verify --host HOST",
            )
    if twice := {host for host in options.host if options.host.count(host) > 1}:
        raise WrongUsage(f"--host {min(twice)} is given twice.")
    known = expectations.load()
    if options.nanoclaw:
        agent.of_checkout(Path(options.nanoclaw).absolute())
    jobs = jobs_of(options.host or recipe.known(), options.nanoclaw and str(Path(options.nanoclaw).absolute()))
    with run_directories.new_run() as run:
        _run_jobs(jobs, run, options)
    say_text(report.summary(jobs, known))
    if options.html:
        files.replace(Path(options.html), page.page(jobs, known).encode())
    return status(jobs, known)


def status(jobs: Sequence[Job], known: Expectations) -> Exit:
    """The exit status of all jobs."""
    if not all(report.good(job, known) for job in jobs):
        return Exit.CASE_FAILED
    if any(job.state is State.ERROR for job in jobs):
        return Exit.HOST_UNUSABLE
    return Exit.NOT_TESTED if all(job.state is State.NOT_TESTED for job in jobs) else Exit.OK


def _run_jobs(jobs: Sequence[Job], run: run_directories.Run, options: MatrixOptions) -> None:
    console = plain_console()

    def start(changed: Callable[[], None]) -> None:
        directory, at_once = Path(options.evidence).absolute(), int(options.at_once)
        run_all(jobs, run, directory, at_once=at_once, factor=options.timeout_factor, changed=changed)

    if not console.is_terminal:
        start(JobLog(jobs, Progress()).update)
        return
    with Live(report.live(jobs), console=console, transient=True, refresh_per_second=2) as live:
        start(lambda: live.update(report.live(jobs)))


class JobLog:
    """The progress without a terminal: a line when a job starts a step, and when it ends."""

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self._jobs = jobs
        self._progress = progress
        self._printed: set[str] = set()
        self._lock = threading.Lock()

    def update(self) -> None:
        """Print the lines that are new."""
        with self._lock:
            for job in self._jobs:
                over = job.state not in (State.WAITING, State.RUNNING)
                phase = f"{job.title}: {job.phase} …" if job.phase else ""
                for line in (phase, report.line(job) if over else ""):
                    if line and line not in self._printed:
                        self._printed.add(line)
                        self._progress.say(line)
