"""Runs verifications on several hosts, one after another, each in a process of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from checks.core.children import Children
from checks.core.errors import Exit, Problem
from checks.core.run_directories import Run
from checks.engine.prepared_host import profiles
from checks.evidence import store
from checks.evidence.model import AgentVerification, Verification
from checks.hosts import recipe
from checks.matrix.expectations import Expectations, Verdict
from checks.nanoclaw.agent import of_checkout
from checks.nanoclaw.contract import AgentProtocol

CASES = {
    "recommended": (
        "Image operations", "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits",
        "streams-passing-user", "databases-passing-user", "databases-follow-up", "Edge cases", "Nanoclaw 2.2 driver",
        "Set-up and skills",
    ),
    # Hosts without systemd run only the cases that depend on the init system or on cgroups.
    "plain": (
        "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
        "docker ps --filter", "Bind mounts", "Resource limits", "streams-passing-user", "simultaneous",
        "Container timeout", "killed-client", "orphan",
    ),
    # The same without the agent, which does not depend on the cgroup version.
    "legacy": (
        "build-again", "docker info", "docker run -i --rm", "docker run --name", "as they come", "docker stop",
        "docker ps --filter", "Bind mounts", "Resource limits", "simultaneous", "Container timeout", "killed-client",
        "orphan",
    ),
    # Only the recommended setting makes these pass; the other cases do not depend on it.
    "stock": ("Writable workspace",),
    # With a nanoclaw checkout, those that start its agent; the others do not depend on it.
    AgentProtocol.STREAMS: ("Nanoclaw integration",),
    AgentProtocol.DATABASES: ("Nanoclaw integration", "Whole nanoclaw"),
}  # fmt: skip
"""Patterns of the cases that a matrix runs, by profile. Instead of “recommended”, a host without systemd has “plain”,
and one with cgroup v1 “legacy”; a nanoclaw checkout has its protocol."""

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


def selection(host: str, profile: str) -> Sequence[str]:
    """Patterns of the cases that run. A host's first profile runs all that ``CASES`` has for such a host."""
    what = recipe.load(host)
    if profile != profiles(what)[0]:
        return CASES[profile]
    if what.init == "plain":
        return CASES["legacy" if what.cgroups == "v1" else "plain"]
    return CASES["recommended"]


def run_all(
    jobs: Sequence[Job], run: Run, directory: Path, *, at_once: int, factor: str, changed: Callable[[], None]
) -> None:
    """Run the jobs and write their evidence to ``directory``; ``changed`` is called whenever a job makes progress.

    A job that writes no evidence gets the state ERROR or NOT_TESTED. An interrupt ends the running job.
    """
    with contextlib.closing(Children()) as children:
        for job in jobs:
            _run(job, run.directory / f"{job.host}-{job.profile}.json", at_once, factor, children, changed)
            if job.state is State.RUNNING:
                _conclude(job, run.directory / f"{job.host}-{job.profile}.json", directory)
            changed()


def _run(job: Job, evidence: Path, at_once: int, factor: str, children: Children, changed: Callable[[], None]) -> None:
    job.state, job.began = State.RUNNING, time.monotonic()
    agent = of_checkout(Path(job.nanoclaw)) if job.nanoclaw else None
    patterns = CASES[agent.protocol] if agent else selection(job.host, job.profile)
    child = children.start(
        "invoke", "verify", "--host", job.host, "--profile", job.profile, "--json", str(evidence),
        "--at-once", str(at_once), "--timeout-factor", factor,
        *(word for pattern in patterns for word in ("--only", pattern)),
        *(["--nanoclaw", job.nanoclaw] if job.nanoclaw else []),
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert child.stdout
    for line in iter(partial(child.stdout.readline, _LINE), ""):
        if case := _CASE.match(line):
            job.counts[case[1]] += 1
        elif line.startswith(" "):
            pass  # the details of a failed case
        elif line.rstrip().endswith("…"):
            job.phase = line.rstrip(" …\n")
        elif line.strip():
            job.message = line.strip()
        job.seconds = time.monotonic() - job.began
        changed()
    status = child.wait()
    job.seconds, job.phase = time.monotonic() - job.began, ""
    if status not in (Exit.OK, Exit.CASE_FAILED):
        job.state = State.NOT_TESTED if status == Exit.NOT_TESTED else State.ERROR


def _conclude(job: Job, written: Path, directory: Path) -> None:
    """Load a job's evidence, and move it to its directory."""
    kind = AgentVerification if job.nanoclaw else Verification
    try:
        job.evidence = store.load(written, kind)
    except Problem as problem:
        job.state, job.message = State.ERROR, str(problem)
        return
    job.state, job.message = State.DONE, ""
    store.save(job.evidence, directory / kind.directory)
