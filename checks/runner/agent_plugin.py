"""The pytest plugin with the fixtures of cases that run an agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from checks.core.progress import Progress
from checks.engine.case_context import CaseContext
from checks.nanoclaw import lockdown
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.installation import unusable
from checks.nanoclaw.provider import AgentHandle, AgentProvider
from checks.nanoclaw.whole import WholeNanoclaw, whole_nanoclaw
from checks.runner.plugin import VerificationPlugin

_OF = {"streams_handle": AgentProtocol.STREAMS, "databases_handle": AgentProtocol.DATABASES}
"""The protocol of each fixture's agent."""


class Integration:
    """The plugin of one session, used with ``VerificationPlugin``."""

    def __init__(
        self,
        verification: VerificationPlugin,
        available: Mapping[AgentProtocol, Agent],
        progress: Progress,
        *,
        slow: bool = False,
        live_key: str = "",
        provider: AgentProvider | None = None,
        whole: WholeNanoclaw | None = None,
    ) -> None:
        self._verification = verification
        self._available = available
        self._progress = progress
        self._slow = slow
        self._live_key = live_key
        self._given = provider
        self._given_whole = whole

    @pytest.fixture(scope="session")
    def provider(self) -> Iterator[AgentProvider]:
        """Images and service: given by the caller, who closes them, or made for this session."""
        if self._verification.prepared.host.facts().engine == "docker":
            pytest.skip("the agent image is on a disk that only Podman can read")
        provider = self._given or AgentProvider(self._verification.prepared, self._progress, live_key=self._live_key)
        yield provider
        if self._verification.evidence and provider.image_base:
            self._verification.evidence.agent = f"{next(iter(self._available.values())).name}; {provider.image_base}"
        if provider is not self._given:
            provider.close()

    @pytest.fixture
    def slow(self) -> bool:
        """Whether to run cases that take very long on this host."""
        return self._slow

    @pytest.fixture
    def streams_handle(self, provider: AgentProvider) -> AgentHandle:
        """An agent of nanoclaw 1.x."""
        return AgentHandle(self._available[AgentProtocol.STREAMS], provider)

    @pytest.fixture
    def databases_handle(self, provider: AgentProvider) -> AgentHandle:
        """An agent of nanoclaw 2.x."""
        if self._live_key:
            pytest.skip(
                "nanoclaw 2.x passes a real key only through its credential gateway, which --live does not have"
            )
        return AgentHandle(self._available[AgentProtocol.DATABASES], provider)

    @pytest.fixture
    def checkout_handle(self, streams_handle: AgentHandle) -> AgentHandle:
        """The agent of a nanoclaw 1.x checkout, whose own code can be run, too."""
        if streams_handle.agent.checkout is None:
            pytest.skip("needs a nanoclaw checkout: --nanoclaw DIR")
        return streams_handle

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the cases that the available nanoclaw can't have: they are not listed, not skipped."""
        absent = {name for name, protocol in _OF.items() if protocol not in self._available}
        agent = self._available.get(AgentProtocol.DATABASES)
        if not (agent and agent.checkout) or self._live_key:
            absent.add("whole")
        if not (agent and agent.checkout and (agent.checkout / lockdown.SOURCE).is_file()):
            absent.add("egress_lockdown")
        dropped = [item for item in items if absent.intersection(getattr(item, "fixturenames", ()))]
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=dropped)

    @pytest.fixture(scope="module")
    def whole_nanoclaw(self, provider: AgentProvider) -> Iterator[WholeNanoclaw]:
        """A whole nanoclaw 2.x, for all cases of a module: given by the caller, who removes it, or made here."""
        if self._given_whole:
            yield self._given_whole
            return
        prepared = self._verification.prepared
        if prepared.guest is None and (reason := unusable(prepared.host)):
            pytest.skip(f"{reason}; use a throwaway host")
        handle = AgentHandle(self._available[AgentProtocol.DATABASES], provider)
        with whole_nanoclaw(prepared, handle, self._progress) as whole:
            yield whole

    @pytest.fixture
    def whole(self, whole_nanoclaw: WholeNanoclaw, ctx: CaseContext) -> Iterator[WholeNanoclaw]:
        """The whole nanoclaw, which runs on after a case."""
        yield whole_nanoclaw
        ctx.leave_objects()

    @pytest.fixture
    def egress_lockdown(self) -> None:
        """Asks for a nanoclaw of a version that has an egress lockdown."""

    @pytest.fixture
    def streams_or_databases_handle(self, provider: AgentProvider) -> AgentHandle:
        """Any available agent."""
        return AgentHandle(next(iter(self._available.values())), provider)
