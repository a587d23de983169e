"""One account's worker, a process of its own: runs single cases with one docker or another first on PATH.

Two of them work on a host at once. A line of JSON in, the description (``Description``); then a line for every case
(``Task``) and a line back (``TaskOutcome``), until the input ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from checks.core.bounded import parsed
from checks.core.errors import Problem
from checks.core.paths import ROOT
from checks.core.progress import Progress, plain_console
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost
from checks.engine.probe_image import PREPARED
from checks.evidence.run import CaseResult
from checks.hosts.base import Facts
from checks.hosts.ssh import SshHost
from checks.mutation.wrapped import WrappedHost
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import AgentProvider
from checks.runner.agent_plugin import Integration
from checks.runner.plugin import CRASHED, VerificationPlugin, run_pytest
from checks.runner.report import Report
from checks.runner.verify import CASES

FAILED, PASSED, SKIPPED, BROKEN, UNUSABLE = "failed", "passed", "skipped", "broken", "unusable"


@dataclass(frozen=True)
class Description:
    """The account, and what is there for it."""

    destination: str
    port: int
    options: list[str]
    sockets: str
    host: str
    slowness: float
    facts: dict[str, Any]
    profile: str
    run: str
    alone: bool
    """As ``PreparedHost.alone``."""
    wrappers: str
    """The directory there that has a directory with a ``docker`` for each sabotage."""
    settings: list[str]
    """Of the commands' environment there: workers compete."""
    nanoclaw: str
    slow: bool
    images: list[tuple[str, int, str]]
    """The agents' images that are there: context, uid, name."""


@dataclass(frozen=True)
class Task:
    """One case to run under one docker."""

    number: int
    """Unlike any other task's of the run: what a case makes must not be there from the time before."""
    docker: str
    node: str
    factor: float


@dataclass(frozen=True)
class TaskOutcome:
    """How the case ended.

    ``outcome``: failed (a mismatch or a time-out), passed, skipped, broken (the case itself broke, by an error in
    it), unusable (the host was held for unusable).
    """

    outcome: str
    expected: str = ""
    got: str = ""
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """What the failure says."""
        return f"expected {self.expected}; got {self.got}"


class Worker:
    """The account that cases run on."""

    def __init__(self, about: Description) -> None:
        Path(about.sockets).mkdir(mode=0o700, exist_ok=True)
        account = SshHost(
            about.destination, sockets=Path(about.sockets), port=about.port, options=about.options, name=about.host
        )
        account.slowness = about.slowness
        account.remember(Facts(**about.facts))
        self._about = about
        self.account = account
        self._wrapped = WrappedHost(account, about.settings)
        self._agents = available(about.nanoclaw)

    def run(self, task: Task) -> TaskOutcome:
        """Run a case to its end."""
        about = self._about
        host = self._wrapped.at(f"{about.wrappers}/{task.docker}")
        run = Run(about.run, Path(about.sockets), Path(about.sockets))
        prepared = PreparedHost(
            host, about.profile, RunScope(f"{about.run}{task.number:03}", PREPARED), run, alone=about.alone
        )
        quiet = plain_console(file=io.StringIO())
        plugin = VerificationPlugin(
            lambda: contextlib.nullcontext(prepared), Report(quiet), Progress(quiet), factor=task.factor
        )
        images = {(context, uid): name for context, uid, name in about.images}
        provider = AgentProvider(prepared, Progress(quiet), images=images)
        integration = Integration(plugin, self._agents, Progress(quiet), slow=about.slow, provider=provider)
        arguments = [
            str(ROOT / task.node),
            *("-c", str(CASES.parent / "pytest.ini"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"),
        ]
        with contextlib.closing(provider):
            status = run_pytest(arguments, plugins=[plugin, integration])
        if plugin.problem:
            return TaskOutcome(UNUSABLE, got=str(plugin.problem))
        if plugin.crash or plugin.evidence is None or len(plugin.evidence.cases) != 1:
            return TaskOutcome(
                BROKEN, got=str(plugin.crash or "\n".join(plugin.broken) or f"pytest ended with {status!r}")
            )
        return judged(plugin.evidence.cases[0])


def judged(case: CaseResult) -> TaskOutcome:
    """What a case's result says here."""
    if case.outcome == SKIPPED:
        return TaskOutcome(SKIPPED, got=case.reason, seconds=case.seconds)
    outcome = BROKEN if case.expected == CRASHED else case.outcome
    return TaskOutcome(outcome, case.expected, case.got, case.seconds)


def main() -> None:
    """Work until the input ends. Standard output is for the answers alone: whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker: Worker | None = None
    try:
        for line in sys.stdin:
            said = parsed(line)
            try:
                if worker is None:
                    worker = Worker(Description(**said))
                    got = TaskOutcome(PASSED)
                else:
                    got = worker.run(Task(**said))
            except Problem as problem:
                got = TaskOutcome(UNUSABLE, got=str(problem))
            answers.write(json.dumps(asdict(got)) + "\n")
    finally:
        if worker:
            worker.account.close()


if __name__ == "__main__":
    main()
