"""The cases of a whole nanoclaw with one fault at a time: of the docker that its service calls, or of the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine.case_context import DOCKER_OF_SERVICE, CaseContext
from checks.engine.docker import Record, shell
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.guide.catalogue import HostCommands, User
from checks.mutation.catalogue import Mutation
from checks.mutation.worker import BROKEN, TaskOutcome, run_case
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.provider import AgentHandle, AgentProvider
from checks.nanoclaw.whole import WholeNanoclaw
from checks.runner.plugin import CaseInfo

FIXTURE = "whole"
"""The fixture of cases that need a whole nanoclaw."""

_FACTOR = 2.0  # of time limits: nanoclaw, its database and the agent share a guest

# The drop-in is for every unit whose name begins with nanoclaw-v2-. It comes after that of the recommended profile.
_DROP_IN = ".config/systemd/user/nanoclaw-v2-.service.d/90-mutation.conf"
# The driver's docker is first and calls the wrapper: it looks for the next docker from the beginning of PATH.
_SETTING = "[Service]\nEnvironment=PATH=%h/{docker}:{wrapper}:/usr/local/bin:/usr/bin:/bin:%h/.local/bin\n"


class WholeTrials:
    """Runs cases of a whole nanoclaw, installed once, on the default account of a throwaway host.

    ``wrappers`` is the directory on the account that has a directory with a ``docker`` for each mutation.
    """

    def __init__(self, ready: PreparedHost, agent: Agent, provider: AgentProvider, wrappers: str) -> None:
        self._ready = ready
        self._agents = {AgentProtocol.DATABASES: agent}
        self._provider = provider
        self._wrappers = wrappers
        self._ctx = CaseContext(ready.host, ready.owner, "mutation", Record(), factor=_FACTOR)
        self._whole = WholeNanoclaw(ready, AgentHandle(agent, provider), Progress())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.close()

    def without_fault(self, case: CaseInfo) -> TaskOutcome:
        """Run a case as ``invoke verify`` does."""
        return run_case(case.node, self._ready, self._agents, self._provider, factor=_FACTOR, whole=self._whole)

    def outcome(self, mutation: Mutation, case: CaseInfo) -> TaskOutcome:
        """Run a case while there is a fault. The case must have passed without it."""
        try:
            with self._broken(mutation):
                return self.without_fault(case)
        except (Mismatch, TimedOut) as failure:
            return TaskOutcome(BROKEN, got=f"the fault could not be caused or undone: {failure}")

    @contextlib.contextmanager
    def _broken(self, mutation: Mutation) -> Iterator[None]:
        host = self._ready.host
        drop_in = f"{host.facts().home}/{_DROP_IN}"
        try:
            with self._stopped():
                wrapper = f"{self._wrappers}/{mutation.name}"
                host.put(drop_in, _SETTING.format(wrapper=wrapper, docker=DOCKER_OF_SERVICE).encode())
                self._run(*mutation.breaking)
            yield
        finally:
            with self._stopped():
                host.run_checked(["rm", "-f", "--", drop_in], doing="removing a fault")
                self._run(*mutation.undo)

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        """Stop the service and its agents, whose successors then have the present settings."""
        installation = self._whole.installed(self._ctx)
        before = installation.starts()
        installation.control.stop()
        installation.remove_agents()
        yield
        self._ready.host.run_checked(["systemctl", "--user", "daemon-reload"], doing="reloading units")
        installation.control.start()
        installation.await_start(before)

    def _run(self, *blocks: HostCommands) -> None:
        """Run commands that cause or undo a fault."""
        assert self._ready.guest
        account = self._ready.host.ask(["id", "-un"], str.strip, doing="asking for the account")
        for block in blocks:
            host = self._ready.guest.root if block.user is User.ROOT else self._ready.host
            host.run_checked(shell(f"set -e; account=$1\n{block.script}", account), doing="changing the host")
