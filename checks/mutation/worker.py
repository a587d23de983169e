"""One account's worker, a process of its own: runs single cases, each with one docker first on PATH.

The protocol is lines of JSON: first the account (``Account``) in; then, for every case, a ``Task`` in and a
``TaskOutcome`` out, until the input ends.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from checks.core.errors import Problem
from checks.core.paths import PACKAGES
from checks.core.progress import Console, Progress, plain_console
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost
from checks.engine.probe_image import PREPARED
from checks.evidence.run import CaseResult
from checks.hosts.facts import Facts
from checks.hosts.ssh import SshHost
from checks.mutation.wrapped import WrappedHost
from checks.nanoclaw.agent import Agent, available
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.provider import AgentProvider
from checks.nanoclaw.whole import WholeNanoclaw
from checks.runner.agent_plugin import Integration
from checks.runner.collection import CASES
from checks.runner.plugin import CRASHED, VerificationPlugin, run_pytest
from checks.runner.report import Report

FAILED, PASSED, SKIPPED, BROKEN, UNUSABLE = "failed", "passed", "skipped", "broken", "unusable"


class Account(msgspec.Struct, frozen=True):
    """The account that a worker runs cases on."""

    destination: str
    port: int
    options: list[str]
    sockets: str
    host: str
    slowness: float
    facts: Facts
    profile: str
    run: str
    exclusive: bool
    """As ``PreparedHost.alone``."""
    wrappers: str
    """The directory there that has a directory with a ``docker`` for each mutation."""
    environment: list[str]
    """NAME=VALUE for every command there."""
    nanoclaw: str
    slow: bool
    images: list[tuple[str, int, str]]
    """The agents' images that are there: context, uid, name."""


class Task(msgspec.Struct, frozen=True):
    """One case to run under one docker."""

    number: int
    """Unique in the run, and part of the names of what the case makes."""
    docker: str
    node: str
    factor: float


class TaskOutcome(msgspec.Struct, frozen=True):
    """How the case ended.

    ``outcome``: failed (a mismatch or a timeout), passed, skipped, broken (an error in the case itself), unusable (the
    host was reported unusable).
    """

    outcome: str
    expected: str = ""
    got: str = ""
    seconds: float = 0.0

    @property
    def message(self) -> str:
        """The failure in one line, which ``Mutation.failure`` is searched in."""
        return f"expected {self.expected}; got {self.got}"


class Worker:
    """Runs cases on one account."""

    def __init__(self, account: Account) -> None:
        Path(account.sockets).mkdir(mode=0o700, exist_ok=True)
        self._account = account
        self.host = SshHost(
            account.destination,
            sockets=Path(account.sockets),
            port=account.port,
            options=account.options,
            name=account.host,
        )
        self.host.slowness = account.slowness
        self.host.remember(account.facts)
        self._wrapped = WrappedHost(self.host, account.environment)
        self._agents = available(account.nanoclaw)

    def run(self, task: Task) -> TaskOutcome:
        """Run a case to its end."""
        account = self._account
        host = self._wrapped.at(f"{account.wrappers}/{task.docker}")
        run = Run(account.run, Path(account.sockets), Path(account.sockets))
        scope = RunScope(f"{account.run}{task.number:03}", PREPARED)
        prepared = PreparedHost(host, account.profile, scope, run, exclusive=account.exclusive)
        images = {(context, uid): name for context, uid, name in account.images}
        with contextlib.closing(AgentProvider(prepared, Progress(_quiet()), images=images)) as provider:
            return run_case(task.node, prepared, self._agents, provider, factor=task.factor, slow=account.slow)


def _quiet() -> Console:
    return plain_console(file=io.StringIO())


def run_case(
    node: str,
    prepared: PreparedHost,
    agents: Mapping[AgentProtocol, Agent],
    provider: AgentProvider,
    *,
    factor: float,
    slow: bool = False,
    whole: WholeNanoclaw | None = None,
) -> TaskOutcome:
    """Run one case, by its name to pytest, on a prepared host."""
    plugin = VerificationPlugin(
        lambda: contextlib.nullcontext(prepared), Report(_quiet()), Progress(_quiet()), factor=factor
    )
    integration = Integration(plugin, agents, Progress(_quiet()), slow=slow, provider=provider, whole=whole)
    arguments = [
        str(PACKAGES / node),
        *("-c", str(CASES.parent / "pytest.ini"), "--rootdir", str(PACKAGES), "-p", "no:cacheprovider"),
    ]
    status = run_pytest(arguments, plugins=[plugin, integration])
    if plugin.problem:
        return TaskOutcome(UNUSABLE, got=str(plugin.problem))
    if plugin.crash or plugin.evidence is None or len(plugin.evidence.cases) != 1:
        error = plugin.crash or "\n".join(plugin.broken) or f"pytest ended with {status!r}"
        return TaskOutcome(BROKEN, got=str(error))
    return outcome_of(plugin.evidence.cases[0])


def outcome_of(case: CaseResult) -> TaskOutcome:
    """A case's result as the outcome of a task."""
    if case.outcome == SKIPPED:
        return TaskOutcome(SKIPPED, got=case.reason, seconds=case.seconds)
    outcome = BROKEN if case.expected == CRASHED else case.outcome
    return TaskOutcome(outcome, case.expected, case.got, case.seconds)


def main() -> None:
    """Work until the input ends. Standard output is for the answers; everything else printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    worker: Worker | None = None
    try:
        for line in sys.stdin.buffer:
            try:
                if worker is None:
                    worker = Worker(msgspec.json.decode(line, type=Account))
                    outcome = TaskOutcome(PASSED)
                else:
                    outcome = worker.run(msgspec.json.decode(line, type=Task))
            except Problem as problem:
                outcome = TaskOutcome(UNUSABLE, got=str(problem))
            answers.write(msgspec.json.encode(outcome) + b"\n")
    finally:
        if worker:
            worker.host.close()


if __name__ == "__main__":
    main()
