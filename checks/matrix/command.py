"""``invoke matrix``: several hosts, judged by what is known, one exit status."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.live import Live

from checks.core import files, run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory, require_file
from checks.core.progress import Progress, plain_console
from checks.core.terminal import say
from checks.hosts import recipe
from checks.matrix import expectations, page, table
from checks.matrix.expectations import Expectations
from checks.matrix.run import Job, State, jobs_of, run_all
from checks.runner import verify

AT_MOST = 2  # at once: more guests than that slow each other down more than they save


@dataclass(frozen=True)
class MatrixOptions:
    """What a user may ask of a matrix."""

    hosts: Sequence[str] = ()
    at_once: str = "1"
    html: str = ""
    evidence: str = "evidence"
    timeout_factor: str = "1"


def matrix(options: MatrixOptions) -> Exit:
    """Run the hosts and print the summary."""
    return run_and_report(lambda: _matrix(options), Progress().say)


def _matrix(options: MatrixOptions) -> Exit:
    if options.at_once not in [str(n) for n in range(1, AT_MOST + 1)]:
        raise WrongUsage(f"--at-once is {options.at_once}; it must be a number from 1 to {AT_MOST}.")
    require_file("--html", options.html)
    require_directory("--evidence", options.evidence)
    verify.factor_of(options.timeout_factor)
    for host in options.hosts:
        if host not in recipe.known():
            raise WrongUsage(
                f"“{host}” is not a throwaway host, and a matrix is of those alone.",
                f"Known: {', '.join(recipe.known())}. Another machine: invoke verify --host HOST",
            )
    if twice := {host for host in options.hosts if options.hosts.count(host) > 1}:
        raise WrongUsage(f"--host {min(twice)} is given twice.")
    known = expectations.load()
    jobs = jobs_of(options.hosts or recipe.known())
    with run_directories.new_run() as run:
        _show_while(jobs, run, options)
    say(table.summary(jobs, known))
    if options.html:
        files.replace(Path(options.html), page.render(jobs, known).encode())
    return status(jobs, known)


def status(jobs: Sequence[Job], known: Expectations) -> Exit:
    """What the jobs come to together."""
    if not all(table.good(job, known) for job in jobs):
        return Exit.CASE_FAILED
    if any(job.state is State.ERROR for job in jobs):
        return Exit.HOST_UNUSABLE
    return Exit.NOT_TESTED if all(job.state is State.NOT_TESTED for job in jobs) else Exit.OK


def _show_while(jobs: Sequence[Job], run: run_directories.Run, options: MatrixOptions) -> None:
    console = plain_console()

    def run_them(changed: Callable[[], None]) -> None:
        directory, at_once = Path(options.evidence).absolute(), int(options.at_once)
        run_all(jobs, run, directory, at_once=at_once, factor=options.timeout_factor, changed=changed)

    if not console.is_terminal:
        run_them(Lines(jobs, Progress()).tell)
        return
    with Live(table.live(jobs), console=console, transient=True, refresh_per_second=2) as live:
        run_them(lambda: live.update(table.live(jobs)))


class Lines:
    """What is told where there is no terminal: a line when a job starts something that takes long, and when it ends."""

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self._jobs = jobs
        self._progress = progress
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def tell(self) -> None:
        """Say what has not been said."""
        with self._lock:
            for job in self._jobs:
                over = job.state not in (State.WAITING, State.RUNNING)
                phase = f"{job.host} ({job.profile}): {job.phase} …" if job.phase else ""
                for line in (phase, table.line(job) if over else ""):
                    if line and line not in self._told:
                        self._told.add(line)
                        self._progress.say(line)
