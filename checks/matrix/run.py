"""Runs verifications on several hosts, one or two at a time, each in a process of its own.

With two at a time, a host's cases are split over two copies of it: an emulated guest uses little more than one CPU.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from checks.core.children import Children
from checks.core.errors import Exit, Problem
from checks.core.owned_paths import opened_directory
from checks.core.run_directories import Run
from checks.engine.prepared_host import profiles
from checks.evidence import store
from checks.evidence.model import AgentVerification, Verification
from checks.hosts import recipe
from checks.matrix.expectations import Expectations, Verdict
from checks.nanoclaw.agent import of_checkout
from checks.nanoclaw.contract import AgentProtocol

PARTS = {
    "recommended": (
        (
            "Image operations", "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits",
            "streams-passing-user", "databases-passing-user", "databases-follow-up",
        ),
        ("Edge cases", "Nanoclaw 2.2 driver", "Set-up and skills"),
    ),
    # Hosts without systemd run only the cases that depend on the init system or on cgroups.
    "plain": (
        (
            "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
            "docker ps --filter", "Bind mounts",
        ),
        ("Resource limits", "streams-passing-user", "simultaneous", "Container timeout", "killed-client", "orphan"),
    ),
    # The same without the agent, which does not depend on the cgroup version.
    "legacy": (
        (
            "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
            "docker ps --filter",
        ),
        ("Bind mounts", "Resource limits", "simultaneous", "Container timeout", "killed-client", "orphan"),
    ),
    # Only the recommended setting makes these pass; the other cases do not depend on it.
    "stock": (("Writable workspace",),),
    # With a nanoclaw checkout, those that start its agent; the others do not depend on it.
    AgentProtocol.STREAMS: (("Nanoclaw integration",),),
    AgentProtocol.DATABASES: (("Nanoclaw integration", "Whole nanoclaw"),),
}  # fmt: skip
"""The cases that a matrix runs, by profile, in parts of about the same duration. Instead of “recommended”, a host
without systemd has “plain”, and one with cgroup v1 “legacy”; a nanoclaw checkout has its protocol."""

_LINE = 4000  # characters of a child's line that are read at once
_CASE = re.compile(r"  \[(PASS|FAIL|SKIP)\] ")


class State(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    ERROR = "host error"
    NOT_TESTED = "not tested"


@dataclass
class Job:
    """One host with one profile, and its progress."""

    host: str
    profile: str
    state: State = State.WAITING
    phase: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"PASS": 0, "FAIL": 0, "SKIP": 0})
    seconds: float = 0.0
    evidence: Verification | None = None
    nanoclaw: str = ""
    """The checkout whose agent runs; empty for the stub agent."""
    message: str = ""
    """Why there is no evidence."""
    began: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a part of the job ends."""

    @property
    def title(self) -> str:
        """The host with its profile."""
        return f"{self.host} ({self.profile})"

    def verdicts(self, expectations: Expectations) -> dict[str, Verdict]:
        """The verdict on each case, by its id; empty without evidence."""
        if self.evidence is None:
            return {}
        return {case.id: expectations.judge(case, self.evidence.host) for case in self.evidence.cases}


def jobs_of(hosts: Sequence[str], nanoclaw: str = "") -> list[Job]:
    """A job for every profile of these hosts; with a nanoclaw checkout, for the default one. Raises WrongUsage."""
    chosen = [(host, profiles(recipe.load(host))) for host in hosts]
    return [Job(host, each, nanoclaw=nanoclaw) for host, known in chosen for each in (known[:1] if nanoclaw else known)]


def parts_of(host: str, profile: str) -> Sequence[Sequence[str]]:
    """Patterns of the cases that run, in parts. A host's first profile runs all that ``PARTS`` has for such a host."""
    what = recipe.load(host)
    if profile != profiles(what)[0]:
        return PARTS[profile]
    if what.init == "plain":
        return PARTS["legacy" if what.cgroups == "v1" else "plain"]
    return PARTS["recommended"]


def selection(host: str, profile: str) -> Sequence[str]:
    """Patterns of the cases that run, in all parts."""
    return [pattern for part in parts_of(host, profile) for pattern in part]


@dataclass
class _Part:
    """Some of a job's cases, which run on a separate copy of the host."""

    job: Job
    patterns: Sequence[str]
    evidence: Path
    """The file that its evidence is written to."""
    status: int | None = None
    message: str = ""


def run_all(
    jobs: Sequence[Job], run: Run, directory: Path, *, at_once: int, factor: str, changed: Callable[[], None]
) -> None:
    """Run the jobs and write their evidence to ``directory``; ``changed`` is called whenever a job makes progress.

    A job that writes no evidence gets the state ERROR or NOT_TESTED. An interrupt ends all jobs.
    """
    options = ["--at-once", "1", "--timeout-factor", factor, *(["--sharing"] if at_once > 1 else [])]
    with contextlib.closing(Children()) as children, ThreadPoolExecutor(at_once) as pool:
        started = [
            pool.submit(_run, part, parts, directory, options, children, changed)
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
            children.close()
            raise


def _split(job: Job, run: Run, at_once: int) -> Sequence[_Part]:
    agent = of_checkout(Path(job.nanoclaw)) if job.nanoclaw else None
    chosen = PARTS[agent.protocol] if agent else parts_of(job.host, job.profile)
    if at_once == 1:
        chosen = [[pattern for part in chosen for pattern in part]]
    return [
        _Part(job, patterns, run.directory / f"{job.host}-{job.profile}-{at}.json")
        for at, patterns in enumerate(chosen)
    ]


def _run(
    part: _Part,
    parts: Sequence[_Part],
    directory: Path,
    options: Sequence[str],
    children: Children,
    changed: Callable[[], None],
) -> None:
    job = part.job
    if job.state is State.WAITING:
        job.state, job.began = State.RUNNING, time.monotonic()
    words = [
        "invoke", "verify", "--host", job.host, "--profile", job.profile, "--json", str(part.evidence), *options,
        *(word for pattern in part.patterns for word in ("--only", pattern)),
        *(["--nanoclaw", job.nanoclaw] if job.nanoclaw else []),
    ]  # fmt: skip
    child = children.start(*words, stderr=subprocess.STDOUT)
    assert child.stdout
    for line in iter(partial(child.stdout.readline, _LINE), ""):
        if case := _CASE.match(line):
            job.counts[case[1]] += 1
        elif line.rstrip().endswith("…"):
            job.phase = line.rstrip(" …\n")
        elif not line.startswith(" ") and line.strip():
            part.message = line.strip()
        job.seconds = time.monotonic() - job.began
        changed()
    status = child.wait()
    if children.closed:
        return  # it was terminated
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
    kind = AgentVerification if job.nanoclaw else Verification
    directory /= kind.directory
    with opened_directory(directory, make=True):
        pass
    part_file = directory / f".{job.host}-{job.profile}.part"
    try:
        job.evidence = store.join([part.evidence for part in parts], part_file, kind)
    except Problem as problem:
        part_file.unlink(missing_ok=True)
        job.state, job.message = State.ERROR, str(problem)
        return
    job.state = State.DONE
    part_file.replace(directory / job.evidence.filename)
