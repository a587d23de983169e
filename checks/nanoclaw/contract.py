"""The docker commands with which nanoclaw runs an agent, from its sources, tags v1.2.0 and v2.0.64.

Sources: src/container-runner.ts, src/container-runtime.ts, container/agent-runner/src/index.ts of
https://github.com/nanocoai/nanoclaw.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checks.core.bounded import parsed
from checks.engine import docker
from checks.engine.docker import Command

START = b"---NANOCLAW_OUTPUT_START---"
END = b"---NANOCLAW_OUTPUT_END---"

STOP_TIMEOUT = 15.0
"""Seconds that nanoclaw waits for ``docker stop`` before it kills the client."""

TIMEOUT = 1800.0
"""Seconds after which nanoclaw ends an agent that has not answered (CONTAINER_TIMEOUT)."""

MAX_OUTPUT = 10_485_760
"""Bytes of output that nanoclaw keeps of an agent (CONTAINER_MAX_OUTPUT_SIZE)."""

MAX_AGENTS = 5
"""Agents that nanoclaw runs at the same time (MAX_CONCURRENT_CONTAINERS)."""

IMAGE_UID = 1000
"""The uid of the agent image's own user, ``node``."""

HOST_GATEWAY = "--add-host=host.docker.internal:host-gateway"
"""The option with which an agent of nanoclaw 2.x finds its host."""

AGENT_COMMAND = "exec bun run /app/src/index.ts"
"""The shell command that starts an agent of nanoclaw 2.x."""


class AgentProtocol(StrEnum):
    """How nanoclaw and its agents communicate: JSON on stdin and markers on stdout, or session databases."""

    STREAMS = "v1"
    DATABASES = "v2"

    @property
    def version(self) -> str:
        """The nanoclaw versions of that protocol."""
        return "1.x" if self is AgentProtocol.STREAMS else "2.x"


@dataclass(frozen=True)
class Mount:
    """A bind mount of nanoclaw."""

    source: str
    target: str
    readonly: bool = False

    @property
    def option(self) -> str:
        """The value of ``-v``."""
        return f"{self.source}:{self.target}{':ro' if self.readonly else ''}"


def user_options(uid: int, gid: int) -> list[str]:
    """nanoclaw's options for the host user's ids; none for root and for the image's own uid."""
    return [] if uid in (0, IMAGE_UID) else ["--user", f"{uid}:{gid}", "-e", "HOME=/home/node"]


def mount_options(mounts: Sequence[Mount]) -> list[str]:
    """The options of bind mounts."""
    return [word for mount in mounts for word in ("-v", mount.option)]


def run_streams(*, name: str, zone: str, uid: int, gid: int, mounts: Sequence[Mount], image: str) -> Command:
    """The ``docker run`` of an agent of nanoclaw 1.x."""
    options = ["-i", "--rm", "--name", name, "-e", f"TZ={zone}", *user_options(uid, gid), *mount_options(mounts)]
    return docker.run(image, options=options)


def run_databases(
    *,
    name: str,
    install: str,
    zone: str,
    gateway: Sequence[str],
    uid: int,
    gid: int,
    mounts: Sequence[Mount],
    image: str,
) -> Command:
    """The ``docker run`` of an agent of nanoclaw 2.x.

    ``gateway``: the options by which the credential gateway (OneCLI) makes itself known to the agent.
    """
    options = [
        "--rm", "--name", name, "--label", f"nanoclaw-install={install}", "-e", f"TZ={zone}", *gateway,
        HOST_GATEWAY, *user_options(uid, gid), *mount_options(mounts),
        "--entrypoint", "bash",
    ]  # fmt: skip
    return docker.run(image, "-c", AGENT_COMMAND, options=options)


@dataclass(frozen=True)
class Output:
    """An output of an agent of 1.x, between a pair of markers."""

    status: str
    result: str | None
    session: str | None
    error: str | None


class Markers:
    """Finds the outputs in an agent's stdout, which arrives in arbitrary pieces."""

    def __init__(self) -> None:
        self._unread = b""
        self.malformed: list[bytes] = []
        """Text between markers that is not a valid output."""

    def feed(self, piece: bytes) -> list[Output]:
        """Add a piece; return the outputs that it completes."""
        self._unread += piece
        return list(self._complete())

    def _complete(self) -> Iterator[Output]:
        read = 0
        while (start := self._unread.find(START, read)) >= 0:
            end = self._unread.find(END, start)
            if end < 0:
                break
            inside = self._unread[start + len(START) : end].strip()
            read = end + len(END)
            if output := _output(inside):
                yield output
            else:
                self.malformed.append(inside)
        self._unread = self._unread[read:]


def _output(inside: bytes) -> Output | None:
    try:
        value = parsed(inside)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        return None
    return Output(value["status"], value.get("result"), value.get("newSessionId"), value.get("error"))


def message(*, prompt: str, group: str, is_main: bool) -> dict[str, Any]:
    """The input of nanoclaw's ``runContainerAgent()``."""
    return {
        "prompt": prompt, "groupFolder": group, "chatJid": "verify@g.us", "isMain": is_main, "assistantName": "Andy",
    }  # fmt: skip


def input_of(*, prompt: str, group: str, is_main: bool, secrets: Mapping[str, str]) -> bytes:
    """What nanoclaw writes to the agent's stdin: the message and the secrets of its .env."""
    values = {**message(prompt=prompt, group=group, is_main=is_main), "secrets": dict(secrets)}
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()  # like JSON.stringify
