"""Runs of several hosts, one or two at a time, each a verification in a process of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from checks.hosts import recipe
from checks.hosts.recipe import ROOT
from checks.matrix import stored
from checks.matrix.expectations import Expectations, Verdict
from checks.matrix.stored import Stored
from checks.problems import Exit, Problem
from checks.runs import Run
from checks.stage import profiles

SELECTIONS = {
    "recommended": (
        "Image operations", "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits",
        "streams-passing-user", "Edge cases",
    ),
    # What the recommended setting is for; all else is the same with and without it.
    "stock": ("Writable workspace",),
}  # fmt: skip
"""The cases that a matrix runs, by profile."""

_CASE = re.compile(r"  \[(PASS|FAIL|SKIP)\] ")


class State(StrEnum):
    """How a run of the matrix stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    ERROR = "error of the host"
    UNPROVEN = "unproven"


@dataclass
class Job:
    """One host with one profile, and how far it is."""

    host: str
    profile: str
    state: State = State.WAITING
    phase: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"PASS": 0, "FAIL": 0, "SKIP": 0})
    seconds: float = 0.0
    evidence: Stored | None = None
    message: str = ""
    """Why there is no evidence."""

    def verdicts(self, expectations: Expectations) -> dict[str, Verdict]:
        """By case; empty without evidence."""
        if self.evidence is None:
            return {}
        return {case["id"]: expectations.judge(case, self.evidence.host) for case in self.evidence.cases}


def jobs_of(hosts: Sequence[str]) -> list[Job]:
    """Every profile of these hosts. Raises WrongUsage for a host that is not known."""
    return [Job(host, profile) for host in hosts for profile in profiles(recipe.load(host))]


def selection(host: str, profile: str) -> Sequence[str]:
    """Which cases run: a host that has but one profile runs what others run with their first."""
    first = profiles(recipe.load(host))[0]
    return SELECTIONS["recommended" if profile == first else profile]


def run_all(
    jobs: Sequence[Job], run: Run, folder: Path, *, at_once: int, factor: str, changed: Callable[[], None]
) -> None:
    """Run the jobs and leave their evidence in ``folder``; ``changed`` is called whenever one has got on.

    A job that gives no evidence is noted as such; an interrupt ends them all.
    """
    with _children() as children, ThreadPoolExecutor(at_once) as pool:
        started = [pool.submit(_run, job, run, folder, factor, children, changed) for job in jobs]
        try:
            for each in started:
                each.result()
        except BaseException:
            for each in started:
                each.cancel()
            children.end()
            raise


class _Children:
    """The processes that run, to be ended together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self.over = False
        """Whether all were told to end."""

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self.over:
                raise KeyboardInterrupt
            child = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace",
            )  # fmt: skip
            self._running.append(child)
            return child

    def end(self) -> None:
        """Ask each to end, which cleans up, and wait for it."""
        with self._lock:
            self.over = True
            for child in self._running:
                if child.poll() is None:
                    child.terminate()
        for child in self._running:
            child.wait()


@contextlib.contextmanager
def _children() -> Iterator[_Children]:
    children = _Children()
    try:
        yield children
    finally:
        children.end()


def _run(job: Job, run: Run, folder: Path, factor: str, children: _Children, changed: Callable[[], None]) -> None:
    written = run.folder / f"{job.host}-{job.profile}.json"
    argv = [
        sys.executable, "-u", "-m", "invoke", "verify", "--host", job.host, "--profile", job.profile,
        "--json", str(written), "--timeout-factor", factor,
        *(word for pattern in selection(job.host, job.profile) for word in ("--only", pattern)),
    ]  # fmt: skip
    began = time.monotonic()
    job.state = State.RUNNING
    child = children.start(argv)
    assert child.stdout
    for line in child.stdout:
        if case := _CASE.match(line):
            job.counts[case[1]] += 1
        elif line.rstrip().endswith("…"):
            job.phase = line.rstrip(" …\n")
        elif not line.startswith(" ") and line.strip():
            job.message = line.strip()
        job.seconds = time.monotonic() - began
        changed()
    status = child.wait()
    if children.over:
        return  # it was told to end, and has nothing to say
    job.seconds = time.monotonic() - began
    job.phase = ""
    _conclude(job, status, written, folder)
    changed()


def _conclude(job: Job, status: int, written: Path, folder: Path) -> None:
    if status not in (Exit.OK, Exit.CASE_FAILED):
        job.state = State.UNPROVEN if status == Exit.UNPROVEN else State.ERROR
        return
    try:
        job.evidence = stored.read(written)
    except Problem as problem:
        job.state, job.message = State.ERROR, str(problem)
        return
    job.state, job.message = State.DONE, ""
    folder.mkdir(exist_ok=True)
    aside = folder / f".{written.name}.part"
    aside.write_bytes(written.read_bytes())
    aside.replace(stored.path_of(job.host, job.profile, folder))
