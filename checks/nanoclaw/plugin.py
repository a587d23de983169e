"""The pytest plugin that gives cases an agent to run: its image on the host, a service for it to talk to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

import pytest

from checks.bench import Bench
from checks.hosts.guest import Guest
from checks.images import disks
from checks.nanoclaw import agent as agents
from checks.nanoclaw import reach
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import Design
from checks.nanoclaw.running import Question, addressed
from checks.nanoclaw.service import Service
from checks.plugin import Verification
from checks.progress import Progress
from checks.stage import Stage

_DISKS = "/var/lib/agent-images"


class Kit:
    """What a case needs to run agents of one design."""

    def __init__(self, agent: Agent, supply: Supply) -> None:
        self.agent = agent
        self._supply = supply

    def image(self, bench: Bench) -> str:
        """The agent's image, on the bench's account; its name."""
        return self._supply.image(self.agent, bench)

    def url(self, bench: Bench) -> str:
        """Where a container on the bench's host finds the service."""
        return self._supply.url(bench)

    def question(self, bench: Bench, *, silent: bool = False) -> Question:
        """A question that nobody has asked before, and an answer that nobody can guess."""
        text = f"The answer is {secrets.token_hex(12)}."
        wrapped = addressed(text) if self.agent.design is Design.DATABASES else text
        conversation = self._supply.service(bench).conversation(wrapped, silent=silent)
        return Question(f"What is the answer? {secrets.token_hex(12)}", text, self.url(bench), conversation)


class Supply:
    """Images and service of one session; made when first asked for."""

    def __init__(self, stage: Stage, progress: Progress) -> None:
        self._stage = stage
        self._progress = progress
        self._service: Service | None = None
        self._url = ""
        self._images: dict[tuple[str, int], str] = {}

    def service(self, bench: Bench) -> Service:
        """The service, listening."""
        if self._service is None:
            self._service = Service(bench.host.service_address)
        return self._service

    def url(self, bench: Bench) -> str:
        """Where containers find the service; worked out once, since accounts of a host share their kind of network."""
        self._url = self._url or reach.find(bench, self.service(bench))
        return self._url

    def image(self, agent: Agent, bench: Bench) -> str:
        """The agent's image on the bench's account."""
        key = (str(agent.context), bench.uid)
        if key not in self._images:
            guest = self._stage.guest
            if guest is None:
                pytest.skip("agents on a host that is not a throwaway host come later")
            self._images[key] = self._plug(agent, bench, guest)
        return self._images[key]

    def _plug(self, agent: Agent, bench: Bench, guest: Guest) -> str:
        """Hand a guest's account the image on a disk."""
        accounts = guest.recipe.accounts
        image = disks.ready(agent.name, f"localhost/{agent.image}", agent.context, accounts, guest.run, self._progress)
        folder = f"{_DISKS}/{bench.uid}"
        guest.plug(image.disks[bench.uid], disks.label(bench.uid), folder)
        settings = f'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["{folder}"]\n'
        bench.host.put(f"{bench.facts.home}/.config/containers/storage.conf", settings.encode())
        return agent.image

    def close(self) -> None:
        """Stop the service."""
        if self._service:
            self._service.close()


class Integration:
    """One session's plugin, beside ``Verification``."""

    def __init__(self, verification: Verification, available: Mapping[Design, Agent], progress: Progress) -> None:
        self._verification = verification
        self._available = available
        self._progress = progress

    @pytest.fixture(scope="session")
    def supply(self) -> Iterator[Supply]:
        """Images and service."""
        supply = Supply(self._verification.stage, self._progress)
        yield supply
        supply.close()

    @pytest.fixture
    def streams_kit(self, supply: Supply) -> Kit:
        """For agents of the first design."""
        return self._kit(Design.STREAMS, supply)

    @pytest.fixture
    def databases_kit(self, supply: Supply) -> Kit:
        """For agents of the second design."""
        return self._kit(Design.DATABASES, supply)

    @pytest.fixture
    def checkout_kit(self, supply: Supply) -> Kit:
        """For a checkout of the first design, whose own code can be run as well."""
        kit = self._kit(Design.STREAMS, supply)
        if kit.agent.checkout is None:
            pytest.skip("needs a nanoclaw checkout: --nanoclaw DIR")
        return kit

    @pytest.fixture
    def streams_or_databases_kit(self, supply: Supply) -> Kit:
        """For whichever agents there are."""
        return Kit(next(iter(self._available.values())), supply)

    def _kit(self, design: Design, supply: Supply) -> Kit:
        if design not in self._available:
            other = next(iter(self._available.values()))
            pytest.skip(f"{other.name} is of nanoclaw's other design ({other.design})")
        return Kit(self._available[design], supply)


def available(option: str) -> Mapping[Design, Agent]:
    """The agents that a session can run: a checkout's, or the stand-in's where there is no checkout."""
    folder = agents.find(option)
    if folder is None:
        return agents.stand_in()
    agent = agents.of_checkout(folder)
    return {agent.design: agent}
