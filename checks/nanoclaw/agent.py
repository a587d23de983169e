"""The available agents: of a nanoclaw checkout, or the project's stub agent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checks.core.bounded import parsed
from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.nanoclaw.checkout import entries, read
from checks.nanoclaw.contract import AgentProtocol

STUB = FIXTURES / "agent"

_RUNNER = "src/container-runner.ts"
"""The file that identifies a nanoclaw checkout."""


@dataclass(frozen=True)
class Agent:
    """An agent: the Dockerfile of its image, its source, its protocol."""

    protocol: AgentProtocol
    name: str
    """Its name in the report."""
    context: Path
    """The directory that ``docker build`` is given."""
    source: Path
    """The directory that is mounted at /app/src."""
    slug: str = "stub"
    """Its name in the cache: a new image replaces an older one of that name."""
    checkout: Path | None = None
    """Its nanoclaw checkout; None for the stub agent."""

    @property
    def root(self) -> Path:
        """The directory that contains all files of the agent; links must not leave it."""
        return self.checkout or STUB

    @property
    def image(self) -> str:
        """The name of its image."""
        return "nanoclaw-agent:latest"


def stub_agent() -> Mapping[AgentProtocol, Agent]:
    """The project's stub agent for both protocols: one image, two sources."""
    return {
        protocol: Agent(protocol, "the project's stub agent, not nanoclaw's own", STUB, STUB / protocol)
        for protocol in AgentProtocol
    }


def find(option: str) -> Path | None:
    """The checkout to use: the given one, else $NANOCLAW_DIR, else ~/nanoclaw if it is one."""
    asked = option or os.environ.get("NANOCLAW_DIR", "")
    if asked:
        try:
            return Path(asked).expanduser().absolute()
        except RuntimeError as error:
            raise WrongUsage(f"{asked} can't be expanded: {error}", "Write the path without ~.") from error
    try:
        usual = Path.home() / "nanoclaw"
    except RuntimeError:  # neither HOME nor an entry in the passwd database
        return None
    return usual if (usual / _RUNNER).is_file() else None


def of_checkout(directory: Path) -> Agent:
    """The agent of a nanoclaw checkout. Raises WrongUsage if a file is missing."""
    runner = directory / _RUNNER
    container = directory / "container"
    source = container / "agent-runner" / "src"
    for needed in (runner, container / "Dockerfile", source):
        if not needed.exists():
            raise WrongUsage(
                f"{directory} is not a nanoclaw checkout: {needed.relative_to(directory)} is missing.",
                "Name one with --nanoclaw DIR, or fetch one: invoke nanoclaw fetch",
            )
    try:
        text = read(runner, directory).decode()
        version = str(parsed(read(directory / "package.json", directory)).get("version", "unknown"))[:40]
        for part in (container, source):  # links that leave the checkout are reported before anything is built
            for _ in entries(part, directory):
                pass
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WrongUsage(f"The nanoclaw checkout {directory} can't be read: {error}.") from error
    if "---NANOCLAW_OUTPUT_START---" in text:
        protocol = AgentProtocol.STREAMS
    elif "/app/src/index.ts" in text and (source / "db").is_dir():
        protocol = AgentProtocol.DATABASES
    else:
        raise WrongUsage(
            f"nanoclaw {version} in {directory} speaks an unknown protocol.",
            "Known: JSON on stdin and markers on stdout (1.x), session databases (2.x).",
        )
    return Agent(
        protocol,
        f"nanoclaw {version} ({directory})",
        container,
        source,
        f"nanoclaw-{re.sub(r'[^0-9A-Za-z.]+', '-', version)}",
        directory,
    )


def available(option: str) -> Mapping[AgentProtocol, Agent]:
    """The agents that a session can run: the checkout's, or the stub agents."""
    directory = find(option)
    if directory is None:
        return stub_agent()
    agent = of_checkout(directory)
    return {agent.protocol: agent}
