"""One account's worker, a process of its own: runs single cases, each with one docker first on PATH.

The protocol is lines of JSON: first the account (``Account`` or ``OwnRun``) in; then, for every case, a ``Task`` in and
a ``TaskOutcome`` out, until the input ends.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec

from checks.core import run_directories
from checks.core.errors import Exit, Problem
from checks.core.outcome import run_and_report
from checks.core.paths import PACKAGES
from checks.core.progress import Console, Progress, plain_console
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost, prepared
from checks.engine.probe_image import PREPARED
from checks.evidence.run import CaseResult
from checks.hosts.facts import Facts
from checks.hosts.ssh import SshHost
from checks.mutation import catalogue
from checks.mutation.catalogue import NO_FAULT
from checks.mutation.wrapped import WrappedHost, upload
from checks.nanoclaw.agent import Agent, available
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.provider import AgentProvider
from checks.nanoclaw.whole import WholeNanoclaw
from checks.runner.agent_plugin import Integration
from checks.runner.collection import CASES
from checks.runner.plugin import VerificationPlugin, run_pytest
from checks.runner.report import Report

FAILED, PASSED, SKIPPED, BROKEN, UNUSABLE = "failed", "passed", "skipped", "broken", "unusable"


class Account(msgspec.Struct, frozen=True, tag=True):
    """The account of a throwaway host that a worker runs cases on."""

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


class OwnRun(msgspec.Struct, frozen=True, tag=True):
    """A host that is not thrown away: the worker has a run of its own there, and removes what is left of it."""

    host: str
    """As ``--host`` names it."""


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


class Work(Protocol):
    """What runs cases on an account."""

    def run(self, task: Task) -> TaskOutcome:
        """Run a case to its end."""


class _OnAccount:
    """Runs cases on an account that the parent process has prepared."""

    def __init__(self, account: Account, host: SshHost) -> None:
        self._account = account
        self._wrapped = WrappedHost(host, account.environment)
        self._agents = available(account.nanoclaw)

    def run(self, task: Task) -> TaskOutcome:
        """Run a case to its end. What it makes has a name of its own: nothing is removed before the guest is."""
        account = self._account
        host = self._wrapped.at(f"{account.wrappers}/{task.docker}")
        run = Run(account.run, Path(account.sockets), Path(account.sockets))
        scope = RunScope(f"{account.run}{task.number:03}", PREPARED)
        there = PreparedHost(host, account.profile, scope, run, exclusive=account.exclusive)
        images = {(context, uid): name for context, uid, name in account.images}
        with contextlib.closing(AgentProvider(there, Progress(_quiet()), images=images)) as provider:
            return run_case(task.node, there, self._agents, provider, factor=task.factor, slow=account.slow)


class _InOwnRun:
    """Runs cases in a run of this process."""

    def __init__(self, ready: PreparedHost) -> None:
        self._ready = ready
        self._wrapped = WrappedHost(ready.host)
        self._wrappers = upload(ready.host, ready.run.id, [NO_FAULT, *catalogue.load()])

    def run(self, task: Task) -> TaskOutcome:
        """Run a case to its end."""
        ready = replace(self._ready, host=self._wrapped.at(f"{self._wrappers}/{task.docker}"))
        with contextlib.closing(AgentProvider(ready, Progress(_quiet()))) as provider:
            return run_case(task.node, ready, {}, provider, factor=task.factor)


@contextlib.contextmanager
def work(on: Account | OwnRun) -> Iterator[Work]:
    """What runs cases there, until the block ends."""
    match on:
        case OwnRun(spec):
            with run_directories.new_run() as run, prepared(spec, None, run, Progress(_quiet())) as ready:
                yield _InOwnRun(ready)
        case Account():
            Path(on.sockets).mkdir(mode=0o700, exist_ok=True)
            connection = SshHost(
                on.destination, sockets=Path(on.sockets), port=on.port, options=on.options, name=on.host
            )
            with contextlib.closing(connection) as host:
                host.slowness = on.slowness
                host.remember(on.facts)
                yield _OnAccount(on, host)


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
    outcome = BROKEN if case.crashed else case.outcome
    return TaskOutcome(outcome, case.expected, case.got, case.seconds)


def main() -> None:
    """Work until the input ends. Standard output is for the answers; everything else printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def answer(outcome: TaskOutcome) -> None:
        answers.write(msgspec.json.encode(outcome) + b"\n")

    def serve() -> Exit:
        with work(msgspec.json.decode(sys.stdin.buffer.readline(), type=Account | OwnRun)) as worker:
            answer(TaskOutcome(PASSED))
            for line in sys.stdin.buffer:
                try:
                    outcome = worker.run(msgspec.json.decode(line, type=Task))
                except Problem as problem:
                    outcome = TaskOutcome(UNUSABLE, got=str(problem))
                answer(outcome)
        return Exit.OK

    def say(line: str) -> None:
        with contextlib.suppress(OSError):
            answer(TaskOutcome(UNUSABLE, got=line))

    sys.exit(int(run_and_report(serve, say)))


if __name__ == "__main__":
    main()
