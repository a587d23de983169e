"""The agents that can be run: of a nanoclaw checkout, or the project's own stand-in."""

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
from checks.nanoclaw.contract import Design

STAND_IN = FIXTURES / "agent"

_RUNNER = "src/container-runner.ts"
"""The file by which a nanoclaw checkout is known."""


@dataclass(frozen=True)
class Agent:
    """What is needed to run an agent: the Dockerfile of its image, its source, how it is to be talked to."""

    design: Design
    name: str
    """What the report calls it."""
    context: Path
    """The directory that ``docker build`` is given."""
    source: Path
    """The directory that is mounted at /app/src."""
    slug: str = "stand-in"
    """Its name in the cache: a new image takes the place of an older one of that name."""
    checkout: Path | None = None
    """The nanoclaw checkout that it belongs to; the stand-in has none."""

    @property
    def root(self) -> Path:
        """The directory that nothing which belongs to the agent may lead out of."""
        return self.checkout or STAND_IN

    @property
    def image(self) -> str:
        """The name of its image, as one types it."""
        return "nanoclaw-agent:latest"


def stub_agent() -> Mapping[Design, Agent]:
    """The project's own agent, for both designs: one image, two sources."""
    return {
        design: Agent(design, "the project's stand-in agent, not nanoclaw's own", STAND_IN, STAND_IN / design)
        for design in Design
    }


def find(option: str) -> Path | None:
    """The checkout to use: the one asked for, else $NANOCLAW_DIR, else ~/nanoclaw where that is one."""
    asked = option or os.environ.get("NANOCLAW_DIR", "")
    if asked:
        return Path(asked).expanduser().absolute()
    usual = Path.home() / "nanoclaw"
    return usual if (usual / _RUNNER).is_file() else None


def of_checkout(directory: Path) -> Agent:
    """The agent of a nanoclaw checkout. Raises WrongUsage, which says what is missing, where it is none."""
    runner = directory / _RUNNER
    container = directory / "container"
    source = container / "agent-runner" / "src"
    for needed in (runner, container / "Dockerfile", source):
        if not needed.exists():
            raise WrongUsage(
                f"{directory} is no nanoclaw checkout: {needed.relative_to(directory)} is missing.",
                "Name one with --nanoclaw DIR, or bring one: invoke nanoclaw fetch",
            )
    try:
        text = read(runner, directory).decode()
        version = str(parsed(read(directory / "package.json", directory)).get("version", "unknown"))[:40]
        for part in (container, source):  # now: a link that leads out of it is reported before anything is built
            for _ in entries(part, directory):
                pass
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WrongUsage(f"The nanoclaw checkout {directory} can't be read: {error}.") from error
    if "---NANOCLAW_OUTPUT_START---" in text:
        design = Design.STREAMS
    elif "/app/src/index.ts" in text and (source / "db").is_dir():
        design = Design.DATABASES
    else:
        raise WrongUsage(
            f"nanoclaw {version} in {directory} talks to its agents in a way that is not known here.",
            "Known: JSON on stdin and markers on stdout (1.x), session databases (2.x).",
        )
    return Agent(
        design,
        f"nanoclaw {version} ({directory})",
        container,
        source,
        f"nanoclaw-{re.sub(r'[^0-9A-Za-z.]+', '-', version)}",
        directory,
    )


def available(option: str) -> Mapping[Design, Agent]:
    """The agents that a session can run: a checkout's, or the stand-in's where there is no checkout."""
    directory = find(option)
    if directory is None:
        return stub_agent()
    agent = of_checkout(directory)
    return {agent.design: agent}
