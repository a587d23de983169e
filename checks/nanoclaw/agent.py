"""The available agents: of a nanoclaw checkout, or the project's stub agent."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from checks.core.bounded import parsed
from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES, expanded
from checks.core.version import commit_of
from checks.nanoclaw.checkout import entries, read
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.dockerfile import require_contained

STUB = FIXTURES / "agent"

_RUNNER = "src/container-runner.ts"
"""The file that identifies a nanoclaw checkout."""
_PACKAGE = "package.json"
_JSON_TYPES = {
    list: "an array", dict: "an object", str: "a string", int: "a number", float: "a number", bool: "a boolean",
    type(None): "null",
}  # fmt: skip


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
    """The checkout to use: the given one, else $NANOCLAW_DIR, else ~/nanoclaw if it is one.

    Raises WrongUsage if the given one is not a directory.
    """
    asked = option or os.environ.get("NANOCLAW_DIR", "")
    if asked:
        directory = expanded(asked).absolute()
        if not os.access(directory / ".", os.R_OK | os.X_OK):
            raise WrongUsage(
                f"The nanoclaw checkout {directory} is not a directory, or you can't read it.",
                "Name one with --nanoclaw DIR, or fetch one: invoke nanoclaw fetch",
            )
        return directory
    try:
        usual = Path.home() / "nanoclaw"
    except RuntimeError:  # neither HOME nor an entry in the passwd database
        return None
    return usual if (usual / _RUNNER).is_file() else None


def of_checkout(directory: Path) -> Agent:
    """The agent of a nanoclaw checkout. Raises WrongUsage if a file is missing or can't be read."""
    runner = directory / _RUNNER
    container = directory / "container"
    source = container / "agent-runner" / "src"
    for needed in (runner, container / "Dockerfile", source):
        if not needed.exists():
            raise WrongUsage(
                f"{directory} is not a nanoclaw checkout: {needed.relative_to(directory)} is missing.",
                "Name one with --nanoclaw DIR, or fetch one: invoke nanoclaw fetch",
            )
    with _reported(directory, _RUNNER):
        text = read(runner, directory).decode()
    with _reported(directory, _PACKAGE):
        version = _version(read(directory / _PACKAGE, directory))
    with _reported(directory, "container"):
        for part in (container, source):  # links that leave the checkout are reported before anything is built
            for _ in entries(part, directory):
                pass
        require_contained(container, directory)
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
        f"nanoclaw {version} (commit {commit_of(directory) or 'unknown'})",
        container,
        source,
        f"nanoclaw-{re.sub(r'[^0-9A-Za-z.]+', '-', version)}",
        directory,
    )


@contextlib.contextmanager
def _reported(directory: Path, part: str) -> Iterator[None]:
    """Raise WrongUsage, with the name of the part, if a part of a checkout can't be read in the block."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise WrongUsage(f"{part} of the nanoclaw checkout {directory} can't be read: {why}.") from error


def _version(package: bytes) -> str:
    """The version that a package.json contains. Raises ValueError if it isn't valid."""
    try:
        found = parsed(package)
    except ValueError as error:
        raise ValueError(f"it is not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"it must contain a JSON object, and contains {_JSON_TYPES[type(found)]}")  # noqa: TRY004 - of the file, not of a caller
    version = found.get("version", "unknown")
    if not isinstance(version, str):
        raise ValueError(f"its version must be a string, and is {_JSON_TYPES[type(version)]}")  # noqa: TRY004
    return re.sub(r"[^\w.+-]", "?", version[:40], flags=re.ASCII)  # it is printed, and a part of names of files


def available(option: str) -> Mapping[AgentProtocol, Agent]:
    """The agents that a session can run: the checkout's, or the stub agents."""
    directory = find(option)
    if directory is None:
        return stub_agent()
    agent = of_checkout(directory)
    return {agent.protocol: agent}
