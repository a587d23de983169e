"""Runs of several hosts, one or two at a time, each a verification in a process of its own.

Where two run at a time, a host's cases run on two copies of it side by side: a guest under emulation keeps little more
than one processor busy, however many it has.
"""

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

from checks.core.errors import Exit, Problem
from checks.core.paths import ROOT
from checks.core.run_directories import Run
from checks.engine.prepared_host import profiles
from checks.evidence import store
from checks.evidence.model import Verification
from checks.hosts import recipe
from checks.matrix.expectations import Expectations, Verdict

PARTS = {
    "recommended": (
        ("Image operations", "Container lifecycle"),
        ("Bind mounts", "Environment and user", "Resource limits", "streams-passing-user", "Edge cases"),
    ),
    # The same cases, in halves for an engine that builds slowly and runs no agent.
    "docker": (
        ("Image operations", "docker run", "docker stop", "docker rm"),
        (
            "docker ps", "Bind mounts", "Environment and user", "Resource limits", "streams-passing-user",
            "Edge cases",
        ),
    ),
    # What the first process and its control groups decide; all else is as on the host that this one is made after.
    "plain": (
        (
            "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
            "docker ps --filter", "Bind mounts",
        ),
        ("Resource limits", "streams-passing-user", "simultaneous", "Container timeout", "killed-client", "orphan"),
    ),
    # The same without an agent, to whom the hierarchy is all one.
    "legacy": (
        (
            "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
            "docker ps --filter",
        ),
        ("Bind mounts", "Resource limits", "simultaneous", "Container timeout", "killed-client", "orphan"),
    ),
    # What the recommended setting is for; all else is the same with and without it.
    "stock": (("Writable workspace",),),
}  # fmt: skip
"""The cases that a matrix runs, by profile: patterns, in parts that take about as long as each other. A host without
systemd has “plain” in place of the recommended ones, with cgroup v1 “legacy”, one of Docker Engine “docker”."""

_CASE = re.compile(r"  \[(PASS|FAIL|SKIP)\] ")


class State(StrEnum):
    """How a run of the matrix stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    ERROR = "host error"
    NOT_TESTED = "not tested"


@dataclass
class Job:
    """One host with one profile, and how far it is."""

    host: str
    profile: str
    state: State = State.WAITING
    phase: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"PASS": 0, "FAIL": 0, "SKIP": 0})
    seconds: float = 0.0
    evidence: Verification | None = None
    message: str = ""
    """Why there is no evidence."""
    began: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held where its parts meet."""

    def verdicts(self, expectations: Expectations) -> dict[str, Verdict]:
        """By case; empty without evidence."""
        if self.evidence is None:
            return {}
        return {case.id: expectations.judge(case, self.evidence.host) for case in self.evidence.cases}


def jobs_of(hosts: Sequence[str]) -> list[Job]:
    """Every profile of these hosts. Raises WrongUsage for a host that is not known."""
    return [Job(host, profile) for host in hosts for profile in profiles(recipe.load(host))]


def parts_of(host: str, profile: str) -> Sequence[Sequence[str]]:
    """Which cases run, in parts: a host that has but one profile runs what others run with their first."""
    what = recipe.load(host)
    if profile != profiles(what)[0]:
        return PARTS[profile]
    if what.init == "plain":
        return PARTS["legacy" if what.cgroups == "v1" else "plain"]
    return PARTS["docker" if what.engine == "docker" else "recommended"]


def selection(host: str, profile: str) -> Sequence[str]:
    """Which cases run, all parts together."""
    return [pattern for part in parts_of(host, profile) for pattern in part]


@dataclass
class _Part:
    """Some of a job's cases, on a copy of the host of their own."""

    job: Job
    patterns: Sequence[str]
    written: Path
    """Where its evidence comes to stand."""
    status: int | None = None
    message: str = ""


def run_all(
    jobs: Sequence[Job], run: Run, directory: Path, *, at_once: int, factor: str, changed: Callable[[], None]
) -> None:
    """Run the jobs and leave their evidence in ``directory``; ``changed`` is called whenever one has got on.

    A job that gives no evidence is noted as such; an interrupt ends them all.
    """
    further = ["--timeout-factor", factor, *(["--sharing"] if at_once > 1 else [])]
    with _children() as children, ThreadPoolExecutor(at_once) as pool:
        started = [
            pool.submit(_run, part, parts, directory, further, children, changed)
            for job in jobs
            for parts in [_split(job, run, at_once)]
            for part in parts
        ]
        try:
            for each in started:
                each.result()
        except BaseException:
            for each in started:
                each.cancel()
            children.end()
            raise


def _split(job: Job, run: Run, at_once: int) -> Sequence[_Part]:
    chosen = parts_of(job.host, job.profile) if at_once > 1 else [selection(job.host, job.profile)]
    return [
        _Part(job, patterns, run.directory / f"{job.host}-{job.profile}-{at}.json")
        for at, patterns in enumerate(chosen)
    ]


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


def _run(
    part: _Part,
    parts: Sequence[_Part],
    directory: Path,
    further: Sequence[str],
    children: _Children,
    changed: Callable[[], None],
) -> None:
    job = part.job
    if job.state is State.WAITING:
        job.state, job.began = State.RUNNING, time.monotonic()
    argv = [
        sys.executable, "-u", "-m", "invoke", "verify", "--host", job.host, "--profile", job.profile,
        "--json", str(part.written), *further,
        *(word for pattern in part.patterns for word in ("--only", pattern)),
    ]  # fmt: skip
    child = children.start(argv)
    assert child.stdout
    for line in child.stdout:
        if case := _CASE.match(line):
            job.counts[case[1]] += 1
        elif line.rstrip().endswith("…"):
            job.phase = line.rstrip(" …\n")
        elif not line.startswith(" ") and line.strip():
            part.message = line.strip()
        job.seconds = time.monotonic() - job.began
        changed()
    status = child.wait()
    if children.over:
        return  # it was told to end, and has nothing to say
    with job.lock:
        part.status = status
        job.seconds = time.monotonic() - job.began
        if all(each.status is not None for each in parts):
            job.phase = ""
            _conclude(job, parts, directory)
    changed()


def _conclude(job: Job, parts: Sequence[_Part], directory: Path) -> None:
    for part in parts:
        if part.status not in (Exit.OK, Exit.CASE_FAILED):
            job.state = State.NOT_TESTED if part.status == Exit.NOT_TESTED else State.ERROR
            job.message = part.message
            return
    directory.mkdir(exist_ok=True)
    aside = directory / f".{job.host}-{job.profile}.part"
    try:
        job.evidence = store.join([part.written for part in parts], aside)
    except Problem as problem:
        aside.unlink(missing_ok=True)
        job.state, job.message = State.ERROR, str(problem)
        return
    job.state = State.DONE
    aside.replace(directory / job.evidence.filename)
