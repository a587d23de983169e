"""The docker commands of nanoclaw 2.2's session driver, and how it reads their output.

Sources: src/drivers/docker-driver.ts, src/drivers/types.ts, src/drivers/json-stream.ts, src/container-runner.ts and
src/egress-lockdown.ts of https://github.com/nanocoai/nanoclaw, commit 58dc63edbbf2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from checks.core.bounded import parsed
from checks.engine import docker
from checks.engine.docker import Command
from checks.nanoclaw.contract import AGENT_COMMAND, HOST_GATEWAY, Mount, mount_options

INSTALL, GROUP, SESSION, ROLE = "nanoclaw-install", "nanoclaw-group", "nanoclaw-session", "nanoclaw-role"
"""The labels that identify a session's container."""

PIDS_LIMIT = 2048
"""Processes of an agent, unless CONTAINER_PIDS_LIMIT is set."""
SHM_MEGABYTES = 1024
STOP_GRACE = 1
"""Seconds between SIGTERM and SIGKILL."""

EGRESS_ALIAS = "host.docker.internal"
"""The gateway's name on the network of agents without egress."""

_LONGEST_NAME = 48
_KEPT_OF_NAME = 39


@dataclass(frozen=True)
class SessionKey:
    """What identifies a session: an installation of nanoclaw, a group of agents, and the session's own id."""

    install: str
    group: str
    session: str

    @property
    def container(self) -> str:
        """The name of its container, the same after each start of nanoclaw."""
        name = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"{self.install}-{self.session}")
        if len(name) <= _LONGEST_NAME:
            return f"ncl-{name}"
        digest = hashlib.sha256(f"{self.install}\0{self.session}".encode()).hexdigest()
        return f"ncl-{name[:_KEPT_OF_NAME]}-{digest[:8]}"

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its container that identify it."""
        return {INSTALL: self.install, GROUP: self.group, SESSION: self.session, ROLE: "agent"}


@dataclass(frozen=True)
class Limits:
    """The limits of an agent's container; only the first has a default in nanoclaw."""

    pids: int = PIDS_LIMIT
    cpus: str = ""
    memory_megabytes: int = 0

    @property
    def of_resources(self) -> list[str]:
        """The options for processors, memory and shared memory."""
        cpus = ["--cpus", self.cpus] if self.cpus else []
        memory = ["--memory", f"{self.memory_megabytes}m"] if self.memory_megabytes else []
        return [*cpus, *memory, f"--shm-size={SHM_MEGABYTES}m"]

    @property
    def of_processes(self) -> list[str]:
        """The option for processes."""
        return ["--pids-limit", str(self.pids)] if self.pids else []


@dataclass(frozen=True)
class Gateway:
    """What the credential gateway adds to an agent's container."""

    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()


def create(
    key: SessionKey,
    *,
    folder: str,
    started: str,
    zone: str,
    uid: int,
    gid: int,
    image: str,
    mounts: Sequence[Mount] = (),
    gateway: Gateway | None = None,
    limits: Limits | None = None,
    network: Sequence[str] = (HOST_GATEWAY,),
    command: str = AGENT_COMMAND,
) -> Command:
    """The ``docker create`` of an agent's container; ``start_attached`` of the same name starts it.

    ``folder`` is the directory of its group; ``started`` the name that an older nanoclaw would give the container.
    """
    gateway, limits = gateway or Gateway(), limits or Limits()
    labels = {**key.labels, "nanoclaw-container-name": started, "nanoclaw-group-folder": folder}
    user = ["--user", f"{uid}:{gid}"] if uid else []
    environment = {"TZ": zone, **({"HOME": "/home/node"} if uid else {}), **gateway.environment}
    options = [
        "--rm", "--name", key.container, *_pairs("--label", labels), *limits.of_resources,
        "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--init", *limits.of_processes, *user,
        *_pairs("-e", environment), *mount_options([*mounts, *gateway.mounts]), *network, "--entrypoint", "bash",
    ]  # fmt: skip
    return docker.create(image, "-c", command, options=options)


def _pairs(option: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]


def on_network(name: str) -> list[str]:
    """The network options of an agent without egress."""
    return ["--network", name]


def status(container: str) -> list[str]:
    """How nanoclaw reads a container's state."""
    return ["inspect", "--format", "{{.State.Status}}|{{.State.ExitCode}}", container]


def owner(container: str) -> list[str]:
    """How nanoclaw finds out whose a container of its name is."""
    form = "|".join(f'{{{{index .Config.Labels "{label}"}}}}' for label in (INSTALL, GROUP, SESSION))
    return ["inspect", "--format", form, container]


def sessions(install: str) -> list[str]:
    """How nanoclaw finds the agents that an earlier nanoclaw started."""
    form = f'{{{{.Names}}}}|{{{{.State}}}}|{{{{.Label "{GROUP}"}}}}|{{{{.Label "{SESSION}"}}}}'
    return ["ps", "-a", *_of_agents(install), "--format", form]


def residue(install: str) -> list[str]:
    """How nanoclaw finds containers that don't run any more."""
    states = [word for state in ("exited", "created", "dead") for word in ("--filter", f"status={state}")]
    return ["ps", "-a", "--filter", f"label={INSTALL}={install}", *states, "--format", "{{.Names}}"]


def of_any_version(install: str) -> list[str]:
    """How nanoclaw finds running containers, to stop those of versions before 2.2, which have no session."""
    form = f'{{{{.Names}}}}|{{{{.Label "{SESSION}"}}}}'
    return ["ps", "--filter", f"label={INSTALL}={install}", "--format", form]


def networks(install: str) -> list[str]:
    """How nanoclaw finds networks of its own."""
    return ["network", "ls", "--filter", f"label={INSTALL}={install}", "--format", "{{.Name}}"]


def attached(network: str) -> list[str]:
    """How nanoclaw finds out which containers a network has."""
    return ["network", "inspect", network, "--format", "{{range .Containers}}{{.Name}} {{end}}"]


def connect(network: str, gateway: str) -> list[str]:
    """How nanoclaw attaches the gateway to the network of agents without egress."""
    return ["network", "connect", "--alias", EGRESS_ALIAS, network, gateway]


def events(install: str) -> Command:
    """How nanoclaw learns about the end of agents that it did not start itself."""
    return Command("events", ("--filter", "type=container", *_of_agents(install), "--format", "{{json .}}"), ())


def _of_agents(install: str) -> list[str]:
    return ["--filter", f"label={INSTALL}={install}", "--filter", f"label={ROLE}=agent"]


class Phase(StrEnum):
    """What nanoclaw takes a listed container for."""

    RUNNING = "running"
    STARTING = "starting"
    TERMINAL = "terminal"
    """It has exited: nanoclaw removes it."""

    @classmethod
    def of(cls, state: str) -> Phase:
        """The phase for a state of ``docker ps``."""
        if state in ("running", "paused", "restarting"):
            return cls.RUNNING
        return cls.STARTING if state == "created" else cls.TERMINAL


class Notice(StrEnum):
    """What nanoclaw takes an event for."""

    TERMINAL = "terminal"
    """The end of an agent."""
    PHASE = "phase"
    HINT = "hint"


_NOTICES = {
    **dict.fromkeys(("die", "destroy"), Notice.TERMINAL),
    **dict.fromkeys(("create", "start", "restart"), Notice.PHASE),
    **dict.fromkeys(("kill", "stop", "oom", "pause", "unpause"), Notice.HINT),
}


def notices(stream: str, install: str) -> list[tuple[SessionKey, Notice]]:
    """What nanoclaw recognizes in the output of ``docker events``, in order; it ignores everything else."""
    found = []
    for document in _documents(stream):
        try:
            event = parsed(document)
        except ValueError:
            continue
        if notice := _notice(event, install):
            found.append(notice)
    return found


def _notice(event: dict[str, Any], install: str) -> tuple[SessionKey, Notice] | None:
    actor = event.get("Actor")
    labels = actor.get("Attributes") if isinstance(actor, dict) else None
    kind = _NOTICES.get(str(event.get("Action", "")))
    if kind is None or not isinstance(labels, dict) or not labels.get(GROUP) or not labels.get(SESSION):
        return None
    return SessionKey(install, str(labels[GROUP]), str(labels[SESSION])), kind


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)


def _documents(stream: str) -> list[str]:
    """The complete JSON objects of a stream, with anything or nothing between them."""
    found, depth, start = [], 0, 0
    for token in _TOKEN.finditer(stream):
        if token[0] == "{":
            start = token.start() if depth == 0 else start
            depth += 1
        elif token[0] == "}" and depth > 0:
            depth -= 1
            if depth == 0:
                found.append(stream[start : token.end()])
    return found
